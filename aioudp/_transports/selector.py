"""The selector transport: our own socket under ``add_reader`` and ``add_writer``.

It works on every loop that watches descriptors: asyncio's selector loops and uvloop.
``docs/explanation/why-not-the-loops-transport.md`` gives the reasons, with
measurements, for not using the loop's own datagram transports; the first one is that
asyncio's allocates 256 KiB for every datagram it reads.

Each readiness event does a bounded amount of reading, so that a flood can't starve the
loop. Events without a datagram that repeat at once can't starve it either. There are
three kinds of these:

* A read error. Reporting it clears it.
* An error queue that is filled by someone else and that nobody reads (see
  ``watcher.py``). The read finds nothing. One such event means nothing: the kernel may
  have found a wrong checksum, or :meth:`~SelectorTransport.poll` may have been faster.
  After the second in a row, the queue is emptied, and its entries are counted in
  ``dropped_errors``. From then on, it's checked in every event, because datagrams in
  between would hide it. So a socket whose queue is never used never pays a system call
  for it.
* Any other cause, such as a ``shutdown`` of the socket. After a few of these in a row,
  reading pauses for a moment, and again after each further one.
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
from .watcher import EpollWatcher, UvloopWatcher, Watcher, watcher_for

_EMPTY_READS: Final = 3  # in a row: a read that met an error proves nothing
FRUITLESS: Final = 16  # events in a row without a datagram, after which reading pauses
ERROR_PAUSE: Final = 0.05  # ... for this many seconds: 20 wake-ups a second at most


def watches_descriptors(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether *loop* has ``add_reader``; Windows' Proactor loop doesn't."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


class SelectorTransport(SocketTransport):
    """A datagram transport over a socket that the event loop watches for us."""

    __slots__ = (
        "_discarded",
        "_fd",
        "_fruitless",
        "_pausing",
        "_polled",
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
        self._fruitless = 0  # events in a row without a datagram
        self._discarded = 0  # entries of the error queue
        self._pausing: asyncio.TimerHandle | None = None

    def _make_watcher(self) -> Watcher:
        return watcher_for(self._loop, self._on_error)

    async def start(self) -> None:
        # This may fail, so do it before the protocol is called. The callback isn't
        # called before the next iteration of the loop.
        self._watcher.add_reader(self._fd, self._on_readable)
        self._watched = self._started = True
        self._taker = self._protocol
        self._call_protocol(self._protocol.connection_made, self)
        self._deliver_backlog()
        self._watch_readable()

    def _stop_reading(self) -> None:
        super()._stop_reading()
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None
        self._watch_readable()
        if isinstance(self._watcher, UvloopWatcher):
            self._watcher.clean(self._fd)

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
        """Read the kernel's buffer, a batch per iteration of the loop."""
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
        """Watch the socket if datagrams are wanted, and stop watching if not."""
        wanted = self._taker is not None and not (self._held_back or self._pausing)
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
            self._pause_briefly()
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
            elif self._watched:  # _wanted() may have paused or closed the transport
                found: Any
                if wanted < 0:  # the protocol has read
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
            # The loop would report it with its handle. A reference to that report would
            # keep the callback alive, whose end UvloopWatcher must see.
            self._complain(self._on_readable, exc)

    def _on_readable_or_error(self) -> None:
        self._discarded += discard(self._sock)
        self._on_readable()

    def _read_batch(self, wanted: int) -> int:
        """Deliver a batch to the protocol; return the number of datagrams."""
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
        self._watch_readable()  # stop until these are delivered

    def _deliver_held_back(self) -> None:
        try:
            super()._deliver_held_back()
        finally:
            self._watch_readable()

    def _on_read_error(self, error: OSError) -> None:
        self._count_fruitless()
        self._report(error)

    def _on_pending_error(self) -> None:
        """Report an error that a read met after datagrams, as no event may follow."""
        error, self._io.pending = self._io.pending, None
        if error is not None:  # it hasn't been reported by a read
            self._report(error)

    def _on_fruitless_event(self) -> None:
        """Find out why the socket is ready without a datagram."""
        self._count_fruitless()
        if self._fruitless > 1:
            self._take_errors()

    def _count_fruitless(self) -> None:
        self._fruitless += 1
        if self._fruitless >= FRUITLESS and self._watched:
            self._pause_briefly()
            self._watch_readable()

    def _take_errors(self) -> None:
        """Empty the error queue, and report the pending error, if any."""
        if self._state is not State.OPEN:
            return
        error = pending_error(self._sock)
        if found := discard(self._sock):
            pending_error(self._sock)  # clear it: it's one of those in the queue
            before, self._discarded = self._discarded, self._discarded + found
            if not before and self._watched:  # switch to the other callback
                self._watched = False
                self._watcher.remove_reader(self._fd)
                self._watch_readable()
        if error is not None:
            self._on_read_error(error)

    def _on_error(self) -> None:
        """Handle an error found by the watcher, which may have stopped watching."""
        self._watched = self._watched and isinstance(self._watcher, EpollWatcher)
        self._loop.call_soon(self._recover)

    def _recover(self) -> None:
        if self._state is State.OPEN:
            try:
                self._take_errors()
            finally:  # the protocol may raise, and must not end the watching
                self._watch_readable()

    def _pause_briefly(self) -> None:
        """Pause reading for a moment."""
        if self._pausing is None:
            self._pausing = self._loop.call_later(ERROR_PAUSE, self._read_again)

    def _read_again(self) -> None:
        self._pausing = None
        self._watch_readable()

    def _move_in(self) -> None:
        super()._move_in()
        if self._state is State.CLOSED or sys.platform != "linux":
            return
        # The loop shares its epoll instance with the parent process. If the parent
        # removes the socket from it, at the latest by garbage collection, this process
        # would be deaf. So watch through a separate instance from now on.
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
        except OSError:  # use a timer instead
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
