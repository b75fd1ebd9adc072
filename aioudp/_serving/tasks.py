"""The tasks of asynchronous handlers: a limited number, and a policy for the others.

With ``"drop-oldest"``, the oldest task is cancelled, and the newest datagram gets its
place as soon as it has ended; until then the datagram waits, because a handler may take
time to clean up. So the number of tasks, and that of waiting datagrams, never exceeds
the number of places.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Literal, Protocol, TypeAlias

WhenBusy: TypeAlias = Literal["drop-newest", "drop-oldest", "wait"]
"""What to do with a datagram if all places are taken."""


class Job(Protocol):
    """The work for one datagram."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that does the work."""

    def abandon(self) -> None:
        """Clean up if the work wasn't done, or not finished."""


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
        self._running: dict[asyncio.Task[None], Job] = {}  # oldest first
        self._cancelled: set[asyncio.Task[None]] = set()
        self._waiting: deque[Job] = deque()
        self._freed: asyncio.Future[None] | None = None
        self.dropped: int = 0
        """Datagrams dropped because there was no place."""
        self.aborted: int = 0
        """Tasks that were cancelled before they ended."""

    def __len__(self) -> int:
        """Return the number of running tasks and waiting datagrams."""
        return len(self._running) + len(self._waiting)

    async def start(self, job: Job) -> None:
        """Run *job* in a task, or apply the policy."""
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
            job.abandon()  # called here because the task may never have started
        else:
            task.result()  # a job catches its handler's exceptions only
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
        # All places are being cleared, each for a waiting datagram: drop the oldest.
        self._drop(self._waiting.popleft())

    async def finish(self) -> None:
        """Wait until all work is done, except the caller's own task."""
        while others := self._others():
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            # It does not wait for one that is done, whose place is not free yet.
            await asyncio.sleep(0)

    def _others(self) -> set[asyncio.Task[None]]:
        return self._running.keys() - {asyncio.current_task()}

    def cancel(self) -> None:
        """Cancel all tasks, and drop waiting datagrams."""
        while self._waiting:
            self._drop(self._waiting.popleft())
        for task in [*self._running]:
            if task not in self._cancelled:
                self._cancelled.add(task)
                self.aborted += 1
                task.cancel()

    async def wait_cancelled(self, seconds: float) -> int:
        """Wait up to *seconds* for cancelled tasks to end.

        Returns:
            The number of tasks that haven't ended.
        """
        if others := self._others():
            _, late = await asyncio.wait(others, timeout=seconds)
            return len(late)
        return 0
