"""Watching a connected socket on uvloop, where one ICMP error ends the watching.

A socket with a pending error is ready with EPOLLERR. libuv takes that for a broken
descriptor: ``uv__poll_io`` in its ``src/unix/poll.c`` stops the watcher, and uvloop
tells nobody, so the reader would never be called again. asyncio's loops call it.

An epoll instance is itself a descriptor that can be watched (epoll(7)): it is readable
while anything that it watches is ready, whatever for, and has no errors of its own.
So the socket goes into an epoll instance, and that instance into the event loop.

Imports nothing of the package.
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

    __slots__ = ("_epoll", "_events", "_loop", "_reader", "_writer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll: Any = getattr(select, "epoll")()  # noqa: B009 - only Linux has it
        self._events = 0
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

    def close(self) -> None:
        """Free the epoll instance. Nothing must be watched any more."""
        self._epoll.close()

    def _watch(self, fd: int, events: int) -> None:
        if not self._events and events:
            self._epoll.register(fd, events)
            self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        elif self._events and not events:
            self._loop.remove_reader(self._epoll.fileno())
            # Whoever closed the socket behind our back has taken it out already.
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        elif events != self._events:
            self._epoll.modify(fd, events)
        self._events = events

    def _on_ready(self) -> None:
        for _, events in self._epoll.poll(0):
            # An error is taken by whoever calls the kernel next: a read or a write.
            if self._reader is not None and events & (EPOLLIN | EPOLLERR):
                self._reader()
            if self._writer is not None and events & (EPOLLOUT | EPOLLERR):
                self._writer()
