"""Waiting in line: for one of several places, or for the turn at a key.

First come, first served. Cancelling a waiting task affects nobody else: a turn that
comes at the same time as the cancellation passes to the next task in the line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from .._errors import EndpointClosedError


class Line:
    """A number of places, and the tasks that wait for one."""

    __slots__ = ("_closed", "_free", "_places", "_waiters")

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def waiting(self) -> int:
        """The number of tasks that wait for a place."""
        return len(self._waiters)

    @property
    def taken(self) -> int:
        """The number of taken places."""
        return self._places - self._free

    def enter_nowait(self) -> bool:
        """Take a place if one is free; return whether it was."""
        if self._free:  # then nobody waits: leave() passes places on
            self._free -= 1
            return True
        return False

    async def enter(self) -> None:
        """Wait for a place, and take it.

        Raises:
            EndpointClosedError: If the line is closed, before or while waiting.
        """
        if self._closed:
            raise EndpointClosedError
        if self.enter_nowait():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self.leave()
            raise

    def leave(self) -> None:
        """Return a place, and pass it to the first waiting task."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Make every current and later wait raise EndpointClosedError."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(EndpointClosedError())


class Turns:
    """One task at a time for each key; a line exists only while a task waits."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[Hashable, Line | None] = {}  # None: nobody has waited yet

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def waiting(self) -> int:
        """The number of tasks that wait for their turn."""
        return sum(line.waiting for line in self._lines.values() if line is not None)

    def take_nowait(self, key: Hashable) -> bool:
        """Take the turn at *key* if it's free; return whether it was."""
        if key in self._lines:
            return False
        self._lines[key] = None
        return True

    async def take(self, key: Hashable) -> None:
        """Wait for the turn at *key*.

        Raises:
            EndpointClosedError: If the turns are closed while waiting.
        """
        if self.take_nowait(key):
            return
        line = self._lines[key]
        if line is None:
            line = self._lines[key] = Line(1)
            line.enter_nowait()  # for the task that has the turn
        try:
            await line.enter()
        except BaseException:
            self._forget_if_empty(key, line)
            raise

    def give(self, key: Hashable) -> None:
        """Pass the turn at *key* on."""
        line = self._lines[key]
        if line is None:
            del self._lines[key]
        else:
            line.leave()
            self._forget_if_empty(key, line)

    def _forget_if_empty(self, key: Hashable, line: Line) -> None:
        if not line.taken and self._lines.get(key) is line:
            del self._lines[key]

    def close(self) -> None:
        """Make every wait raise EndpointClosedError."""
        for line in self._lines.values():
            if line is not None:
                line.close()
