"""Watching a socket so that an error neither ends the watching nor makes it spin.

On Linux a socket is ready with EPOLLERR, asked for or not, while an error is pending or
its error queue holds anything: ICMP errors after IP_RECVERR, timestamps of what was
sent, notices of zero-copy sends. Anyone who holds the socket can switch these on, at
any time. So each way of watching has to live with an error that comes unannounced.

asyncio's selector loops
    call the reader for it, again and again until it is gone. Nothing else is needed to
    notice it: an event in which nothing can be read. See ``selector.py``.
uvloop
    calls the reader once and then forgets it. libuv takes EPOLLERR for a broken
    descriptor and stops the watching (``uv__poll_io`` in its ``src/unix/poll.c``), and
    uvloop lets go of the callback (``UVPoll._fatal_error`` in its
    ``handles/poll.pyx``). :class:`UvloopWatcher` notices that: it gives uvloop a
    callback that nobody else holds, and keeps a weak reference to it. When that dies
    and we did not end the watching, uvloop did.
any other loop
    is not known, and gets an epoll instance instead of the socket
    (:class:`EpollWatcher`). That is itself a descriptor that can be watched (epoll(7)):
    it is readable while anything that it watches is ready, and has no errors of its
    own. It reports an error as such, whatever else is watched, which is also what
    ``icmp_errors`` needs, on every loop, to hear of errors while reading is paused.

An epoll instance costs a descriptor, and a system call for every event. For all
endpoints on uvloop that was measured and rejected: docs/explanation/architecture.md has
the figures. A weak reference costs some 300 bytes, and no time at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol

EPOLLIN = 0x1  # include/uapi/linux/eventpoll.h
EPOLLOUT = 0x4
EPOLLERR = 0x8
EPOLLHUP = 0x10


HANGUP_PAUSE = 0.05  # seconds


class Watcher(Protocol):
    """What a transport asks of an event loop to watch its socket."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_reader(self, fd: int, /) -> Any: ...
    def add_writer(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_writer(self, fd: int, /) -> Any: ...


def watcher_for(
    loop: asyncio.AbstractEventLoop, on_error: Callable[[], None]
) -> Watcher:
    """Return what watches a socket on *loop*, and survives its errors.

    Where an error would otherwise not call the reader, or end the watching, *on_error*
    is called; in the second case the reader has to be added again.
    """
    if sys.platform != "linux" or isinstance(loop, asyncio.SelectorEventLoop):
        return loop
    if any(base.__module__.startswith("uvloop") for base in type(loop).__mro__):
        return UvloopWatcher(loop, on_error)
    return EpollWatcher(loop, on_error)


class UvloopWatcher:
    """The watching methods of uvloop, for one socket; notices when uvloop stops."""

    __slots__ = ("_loop", "_lost", "_on_error", "_watch")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_error: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_error = on_error
        self._watch: weakref.ref[Callable[[], None]] | None = None
        self._lost = False

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Watch; *callback* must be an object that the caller doesn't keep."""
        self._clean(fd)
        self._loop.add_reader(fd, callback)
        self._watch = weakref.ref(callback, self._on_forgotten)

    def remove_reader(self, fd: int) -> None:
        self._watch = None  # before uvloop lets go of it
        self._lost = False
        self._loop.remove_reader(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        # An error calls the writer as well. That always ends its own watching, so there
        # is nothing to notice.
        self._clean(fd)
        self._loop.add_writer(fd, callback)

    def remove_writer(self, fd: int) -> None:
        self._loop.remove_writer(fd)

    def _on_forgotten(self, watch: object) -> None:
        # uvloop is in the midst of letting go, so this is no time to call it.
        self._watch = None
        if not self._loop.is_closed():
            self._lost = True
            self._on_error()

    def _clean(self, fd: int) -> None:
        """Have uvloop forget the handle that it closed, rather than use it again."""
        if self._lost:
            self._lost = False
            self._loop.remove_reader(fd)


class EpollWatcher:
    """The watching methods of an event loop, for one socket, undisturbed by errors."""

    __slots__ = (
        "_epoll",
        "_events",
        "_loop",
        "_on_error",
        "_reader",
        "_registered",
        "_resting",
        "_watches_errors",
        "_writer",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_error: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_error = on_error
        self._epoll = _new_epoll()
        self._events = 0
        self._watches_errors = False
        self._registered = False
        self._resting: asyncio.TimerHandle | None = None
        self._reader: Callable[[], None] | None = None
        self._writer: Callable[[], None] | None = None

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._reader = callback
        self._watch(fd, self._events | EPOLLIN)

    def remove_reader(self, fd: int) -> None:
        self._reader = None
        self._watch(fd, self._events & ~EPOLLIN)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._writer = callback
        self._watch(fd, self._events | EPOLLOUT)

    def remove_writer(self, fd: int) -> None:
        self._writer = None
        self._watch(fd, self._events & ~EPOLLOUT)

    def watch_errors(self, fd: int) -> None:
        """Watch for errors also while nothing else is watched."""
        self._watches_errors = True
        self._watch(fd, self._events)

    def ignore_errors(self, fd: int) -> None:
        """Undo :meth:`watch_errors`."""
        self._watches_errors = False
        self._watch(fd, self._events)

    def rest(self, delay: float) -> None:
        """Call nobody for *delay* seconds."""
        if self._registered and self._resting is None:
            self._loop.remove_reader(self._epoll.fileno())
            self._resting = self._loop.call_later(delay, self._end_rest)

    def close(self) -> None:
        """Free the epoll instance. The loop should not watch it any more."""
        self._epoll.close()

    def leave_parent(self, fd: int) -> None:
        """In a forked child: watch through an epoll instance that isn't the parent's.

        Whatever the parent does to its own, this one goes on.
        """
        events, self._events = self._events, 0
        if self._registered:
            self._loop.remove_reader(self._epoll.fileno())
        self._registered = False
        self._epoll.close()
        self._epoll = _new_epoll()
        self._watch(fd, events)

    def _end_rest(self) -> None:
        self._resting = None
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _watch(self, fd: int, events: int) -> None:
        # Whoever closed the socket behind our back has taken it out already: there is
        # nothing left to change then.
        wanted = bool(events) or self._watches_errors
        if wanted and not self._registered:
            self._epoll.register(fd, events)
            try:
                self._loop.add_reader(self._epoll.fileno(), self._on_ready)
            except BaseException:
                self._epoll.unregister(fd)
                raise
        elif self._registered and not wanted:
            if self._resting is None:
                self._loop.remove_reader(self._epoll.fileno())
            else:
                self._resting.cancel()
                self._resting = None
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        elif events != self._events:
            with contextlib.suppress(OSError):
                self._epoll.modify(fd, events)
        self._registered = wanted
        self._events = events

    def _on_ready(self) -> None:
        for _, events in self._epoll.poll(0):
            if events & EPOLLERR:
                self._on_error()
            # A socket that was shut down hangs up; the reader counts such events.
            if self._reader is not None and events & (EPOLLIN | EPOLLHUP):
                self._reader()
            elif events == EPOLLHUP and not self._events & EPOLLOUT:
                self.rest(HANGUP_PAUSE)  # or the loop would turn for it without end
            if self._writer is not None and events & (EPOLLOUT | EPOLLHUP):
                self._writer()


def _new_epoll() -> Any:
    return getattr(select, "epoll")()  # noqa: B009 - only Linux has it
