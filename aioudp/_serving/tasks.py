"""The tasks of asynchronous handlers: a limited number, and a policy for the others.

With ``"drop-oldest"``, the oldest task is cancelled, and the newest datagram gets its
place as soon as it has ended; until then the datagram waits, because a handler may take
time to clean up. So the number of tasks, and that of waiting datagrams, never exceeds
the number of places.

A batch may bring more datagrams than there are places, before the first task has run at
all. So before anything is dropped, new tasks run until they wait: handlers that don't
wait for anything never make a server busy.
"""

from __future__ import annotations

import asyncio
import contextlib
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
        "_exempt",
        "_finishing",
        "_freed",
        "_fresh",
        "_loop",
        "_places",
        "_running",
        "_starting",
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
        self._exempt: set[asyncio.Task[Any]] = set()  # of the running ones
        self._finishing: list[asyncio.Future[None]] = []
        self._waiting: deque[Job] = deque()
        self._freed: asyncio.Future[None] | None = None
        self._starting: Coroutine[Any, Any, None] | None = None
        self._fresh = False  # whether there are tasks that haven't run yet
        self.dropped: int = 0
        """Datagrams dropped because there was no place."""
        self.aborted: int = 0
        """Tasks that were cancelled before they ended."""

    def __len__(self) -> int:
        """Return the number of running tasks and waiting datagrams."""
        return len(self._running) + len(self._waiting)

    async def start(self, job: Job) -> None:
        """Run *job* in a task, or apply the policy.

        If it's cancelled, the job is abandoned.
        """
        try:
            if len(self._running) >= self._places and self._fresh:
                self._fresh = False
                await asyncio.sleep(0)  # the tasks run
                await asyncio.sleep(0)  # those that have ended leave
            if self._when_busy == "wait":
                while len(self._running) >= self._places:
                    self._freed = self._loop.create_future()
                    await self._freed
        except BaseException:
            job.abandon()
            raise
        if len(self._running) < self._places:
            self._run(job)
        elif self._when_busy == "drop-oldest":
            self._replace_oldest(job)
        else:
            self._drop(job)

    def _run(self, job: Job) -> None:
        self._starting = job.run()
        task = self._loop.create_task(self._starting)  # an eager one runs now
        self._starting = None
        self._running[task] = job
        self._fresh = True
        task.add_done_callback(self._ended)

    def _drop(self, job: Job) -> None:
        self.dropped += 1
        job.abandon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        self._cancelled.discard(task)
        self._exempt.discard(task)
        if task.cancelled() or task.exception() is not None:
            job.abandon()  # called here because the task may never have started
        while self._waiting and len(self._running) < self._places:
            self._run(self._waiting.popleft())
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)
        self._notice_end()
        if not task.cancelled():
            task.result()  # a job catches its handler's exceptions only

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

    def exempt_caller(self) -> None:
        """If the caller runs in one of the tasks, :meth:`finish` doesn't wait for it.

        The caller waits for the others to finish, so nobody can wait for it.
        """
        task = asyncio.current_task()
        if task is None:
            return
        if task in self._running or task.get_coro() is self._starting:
            self._exempt.add(task)
            self._notice_end()

    async def finish(self) -> None:
        """Wait until all work is done, except that of exempt tasks."""
        while len(self._running) > len(self._exempt):
            waiter = self._loop.create_future()
            self._finishing.append(waiter)
            try:
                await waiter
            finally:
                self._finishing.remove(waiter)

    def _notice_end(self) -> None:
        if len(self._running) <= len(self._exempt):
            for waiter in self._finishing:
                if not waiter.done():
                    waiter.set_result(None)

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
        """Wait up to *seconds* for cancelled tasks to end, except exempt ones.

        Returns:
            The number of tasks that haven't ended.
        """
        self.exempt_caller()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.finish()
        return len(self._running) - len(self._exempt)
