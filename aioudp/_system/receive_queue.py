"""An upper bound for the contents of a socket's receive queue.

Reading a queue until it's empty may never end, because datagrams keep arriving. The
kernel doesn't count the datagrams in a queue, but it does count their memory, and each
takes at least its payload and a part of the kernel's own structure.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

from .._types import Received
from .sockets import AF_UNIX, SO_MEMINFO

_MEMINFO: Final = struct.Struct("=9I")  # SK_MEMINFO_VARS words, of which the first is
_RMEM_ALLOC: Final = 0  # ... SK_MEMINFO_RMEM_ALLOC (include/uapi/linux/sock_diag.h)
_RCVBUF: Final = 1  # ... SK_MEMINFO_RCVBUF

_MIN_COST: Final = 256
"""Bytes charged for a queued buffer in addition to its payload: sk_buff alone."""

MAX_TRAIN: Final = 128
"""Datagrams per such buffer (GRO): UDP_MAX_SEGMENTS; receiving has a lower limit."""

_UNIX_QUEUE: Final = 65_536
"""Datagrams. A UNIX socket's queue is limited by number (net.unix.max_dgram_qlen, 10
or 512 by default) and charged to the senders. A guess, far above that."""


class Remaining:
    """The datagrams that may remain of a receive queue's original contents."""

    __slots__ = ("_cost", "_left", "_per_byte")

    def __init__(self, sock: socket.socket) -> None:
        if sock.family == AF_UNIX:
            self._left, self._cost, self._per_byte = _UNIX_QUEUE, 1, 0
        else:
            self._left = _queue_memory(sock)
            self._cost, self._per_byte = _MIN_COST // MAX_TRAIN, 1

    def take(self, datagrams: Sequence[Received]) -> None:
        """Subtract datagrams that were read."""
        payload = sum(len(one.data) for one in datagrams)
        self._left -= self._cost * len(datagrams) + self._per_byte * payload

    def __bool__(self) -> bool:
        return self._left > 0


def memory(sock: socket.socket) -> tuple[int, int] | None:
    """Return how much memory the queue takes, and its limit, in bytes.

    Both are in the kernel's terms: payloads and its own structures. ``None`` if the
    system doesn't tell.
    """
    if sys.platform == "linux":
        try:
            words = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
            found = _MEMINFO.unpack(words)
            return found[_RMEM_ALLOC], found[_RCVBUF]
        except (OSError, struct.error):
            pass
    return None


def _queue_memory(sock: socket.socket) -> int:
    """Return the queue's size in bytes, or else its maximum size."""
    found = memory(sock)
    if found is not None:
        return found[0]
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
