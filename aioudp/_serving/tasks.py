"""The tasks of asynchronous handlers: so many at once, and what is done with the rest.

With ``"drop-oldest"`` the oldest task is cancelled and its place goes to the newest
datagram as soon as it has ended; until then that datagram waits, since a handler may
take its time to clean up. So there are never more tasks, nor more that wait, than
places.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Literal, Protocol, TypeAlias

WhenBusy: TypeAlias = Literal["drop-newest", "drop-oldest", "wait"]
"""What happens to a datagram that finds all places taken."""


class Job(Protocol):
    """What there is to do about one datagram."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Return the coroutine that does it."""

    def abandon(self) -> None:
        """Note that it was not done, or not to its end."""


class Tasks:
    """Runs handlers as tasks."""

    __slots__ = (
        "_cancelled",
        "_freed",
        "_loop",
        "_places",
        "_running",
        "_waiting",
        "_when_busy",
        "aborted",
        "dropped",
    )

    def __init__(self, places: int, when_busy: WhenBusy) -> None:
        self._loop = asyncio.get_running_loop()
        self._places = places
        self._when_busy = when_busy
        self._running: dict[asyncio.Task[None], Job] = {}  # the oldest first
        self._cancelled: set[asyncio.Task[None]] = set()
        self._waiting: deque[Job] = deque()
        self._freed: asyncio.Future[None] | None = None
        self.dropped: int = 0
        """Datagrams for which there was no place."""
        self.aborted: int = 0
        """Tasks that were cancelled before they had ended."""

    def __len__(self) -> int:
        """Return how many are in hand: running, or waiting for a place."""
        return len(self._running) + len(self._waiting)

    async def start(self, job: Job) -> None:
        """Run *job* as a task, or do as the policy says."""
        if self._when_busy == "wait":
            while len(self._running) >= self._places:
                self._freed = self._loop.create_future()
                await self._freed
        if len(self._running) < self._places:
            self._run(job)
        elif self._when_busy == "drop-oldest":
            self._replace_oldest(job)
        else:
            self._drop(job)

    def _run(self, job: Job) -> None:
        task = self._loop.create_task(job.run())
        self._running[task] = job
        task.add_done_callback(self._ended)

    def _drop(self, job: Job) -> None:
        self.dropped += 1
        job.abandon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        self._cancelled.discard(task)
        if task.cancelled():
            job.abandon()  # here, since it may never have begun
        else:
            task.result()  # a job catches what its handler raises, and nothing else
        while self._waiting and len(self._running) < self._places:
            self._run(self._waiting.popleft())
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)

    def _replace_oldest(self, job: Job) -> None:
        self._waiting.append(job)
        for task in self._running:
            if task not in self._cancelled:
                self._cancelled.add(task)
                self.aborted += 1
                task.cancel()
                return
        # Each place is being cleared, and somebody waits for each: the oldest of those.
        self._drop(self._waiting.popleft())

    async def finish(self) -> None:
        """Wait until nothing is in hand; the caller's own task does not count."""
        while others := self._others():
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)

    def _others(self) -> set[asyncio.Task[None]]:
        return self._running.keys() - {asyncio.current_task()}

    def cancel(self) -> None:
        """Cancel all that is in hand."""
        while self._waiting:
            self._drop(self._waiting.popleft())
        for task in [*self._running]:
            if task not in self._cancelled:
                self._cancelled.add(task)
                self.aborted += 1
                task.cancel()

    async def wait_cancelled(self, seconds: float) -> int:
        """Give those that were cancelled so many *seconds* to end.

        Returns:
            How many have not.
        """
        if others := self._others():
            _, late = await asyncio.wait(others, timeout=seconds)
            return len(late)
        return 0
