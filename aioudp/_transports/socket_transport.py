"""The common base of transports that own a system socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import warnings
from typing import Any, Final
from weakref import WeakValueDictionary

from .._system import adoption, path_mtu, sockets
from .._system.batchio import BatchSocket
from .._system.receive_queue import MAX_TRAIN
from .base import State
from .buffered import BufferedTransport

carriers: Final[WeakValueDictionary[int, SocketTransport]] = WeakValueDictionary()
"""The descriptors that have a transport, or were passed to one. A loop watches each
descriptor for one callback only, and would silently replace the first."""


class SocketTransport(BufferedTransport):
    """A transport that owns a bound socket and sends on it."""

    __slots__ = (
        "_drop_in",
        "_foreign",
        "_given",
        "_kernel_drops",
        "_loan",
        "_path",
        "_sock",
        "_started",
    )

    _extra: dict[str, Any]  # of asyncio's base class

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        io: BatchSocket,
        *,
        foreign: int = 0,
        path: sockets.BoundPath | None = None,
        loan: adoption.Loan | None = None,
        drop_in: bool = False,
        **options: Any,
    ) -> None:
        try:
            peer = sock.getpeername() or None
        except OSError:
            peer = None
        extra = {"socket": sock, "sockname": sock.getsockname(), "peername": peer}
        self._sock = sock
        super().__init__(
            loop,
            io,
            protocol,
            extra,
            family=sock.family,
            dual_stack=sockets.is_dual_stack(sock),
            peer=peer,
            loose=drop_in,
            **options,
        )
        self._given: socket.socket | None = None
        self._path = path
        self._loan = loan
        self._drop_in = drop_in  # for any protocol, without an endpoint
        self._foreign = foreign
        self._kernel_drops = 0  # once closed
        self._started = False  # until then, the caller owns the socket

    def take_over(self, given: socket.socket) -> None:
        """Also own the socket that this transport's socket duplicates."""
        self._given = given
        self._extra["socket"] = given

    def carries(self, sock: socket.socket) -> bool:
        """Return whether *sock* is this transport's socket, or a duplicate."""
        if self._state is State.CLOSED or self._sock.fileno() == -1:
            return False  # uvloop detaches the socket when a loop is closed under it
        try:
            return os.path.sameopenfile(self._sock.fileno(), sock.fileno())
        except OSError:  # this system can't compare sockets
            return True

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = (
                self._started and self._drop_in and self._state is not State.CLOSED
            )
        except AttributeError:  # __init__ failed before it owned anything
            return
        if forgotten:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.abort()

    def __repr__(self) -> str:
        closed = self._state is not State.OPEN
        state = "closed" if closed else f"fd={self._sock.fileno()}"
        name = type(self).__name__
        return f"<{name} {state} batchio={self._io.implementation} gro={self._io.gro}>"

    def _free(self) -> None:
        self._kernel_drops = sockets.kernel_drops(self._sock)
        self._give_back()
        self._close_others()

    def _forsake(self) -> None:
        self._kernel_drops = sockets.kernel_drops(self._sock)
        if self._loan is not None and os.getpid() == self._pid:
            self._loan.restore(self._sock)
        self._close_descriptors()
        self._close_others()

    def _close_others(self) -> None:
        if self._given is not None:
            self._given.close()
        if self._path is not None and os.getpid() == self._pid:
            self._path.remove()

    def _give_back(self) -> None:
        """Restore the socket for other processes that hold it, and close it."""
        if self._loan is not None:
            self._loan.restore(self._sock)
        self._close_socket()

    def _close_socket(self) -> None:
        """Stop watching, and close the socket."""
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        """Close all descriptors, and do nothing else."""
        self._sock.close()

    def _move_in(self) -> None:
        """Make a forked process that runs the loop the transport's home."""
        self._pid = os.getpid()

    async def wait_closed(self) -> None:
        """Return at once: :meth:`close` has freed the descriptor."""

    def _advice(self, error: OSError, size: int, peer: Any) -> str:
        advice = sockets.advice_on(self._sock, error, peer)
        return advice or path_mtu.advice_on(self._sock, error, size, peer)

    def _dropped_below(self) -> int:
        drops = self._kernel_drops
        if self._state is not State.CLOSED:
            drops = sockets.kernel_drops(self._sock)
        if self._loan is not None:
            drops -= self._loan.drops
        return drops + self._foreign

    def _dropped_below_at_most(self) -> int:
        each = MAX_TRAIN if self._io.gro else 1
        return (self._dropped_below() - self._foreign) * each + self._foreign


def _after_fork_in_child() -> None:
    """Schedule the move of all transports, if this child ever runs their loop."""
    for transport in [*carriers.values()]:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            transport._loop.call_soon(transport._move_in)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
