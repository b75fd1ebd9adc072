"""An event loop that does one thing at a time, and lets somebody else choose which.

It has what the endpoint, its transport and asyncio's own tasks and locks use, a clock
that only moves when it is told to, and no descriptors: what "is ready" is asked of the
sockets that are watched.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from typing import Any

_Base: Any = asyncio.AbstractEventLoop  # whose other methods nobody calls


class ExploredLoop(_Base):  # type: ignore[misc]
    """Keeps what is to be called until :meth:`choices` has been chosen from."""

    def __init__(self) -> None:
        self.ready: list[asyncio.Handle] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.now = 0.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self.errors: list[dict[str, Any]] = []

    # -- what asyncio asks for

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.timers.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: Any) -> bool:
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: Any) -> bool:
        return self.writers.pop(fd, None) is not None

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **kwargs)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    # -- what the explorer does

    def run(self, callback: Callable[[], object]) -> None:
        """Call something as the event loop would."""
        events._set_running_loop(self)
        try:
            callback()
        finally:
            events._set_running_loop(None)

    def run_ready(self, index: int = 0) -> None:
        """Run one of the callbacks that are ready."""
        handle = self.ready.pop(index)
        if not handle.cancelled():
            self.run(handle._run)

    def run_timer(self) -> None:
        """Let the time pass until the next timer."""
        handle = min(self.timers, key=lambda timer: timer.when())
        self.timers.remove(handle)
        self.now = max(self.now, handle.when())
        self.run(handle._run)
