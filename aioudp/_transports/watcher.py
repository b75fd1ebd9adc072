"""Watching a socket through an epoll instance, which tells errors apart.

For a connected socket on uvloop, where one ICMP error ends the watching, and for a
socket with an error queue, on every loop.

A socket with a pending error is ready with EPOLLERR. libuv takes that for a broken
descriptor: ``uv__poll_io`` in its ``src/unix/poll.c`` stops the watcher, and uvloop
tells nobody, so the reader would never be called again. asyncio's loops call it.

An epoll instance is itself a descriptor that can be watched (epoll(7)): it is readable
while anything that it watches is ready, whatever for, and has no errors of its own.
So the socket goes into an epoll instance, and that instance into the event loop. An
event loop calls the reader, the writer, or both for an error, and neither if none is
there; an epoll instance reports an error as such, whatever else is watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import sys
from collections.abc import Callable
from typing import Any, Protocol

EPOLLIN = 0x1  # include/uapi/linux/eventpoll.h
EPOLLOUT = 0x4
EPOLLERR = 0x8


class Watcher(Protocol):
    """What a transport asks of an event loop to watch its socket."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_reader(self, fd: int, /) -> Any: ...
    def add_writer(self, fd: int, callback: Callable[[], None], /) -> Any: ...
    def remove_writer(self, fd: int, /) -> Any: ...


def needs_epoll(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether *loop* may stop watching a socket that has an error."""
    return sys.platform == "linux" and not isinstance(loop, asyncio.SelectorEventLoop)


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
        "_writer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll: Any = getattr(select, "epoll")()  # noqa: B009 - only Linux has it
        self._events = 0
        self._registered = False
        self._resting: asyncio.TimerHandle | None = None
        self._on_error: Callable[[], None] | None = None
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

    def watch_errors(self, fd: int, callback: Callable[[], None]) -> None:
        """Have *callback* called for an error, and nobody else."""
        self._on_error = callback
        self._watch(fd, self._events)

    def ignore_errors(self, fd: int) -> None:
        """Undo :meth:`watch_errors`."""
        self._on_error = None
        self._watch(fd, self._events)

    def rest(self, delay: float) -> None:
        """Call nobody for *delay* seconds."""
        if self._registered and self._resting is None:
            self._loop.remove_reader(self._epoll.fileno())
            self._resting = self._loop.call_later(delay, self._end_rest)

    def close(self) -> None:
        """Free the epoll instance. Nothing must be watched any more."""
        self._epoll.close()

    def _end_rest(self) -> None:
        self._resting = None
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _watch(self, fd: int, events: int) -> None:
        # Whoever closed the socket behind our back has taken it out already: there is
        # nothing left to change then.
        wanted = bool(events) or self._on_error is not None
        if wanted and not self._registered:
            self._epoll.register(fd, events)
            self._loop.add_reader(self._epoll.fileno(), self._on_ready)
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
            # An error is taken by whoever calls the kernel next: a read or a write.
            error = EPOLLERR
            if self._on_error is not None:
                error = 0
                if events & EPOLLERR:
                    self._on_error()
            if self._reader is not None and events & (EPOLLIN | error):
                self._reader()
            if self._writer is not None and events & (EPOLLOUT | error):
                self._writer()
