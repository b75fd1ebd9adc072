"""A datagram socket in memory, with what the readable batch I/O asks of one.

Its kernel is the explorer's: datagrams and errors arrive when that says so, also
between two reads of one batch, and there is room to send when that makes some.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

PEER: Final = ("192.0.2.1", 9)
FD: Final = 1_000_000  # of no open file


class KernelSocket:
    """An unconnected IPv4 socket."""

    family: Final = socket.AF_INET
    type: Final = socket.SOCK_DGRAM

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile  # what happens between two reads
        self.queue: deque[bytes] = deque()
        self.error: OSError | None = None
        self.reported: list[OSError] = []
        """The errors that a call has met, in order."""
        self.room = 0
        self.out: list[bytes] = []
        self.closed = False

    @property
    def readable(self) -> bool:
        return bool(self.queue) or self.error is not None

    def _raise_error(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            self.reported.append(error)
            raise error

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        assert not self.closed
        self._raise_error()
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = self.queue.popleft()
        self._meanwhile()
        return data, PEER

    def recvfrom_into(self, buffer: Any, size: int = 0) -> tuple[int, Any]:
        data, addr = self.recvfrom(size)
        memoryview(buffer)[: len(data)] = data
        return len(data), addr

    def recvmsg(self, *arguments: int) -> Any:
        """Read the error queue, which is always empty."""
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def sendto(self, data: bytes, addr: Any) -> int:
        assert not self.closed
        if len(data) > 1000:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.room -= 1
        self.out.append(bytes(data))
        return len(data)

    def getsockname(self) -> Any:
        return ("192.0.2.2", 9)

    def getpeername(self) -> Any:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if size:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return 1 << 20 if option == socket.SO_RCVBUF else 0

    def fileno(self) -> int:
        return -1 if self.closed else FD

    def close(self) -> None:
        self.closed = True
