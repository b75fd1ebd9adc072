"""The watcher of a simulated socket, which calls its transport when it's ready.

It has the methods of an event loop, and of ``EpollWatcher``, that a transport uses to
watch a descriptor. Readiness is level-triggered, too: a reader is called in each
iteration of the loop while there is something to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Protocol


class Watched(Protocol):
    """What the watcher needs from a socket: whether it's ready."""

    def readable(self) -> bool: ...
    def writable(self) -> bool: ...
    def failed(self) -> bool: ...


class Watcher:
    """Calls back when its one socket is ready."""

    __slots__ = (
        "_due",
        "_on_error",
        "_pausing",
        "_reader",
        "_sock",
        "_soon",
        "_writer",
        "on_error",
    )

    def __init__(
        self, sock: Watched, soon: Callable[[Callable[[], None]], None]
    ) -> None:
        self._sock = sock
        self._soon = soon
        self._reader: Callable[[], None] | None = None
        self._writer: Callable[[], None] | None = None
        self._on_error: Callable[[], None] | None = None
        self.on_error: Callable[[], None] | None = None
        """Who is called for an error, once they are watched for."""
        self._due = False  # whether the loop will call us
        self._pausing: asyncio.TimerHandle | None = None

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._reader = self._in_context(callback)
        self.look()

    def remove_reader(self, fd: int) -> None:
        self._reader = None

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._writer = self._in_context(callback)
        self.look()

    def remove_writer(self, fd: int) -> None:
        self._writer = None

    def watch_errors(self, fd: int) -> None:
        """Call only :attr:`on_error` for an error."""
        if self.on_error is not None:
            self._on_error = self._in_context(self.on_error)
        self.look()

    def ignore_errors(self, fd: int) -> None:
        """Undo :meth:`watch_errors`."""
        self._on_error = None

    def pause(self, delay: float) -> None:
        """Make no calls for *delay* seconds."""
        if self._pausing is None:
            loop = asyncio.get_running_loop()
            self._pausing = loop.call_later(delay, self._end_pause)

    def _end_pause(self) -> None:
        self._pausing = None
        self.look()

    def close(self) -> None:
        """Stop making calls."""
        self._reader = self._writer = self._on_error = self.on_error = None
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    @staticmethod
    def _in_context(callback: Callable[[], None]) -> Callable[[], None]:
        """Return a function that calls *callback* in the current context."""
        return partial(copy_context().run, callback)

    def look(self) -> None:
        """Check soon whether the socket is ready for what is watched."""
        if not self._due and self._watches():
            self._due = True
            self._soon(self._call)

    def _watches(self) -> bool:
        return self._pausing is None and (
            self._reader is not None
            or self._writer is not None
            or self._on_error is not None
        )

    def _call(self) -> None:
        self._due = False
        if self._pausing is not None:
            return
        sock = self._sock
        failed = sock.failed()
        try:
            if failed and self._on_error is not None:
                self._on_error()
                failed = False
            if self._reader is not None and (failed or sock.readable()):
                self._reader()
            if self._writer is not None and (failed or sock.writable()):
                self._writer()
        finally:
            if self._is_ready():
                self.look()

    def _is_ready(self) -> bool:
        sock = self._sock
        return (
            (self._reader is not None and sock.readable())
            or self._writer is not None
            or sock.failed()
        )
