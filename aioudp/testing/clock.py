"""An event loop with a virtual clock, which jumps instead of waiting.

It is asyncio's selector loop with a selector of our own. Where a real selector waits
for the next timer, this one moves the clock to that timer and returns at once. So a
minute with retransmissions takes milliseconds, and runs the same way every time.

Time stands still while callbacks run, except that a timer that is due at once moves the
clock by a nanosecond. Only what the loop itself schedules can happen. Anything from
outside takes real time: sockets, threads, subprocesses. Using one raises an error here
rather than hang. If tasks wait and nothing is scheduled, nothing will ever happen: that
is a deadlock, and the error lists which task waits where.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar

from .._endpoint import dropin
from .._errors import UDPError
from .._system import addresses
from .._system.machine import current_machine

_T = TypeVar("_T")

_RESOLUTION: Final = 1e-9
"""In seconds. On most systems, asyncio calls timers early by up to this much."""


class DeadlockError(UDPError, RuntimeError):
    """Tasks are waiting, and nothing is scheduled that could wake them."""

    def __init__(self, waiting: list[str]) -> None:
        super().__init__(waiting)
        self.waiting = waiting
        """The name of each waiting task, and where in the program it waits."""

    def __str__(self) -> str:
        if not self.waiting:
            return "deadlock: nothing is scheduled, and no task is left to go on"
        listed = "".join(f"\n  {one}" for one in self.waiting)
        return f"deadlock: nothing is scheduled that could wake these tasks:{listed}"


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose time passes only when there is nothing else to do.

    ``time()`` starts at 0.0 and counts seconds. ``create_datagram_endpoint`` is
    :func:`aioudp.create_datagram_endpoint`, so libraries that open their sockets with
    it run on a simulated host, inside ``with host:``.

    Raises:
        DeadlockError: From ``run_until_complete`` and ``run_forever``, if tasks are
            waiting and nothing is scheduled.
        RuntimeError: From methods that would wait in real time: ``add_reader``,
            ``run_in_executor``, a transport over a socket, a subprocess.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector(self)
        super().__init__(self._jumping)
        self._jumping.sealed = True  # the loop has registered its own pipe

    def time(self) -> float:
        return self._jumping.now

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if when <= self._jumping.now:
            # Otherwise, code that polls with a delay of 0 until time has passed would
            # poll forever.
            self._jumping.creeps = True
        return super().call_at(when, callback, *args, context=context)

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a numeric host, or the name of a simulated host, without a thread."""
        machine = current_machine()
        found = [host] if host else ["::1", "127.0.0.1"]
        if isinstance(host, str) and host and not addresses.numeric_family(host):
            found = machine.look_up(host) if machine is not None else []
        infos: list[Any] = []
        for one in found:
            af = addresses.numeric_family(one)
            if family in (0, af):
                number = int(port or 0)
                addr = (one, number, 0, 0) if af == socket.AF_INET6 else (one, number)
                kind = type or socket.SOCK_DGRAM
                infos.append(
                    (socket.AddressFamily(af), kind, proto or 17, "", addr),
                )
        if not infos:
            raise socket.gaierror(
                socket.EAI_NONAME, f"no simulated host has the name {host!r}"
            )
        return infos

    async def create_datagram_endpoint(
        self, protocol_factory: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return await dropin.create_datagram_endpoint(protocol_factory, *args, **kwargs)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        _refuse(f"a thread ({func!r})")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("a subprocess")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("a subprocess")

    def _who_waits(self) -> list[str]:
        return sorted(
            f"{task.get_name()}: {_where(task.get_coro())}"
            for task in asyncio.all_tasks(self)
            if not task.done()
        )


def new_event_loop() -> VirtualClockLoop:
    """Return a new event loop with a virtual clock.

    Use it as a loop factory for :class:`asyncio.Runner`, for pytest-asyncio's hook
    ``pytest_asyncio_loop_factories``, or in anyio's ``backend_options``.
    """
    return VirtualClockLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run *main* like :func:`asyncio.run`, on a virtual clock.

    Nothing takes real time: where the loop would wait, the clock jumps.

    Args:
        main: The coroutine to run. Its result is returned; its exception is raised.
        debug: Whether the event loop runs in debug mode. ``None`` leaves the decision
            to the environment, as in asyncio.

    Raises:
        DeadlockError: If every task is waiting and nothing is scheduled.
        RuntimeError: If called while an event loop runs in this thread, or if
            something waits for real sockets, threads or subprocesses.
        ValueError: If *main* isn't a coroutine.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("run() cannot be called while an event loop is running")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"waiting for {what} takes real time, and the clock of this event loop is "
        "virtual; use a simulated network, or another event loop"
    )


class _JumpingSelector(selectors.BaseSelector):
    """A selector that is never ready, and moves the clock instead of waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self.now = 0.0
        self.sealed = False
        self.creeps = False
        """Whether the next iteration moves the clock by a nanosecond."""
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[Any]:
        if self.creeps:
            self.creeps = False
            timeout = max(timeout or 0.0, _RESOLUTION)
        if timeout is None:
            raise DeadlockError(self._loop._who_waits())
        if timeout > 0:
            self.now += timeout
            if self.now + _RESOLUTION == self.now:
                # After about three months, a nanosecond is too small to change a float,
                # and asyncio would wait for the timer forever.
                self.now = math.nextafter(self.now, math.inf)
        return []

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        if self.sealed:
            _refuse(f"a real socket (descriptor {fileobj!r})")
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


def _where(coroutine: Any) -> str:
    """Return the chain of calls that a suspended coroutine is waiting in."""
    calls = []
    awaited = coroutine
    while awaited is not None:
        frame = next(
            (
                found
                for name in ("cr_frame", "gi_frame", "ag_frame")
                if (found := getattr(awaited, name, None)) is not None
            ),
            None,
        )
        if frame is None:
            break
        code = frame.f_code
        calls.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        awaited = next(
            (
                found
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if (found := getattr(awaited, name, None)) is not None
            ),
            None,
        )
    return " > ".join(calls) or repr(coroutine)
