"""The selector transport: our own socket under ``add_reader`` and ``add_writer``.

It works on every loop that watches descriptors: asyncio's selector loops and uvloop.
The loop's own datagram transports are avoided for reasons measured and listed in
``docs/explanation/why-not-the-loops-transport.md``; the first of them is that asyncio's
allocates 256 KiB for every datagram it reads.

Each readiness event does a bounded amount of reading, so that a flood cannot keep the
loop from its other work. A read error that comes back at once, again and again, would
do just that, so after a few in a row reading pauses for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from .._system.receive_queue import Remaining
from .._types import Received
from .base import State
from .delivery import MAX_BATCH
from .socket_transport import SocketTransport
from .watcher import EpollWatcher, Watcher, needs_epoll

_ERRORS_IN_A_ROW: Final = 16  # after this many without a datagram, reading pauses ...
_EMPTY_READS: Final = 3  # in a row: one that met an error says nothing of the queue
ERROR_PAUSE: Final = 0.05  # ... for this many seconds: 20 wake-ups a second at most


def watches_descriptors(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether *loop* has ``add_reader``; Windows' Proactor loop has not."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


class SelectorTransport(SocketTransport):
    """A datagram transport over a socket that the event loop watches for us."""

    __slots__ = (
        "_errors_in_a_row",
        "_fd",
        "_resting",
        "_watched",
        "_watcher",
    )

    can_pause = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fd = self._sock.fileno()
        self._watcher: Watcher = self._make_watcher()
        self._watched = False  # whether the loop watches the socket for reading
        self._errors_in_a_row = 0
        self._resting: asyncio.TimerHandle | None = None

    def _make_watcher(self) -> Watcher:
        if self._peer is not None and needs_epoll(self._loop):
            return EpollWatcher(self._loop)
        return self._loop

    async def start(self) -> None:
        self._taker = self._protocol
        self._tell(self._protocol.connection_made, self)
        self._deliver_backlog()
        self._watch_readable()

    def _stop_reading(self) -> None:
        super()._stop_reading()
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._watch_readable()

    def pause_reading(self) -> None:
        self._taker = None
        self._watch_readable()

    def resume_reading(self) -> None:
        if self._taker is not None or self._state is not State.OPEN:
            return
        self._taker = self._protocol
        if self._held_back:
            self._loop.call_soon(self._deliver_held_back)
        self._watch_readable()

    def poll(self, max_datagrams: int | None = None) -> list[Received]:
        if not self._watched:
            return []
        return self._receive(max_datagrams or MAX_BATCH, thorough=True)

    def drain(self, done: Callable[[], object]) -> None:
        self.pause_reading()
        self._read_remaining(Remaining(self._sock), done)

    def _read_remaining(self, remaining: Remaining, done: Callable[[], object]) -> None:
        """Read what the kernel holds, a batch in each turn of the loop."""
        if self._state is not State.OPEN:
            return
        for _ in range(_EMPTY_READS):
            if datagrams := self._receive(MAX_BATCH):
                remaining.take(datagrams)
                self._deliver(datagrams)
                break
        if datagrams and remaining:
            self._loop.call_soon(self._read_remaining, remaining, done)
        else:
            done()

    def _watch_readable(self) -> None:
        """Have the loop watch the socket while datagrams are wanted, and no longer."""
        wanted = self._taker is not None and not (self._held_back or self._resting)
        if wanted is self._watched:
            return
        self._watched = wanted
        if wanted:
            self._watcher.add_reader(self._fd, self._on_readable)
        elif not self._loop.is_closed():
            self._watcher.remove_reader(self._fd)

    def _on_readable(self) -> None:
        wanted = self._wanted()
        if not wanted:
            self.pause_reading()
        # Asked, the protocol may have paused or closed.
        elif self._watched and (datagrams := self._receive(wanted)):
            self._deliver(datagrams)

    def _receive(self, wanted: int, *, thorough: bool = False) -> list[Received]:
        try:
            datagrams: list[Received] = self._io.receive(wanted, thorough=thorough)
        except OSError as exc:
            self._on_read_error(exc)
            return []
        if datagrams:
            self._errors_in_a_row = 0
        if self._io.pending is not None:
            self._loop.call_soon(self._on_pending_error)
        return self._admit(datagrams) if self._admits else datagrams

    def _hold_back(self, datagrams: list[Received]) -> None:
        super()._hold_back(datagrams)
        self._watch_readable()  # not before these are delivered

    def _deliver_held_back(self) -> None:
        try:
            super()._deliver_held_back()
        finally:
            self._watch_readable()

    def _on_read_error(self, error: OSError) -> None:
        self._errors_in_a_row += 1
        if self._errors_in_a_row >= _ERRORS_IN_A_ROW:
            self._resting = self._loop.call_later(ERROR_PAUSE, self._read_again)
            self._watch_readable()
        self._report(error)

    def _on_pending_error(self) -> None:
        """Report an error that a read met after datagrams; no event may follow it."""
        error, self._io.pending = self._io.pending, None
        if error is not None:  # no receive was quicker
            self._report(error)

    def _read_again(self) -> None:
        self._resting = None
        self._watch_readable()

    def _watch_writable(self) -> bool:
        self._watcher.add_writer(self._fd, self._on_writable)
        return True

    def _unwatch_writable(self) -> None:
        if not self._loop.is_closed():
            self._watcher.remove_writer(self._fd)

    def _close_socket(self) -> None:
        if isinstance(self._watcher, EpollWatcher):
            self._watcher.close()
        super()._close_socket()
