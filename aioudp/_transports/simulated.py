"""The transport over a socket of a simulated network.

It is the selector transport, and all that is above a socket is the same as on a real
one. Only the event loop does not watch the socket: the socket itself says when it is
ready.
"""

from __future__ import annotations

from typing import Any

from .error_queue import ErrorQueueTransport
from .selector import SelectorTransport
from .watcher import Watcher


class SimulatedTransport(SelectorTransport):
    """A datagram transport over a socket of a simulated network."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _carry(self)

    def _make_watcher(self) -> Watcher:
        watcher: Watcher = _watcher(self._sock)
        return watcher

    def _move_in(self) -> None:
        """Do nothing: a forked child has the network in its own memory."""


class SimulatedErrorQueueTransport(ErrorQueueTransport):
    """The same with the error queue."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _carry(self)

    def _make_error_watcher(self) -> Any:
        watcher = _watcher(self._sock)
        watcher.on_error = self._on_error
        return watcher

    def _move_in(self) -> None:
        """Do nothing: a forked child has the network in its own memory."""


def _watcher(sock: Any) -> Any:
    return sock.watcher


def _carry(transport: SelectorTransport) -> None:
    """Have the host find the transport when it crashes."""
    sock: Any = transport._sock
    sock.carrier = transport
