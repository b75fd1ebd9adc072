"""What is kept until somebody asks for it: the newest so many, and the tasks that wait.

Bounded: the newest are kept, and what is dropped is counted. Tasks that wait are served
first come, first served; an item stays here until the very step of the task that
returns it, so that cancelling loses none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from .._errors import EndpointClosedError

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """A bounded queue, and the tasks that wait at it."""

    __slots__ = ("_arrived", "_closed", "_items", "_turn", "dropped")

    def __init__(self, size: int) -> None:
        self._items: deque[_T] = deque(maxlen=size)
        self._turn = asyncio.Lock()  # fair: who comes first is served first
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped: int = 0
        """Items that made room for newer ones."""

    def put(self, item: _T) -> None:
        self.dropped += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._arrived.set()

    def close(self) -> None:
        """Let every call, now and later, raise EndpointClosedError."""
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
