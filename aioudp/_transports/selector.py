"""The selector transport: our own socket under ``add_reader`` and ``add_writer``.

It works on every loop that watches descriptors: asyncio's selector loops and uvloop.
The loop's own datagram transports are avoided for reasons measured and listed in
``docs/explanation/why-not-the-loops-transport.md``; the first of them is that asyncio's
allocates 256 KiB for every datagram it reads.

Each readiness event does a bounded amount of reading, so that a flood cannot keep the
loop from its other work. Nor can an event without a datagram that comes back at once,
again and again. There are three kinds of these:

* A read error. It is reported, and is gone with that.
* An error queue that somebody fills, and nobody reads (see ``watcher.py``). The read
  finds nothing. One such event means nothing: the kernel may have found a checksum
  wrong, or :meth:`~SelectorTransport.poll` may have been faster. After the second in a
  row the queue is emptied, and counted in ``dropped_errors``. From then on it is looked
  at in every event, since datagrams in between would hide it. So a socket whose queue
  is never used never pays a system call for it.
* Anything else, as after a ``shutdown`` of the socket. After a few of these in a row
  reading pauses for a moment, and again after each.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from .._system.datagram_batch import DatagramBatch
from .._system.error_queue import discard, pending_error
from .._system.receive_queue import Remaining
from .._types import Received, Stats
from .base import State
from .delivery import MAX_BATCH
from .socket_transport import SocketTransport
from .watcher import EpollWatcher, Watcher, watcher_for

_EMPTY_READS: Final = 3  # in a row: one that met an error says nothing of the queue
FRUITLESS: Final = 16  # events in a row without a datagram, after which reading pauses
ERROR_PAUSE: Final = 0.05  # ... for this many seconds: 20 wake-ups a second at most


def watches_descriptors(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether *loop* has ``add_reader``; Windows' Proactor loop has not."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


class SelectorTransport(SocketTransport):
    """A datagram transport over a socket that the event loop watches for us."""

    __slots__ = (
        "_discarded",
        "_fd",
        "_fruitless",
        "_polled",
        "_resting",
        "_unwatchable",
        "_watched",
        "_watcher",
    )

    can_pause = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fd = self._sock.fileno()
        self._watcher: Watcher = self._make_watcher()
        self._watched = False  # whether the loop watches the socket for reading
        self._unwatchable = False  # whether it refused to, the last time
        self._polled = 0  # datagrams of the last poll_batch
        self._fruitless = 0  # events in a row that gave no datagram
        self._discarded = 0  # entries of the error queue
        self._resting: asyncio.TimerHandle | None = None

    def _make_watcher(self) -> Watcher:
        return watcher_for(self._loop, self._on_error)

    async def start(self) -> None:
        # May fail, so before the protocol hears of anything. It is not called before
        # the next turn of the loop.
        self._watcher.add_reader(self._fd, self._on_readable)
        self._watched = self._started = True
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

    def poll_batch(self, batch: DatagramBatch, max_datagrams: int) -> int | None:
        if not self._watched or self._admits:
            return None
        self._polled = 0
        try:
            self._polled = self._io.receive_batch(batch, max_datagrams)
        except OSError as exc:
            self._on_read_error(exc)
        if self._polled:
            self._fruitless = 0
        if self._io.pending is not None:
            self._loop.call_soon(self._on_pending_error)
        return self._polled

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
        if not wanted:
            self._watched = False
            self._watcher.remove_reader(self._fd)
            return
        on_event = self._on_readable_or_error if self._discarded else self._on_readable
        try:
            self._watcher.add_reader(self._fd, on_event)
        except OSError as exc:  # no memory, or no more watches (epoll_ctl(2))
            self._rest()
            if not self._unwatchable:
                self._unwatchable = True
                self._report(exc)
        else:
            self._watched = True
            self._unwatchable = False

    def _on_readable(self) -> None:
        try:
            wanted = self._wanted()
            if not wanted:
                self.pause_reading()
            elif self._watched:  # asked, the protocol may have paused or closed
                found: Any
                if wanted < 0:  # it has read by itself
                    found = self._polled
                elif self._takes_batches:
                    found = self._read_batch(wanted)
                elif found := self._receive(wanted):
                    self._deliver(found)
                if not found:
                    self._on_fruitless_event()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            # The loop would report it with its handle. Whoever keeps that report keeps
            # the callback, of which UvloopWatcher has to see the end.
            self._complain(self._on_readable, exc)

    def _on_readable_or_error(self) -> None:
        self._discarded += discard(self._sock)
        self._on_readable()

    def _read_batch(self, wanted: int) -> int:
        """Hand a batch of what there is to the protocol; return how many there are."""
        batch = DatagramBatch()
        if self.poll_batch(batch, wanted) is None:
            batch._extend(self._receive(wanted))
        if len(batch):
            batch._trim()
            self._protocol.datagram_batch_received(batch)
        return len(batch)

    def _receive(self, wanted: int, *, thorough: bool = False) -> list[Received]:
        try:
            datagrams: list[Received] = self._io.receive(wanted, thorough=thorough)
        except OSError as exc:
            self._on_read_error(exc)
            return []
        if datagrams:
            self._fruitless = 0
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
        self._count_fruitless()
        self._report(error)

    def _on_pending_error(self) -> None:
        """Report an error that a read met after datagrams; no event may follow it."""
        error, self._io.pending = self._io.pending, None
        if error is not None:  # no receive was quicker
            self._report(error)

    def _on_fruitless_event(self) -> None:
        """Look for what made the socket ready, as no datagram did."""
        self._count_fruitless()
        if self._fruitless > 1:
            self._take_errors()

    def _count_fruitless(self) -> None:
        self._fruitless += 1
        if self._fruitless >= FRUITLESS and self._watched:
            self._rest()
            self._watch_readable()

    def _take_errors(self) -> None:
        """Empty the error queue, and report the error that is pending, if there is."""
        if self._state is not State.OPEN:
            return
        error = pending_error(self._sock)
        if found := discard(self._sock):
            pending_error(self._sock)  # the same as one in the queue
            before, self._discarded = self._discarded, self._discarded + found
            if not before and self._watched:  # now with the other callback
                self._watched = False
                self._watcher.remove_reader(self._fd)
                self._watch_readable()
        if error is not None:
            self._on_read_error(error)

    def _on_error(self) -> None:
        """The watcher found an error, and may have stopped watching for it."""
        self._watched = self._watched and isinstance(self._watcher, EpollWatcher)
        self._loop.call_soon(self._recover)

    def _recover(self) -> None:
        if self._state is State.OPEN:
            self._take_errors()
            self._watch_readable()

    def _rest(self) -> None:
        """Do not read for a moment."""
        if self._resting is None:
            self._resting = self._loop.call_later(ERROR_PAUSE, self._read_again)

    def _read_again(self) -> None:
        self._resting = None
        self._watch_readable()

    def _move_in(self) -> None:
        super()._move_in()
        if self._state is State.CLOSED or sys.platform != "linux":
            return
        # The loop's epoll instance is the parent's too. As soon as the parent takes the
        # socket out, in its garbage collection at the latest, this process would be
        # deaf. So it watches through an instance of its own from now on.
        if isinstance(self._watcher, EpollWatcher):
            self._watcher.leave_parent(self._fd)
            return
        armed = self._retry.armed
        self._retry.disarm()
        if self._watched:
            self._watcher.remove_reader(self._fd)
            self._watched = False
        self._watcher = EpollWatcher(self._loop, self._on_error)
        self._watch_readable()
        if armed:
            self._retry.arm(self._io.sent)

    def _watch_writable(self) -> bool:
        try:
            self._watcher.add_writer(self._fd, self._on_writable)
        except OSError:  # a timer will do
            return False
        return True

    def _unwatch_writable(self) -> None:
        self._watcher.remove_writer(self._fd)

    def _close_descriptors(self) -> None:
        self._watched = False
        if isinstance(self._watcher, EpollWatcher):
            self._watcher.close()
        super()._close_descriptors()

    def stats(self) -> Stats:
        stats = super().stats()
        return replace(stats, dropped_errors=stats.dropped_errors + self._discarded)
