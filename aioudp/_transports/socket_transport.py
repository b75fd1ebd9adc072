"""What the transports over a socket of the system share: they own it."""

from __future__ import annotations

import asyncio
import socket
import warnings
from typing import Any

from .._system import adoption, path_mtu, sockets
from .._system.batchio import BatchSocket
from .._system.receive_queue import MAX_TRAIN
from .base import State
from .buffered import BufferedTransport


class SocketTransport(BufferedTransport):
    """A transport that owns a bound socket and sends on it."""

    __slots__ = ("_drop_in", "_foreign", "_kernel_drops", "_loan", "_path", "_sock")

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
        self._path = path
        self._loan = loan
        self._drop_in = drop_in  # for any protocol; there is no endpoint above
        self._foreign = foreign
        self._kernel_drops = 0  # in the end

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = self._drop_in and self._state is not State.CLOSED
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if forgotten:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._give_back()

    def __repr__(self) -> str:
        closed = self._state is not State.OPEN
        state = "closed" if closed else f"fd={self._sock.fileno()}"
        name = type(self).__name__
        return f"<{name} {state} batchio={self._io.implementation} gro={self._io.gro}>"

    def _free(self) -> None:
        self._kernel_drops = sockets.kernel_drops(self._sock)
        self._give_back()
        if self._path is not None:
            self._path.remove()

    def _give_back(self) -> None:
        """Close the descriptor; whoever has another one finds the socket as it was."""
        if self._loan is not None:
            self._loan.restore()
        self._close_socket()

    def _close_socket(self) -> None:
        self._sock.close()

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
