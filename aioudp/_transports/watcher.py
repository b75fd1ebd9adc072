"""Watching a socket so that an error neither ends the watching nor makes it spin.

On Linux, a socket is always ready with EPOLLERR while an error is pending or its error
queue isn't empty. The queue can contain ICMP errors (IP_RECVERR), send timestamps, and
notifications of zero-copy sends. Any process that holds the socket can enable these at
any time. So each way of watching must handle unexpected errors.

asyncio's selector loops
    call the reader repeatedly until the error is gone. The transport notices an event
    without a datagram, and needs nothing else. See ``selector.py``.
uvloop
    calls the reader once, then drops it. libuv takes EPOLLERR for a broken descriptor
    and stops watching (``uv__poll_io`` in its ``src/unix/poll.c``), and uvloop releases
    the callback (``UVPoll._fatal_error`` in its ``handles/poll.pyx``).
    :class:`UvloopWatcher` detects this: it passes uvloop a callback that nothing else
    refers to, and keeps a weak reference to it. If the callback is freed and we didn't
    stop watching, uvloop did.
any other loop
    may behave in any way, and gets an epoll instance instead of the socket
    (:class:`EpollWatcher`). An epoll instance is itself a descriptor that can be
    watched (epoll(7)): it's readable while anything that it watches is ready, and never
    has errors. It reports an error separately from other events. ``icmp_errors`` needs
    this as well, on every loop, to get errors while reading is paused.

An epoll instance costs a descriptor, and a system call per event. We measured and
rejected it for all endpoints on uvloop: docs/explanation/architecture.md has the
figures. A weak reference costs about 300 bytes and no time.
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
    """The methods that a transport uses to watch its socket."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_reader(self, fd: int, /) -> Any: ...
    def add_writer(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_writer(self, fd: int, /) -> Any: ...


def watcher_for(
    loop: asyncio.AbstractEventLoop, on_error: Callable[[], None]
) -> Watcher:
    """Return a watcher for a socket on *loop* that survives errors.

    If an error wouldn't call the reader, or would end the watching, the watcher calls
    *on_error*; in the second case, the reader must be added again.
    """
    if sys.platform != "linux" or isinstance(loop, asyncio.SelectorEventLoop):
        return loop
    if any(base.__module__.startswith("uvloop") for base in type(loop).__mro__):
        return UvloopWatcher(loop, on_error)
    return EpollWatcher(loop, on_error)


class UvloopWatcher:
    """The watching methods of uvloop, for one socket; detects when uvloop stops."""

    __slots__ = ("_loop", "_lost", "_on_error", "_watch")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_error: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_error = on_error
        self._watch: weakref.ref[Callable[[], None]] | None = None
        self._lost = False

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Watch; the caller must not keep a reference to *callback*."""
        self.clean(fd)
        self._loop.add_reader(fd, callback)
        self._watch = weakref.ref(callback, self._on_forgotten)

    def remove_reader(self, fd: int) -> None:
        self._watch = None  # before uvloop releases it
        self._lost = False
        self._loop.remove_reader(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        # An error calls the writer as well. The writer always stops watching, so there
        # is nothing to detect.
        self.clean(fd)
        self._loop.add_writer(fd, callback)

    def remove_writer(self, fd: int) -> None:
        self._loop.remove_writer(fd)

    def _on_forgotten(self, watch: object) -> None:
        # uvloop is just releasing it and must not be called now.
        self._watch = None
        if not self._loop.is_closed():
            self._lost = True
            self._on_error()

    def clean(self, fd: int) -> None:
        """Make uvloop drop the handle that it closed, instead of reusing it.

        Must be called before *fd* is closed: otherwise, uvloop refuses to watch the
        next socket with that number.
        """
        if self._lost:
            self._lost = False
            self._loop.remove_reader(fd)


class EpollWatcher:
    """The watching methods of an event loop, for one socket, unaffected by errors."""

    __slots__ = (
        "_epoll",
        "_events",
        "_loop",
        "_on_error",
        "_pausing",
        "_reader",
        "_registered",
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
        self._pausing: asyncio.TimerHandle | None = None
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
        """Watch for errors, even while nothing else is watched."""
        self._watches_errors = True
        self._watch(fd, self._events)

    def ignore_errors(self, fd: int) -> None:
        """Undo :meth:`watch_errors`."""
        self._watches_errors = False
        self._watch(fd, self._events)

    def pause(self, delay: float) -> None:
        """Make no calls for *delay* seconds."""
        if self._registered and self._pausing is None:
            self._loop.remove_reader(self._epoll.fileno())
            self._pausing = self._loop.call_later(delay, self._end_pause)

    def close(self) -> None:
        """Close the epoll instance. The loop must not watch it any more."""
        self._epoll.close()

    def leave_parent(self, fd: int) -> None:
        """In a forked child, watch through an epoll instance that isn't shared.

        It keeps working, whatever the parent does to its own.
        """
        events, self._events = self._events, 0
        if self._registered:
            self._loop.remove_reader(self._epoll.fileno())
        self._registered = False
        self._epoll.close()
        self._epoll = _new_epoll()
        self._watch(fd, events)

    def _end_pause(self) -> None:
        self._pausing = None
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _watch(self, fd: int, events: int) -> None:
        # If the socket was closed by other code, it has already been removed, and there
        # is nothing to change.
        wanted = bool(events) or self._watches_errors
        if wanted and not self._registered:
            self._epoll.register(fd, events)
            try:
                self._loop.add_reader(self._epoll.fileno(), self._on_ready)
            except BaseException:
                self._epoll.unregister(fd)
                raise
        elif self._registered and not wanted:
            if self._pausing is None:
                self._loop.remove_reader(self._epoll.fileno())
            else:
                self._pausing.cancel()
                self._pausing = None
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        elif events != self._events:
            with contextlib.suppress(OSError):
                self._epoll.modify(fd, events)
        self._registered = wanted
        self._events = events

    def _on_ready(self) -> None:
        for _, events in self._epoll.poll(0, 1):  # it allocates room for as many
            if events == EPOLLIN and self._reader is not None:  # nearly always
                self._reader()
                return
            if events & EPOLLERR:
                self._on_error()
            # A socket that was shut down has EPOLLHUP; the reader counts such events.
            if self._reader is not None and events & (EPOLLIN | EPOLLHUP):
                self._reader()
            elif events == EPOLLHUP and not self._events & EPOLLOUT:
                self.pause(HANGUP_PAUSE)  # otherwise, the loop would spin
            if self._writer is not None and events & (EPOLLOUT | EPOLLHUP):
                self._writer()


def _new_epoll() -> Any:
    return getattr(select, "epoll")()  # noqa: B009 - only Linux has it
