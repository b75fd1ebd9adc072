"""A bounded queue that keeps the newest items, and the tasks that wait for them.

Drops are counted. Waiting tasks are served first come, first served. An item stays in
the queue until the step in which the task returns it, so cancelling loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from .._errors import EndpointClosedError

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """A bounded queue, and the tasks that wait for it."""

    __slots__ = ("_arrived", "_closed", "_items", "_turn", "dropped")

    def __init__(self, size: int) -> None:
        self._items: deque[_T] = deque(maxlen=size)
        self._turn = asyncio.Lock()  # fair: first come, first served
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped: int = 0
        """Items dropped to make room for newer ones."""

    def put(self, item: _T) -> None:
        self.dropped += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._arrived.set()

    def close(self) -> None:
        """Make every current and later call raise EndpointClosedError."""
        self._closed = True
        self._items.clear()
        self._arrived.set()

    async def take(self) -> _T:
        """Wait for the next item.

        Raises:
            EndpointClosedError: After :meth:`close`.
        """
        async with self._turn:
            while not (self._items or self._closed):
                self._arrived.clear()
                await self._arrived.wait()
            if self._closed:
                raise EndpointClosedError
            return self._items.popleft()
