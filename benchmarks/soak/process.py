"""The inside of a measured process: scenarios in turn, samples in between.

``python -m benchmarks.soak.process '{"loop": "asyncio", "seconds": 120, ...}'`` writes
lines of JSON: the samples, then which types have grown.

A few tasks run scenarios that are chosen by chance, as often as the share of a
processor allows. For each sample they all stop between two scenarios, so that only what
stays open is there to be counted, and everything that was sent has arrived.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from . import (  # noqa: F401  # they list their scenarios
    census,
    descriptors,
    failing,
    interfaces,
    loops,
    namespace,
    receiving,
    serving,
)
from .standing import meet_a_crowd, opened
from .verdict import warm_up
from .world import LANES, Scenario, World, alone, anywhere, lasting, networked

_LEAST_WAIT: Final = 0.002  # seconds

_OURS: Final = (
    "unclosed endpoint <",
    "unclosed client <",
    "unclosed transport <SelectorTransport",
)
"""How the library's warnings begin. Those of the sockets and of the event loops' own
transports below them may come as well."""


class Gate:
    """Scenarios pass it; closed, it waits until all that did have ended."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def __aenter__(self) -> None:
        await self._open.wait()
        self._inside += 1
        self._empty.clear()

    async def __aexit__(self, *exc_info: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def close(self) -> None:
        self._open.clear()
        await self._empty.wait()

    def open(self) -> None:
        self._open.set()


class Pace:
    """Keeps the process within a share of one processor."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._wall, self._cpu = time.monotonic(), time.process_time()

    async def wait(self) -> None:
        """Wait until the share allows more work."""
        used = time.process_time() - self._cpu
        due = used / self._share - (time.monotonic() - self._wall)
        if due < 0:  # don't make up for a time when the machine was busy
            self._wall, self._cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(max(due, _LEAST_WAIT))


class Soak:
    """One run."""

    def __init__(self, spec: dict[str, Any], world: World) -> None:
        self._spec = spec
        self._world = world
        self._rng = random.Random(spec["seed"])
        self._gate = Gate()
        self._pace = Pace(spec["share"])
        self._scenarios: list[Scenario] = [*anywhere, *lasting]
        if world.hand is not None:
            self._scenarios += networked
        self._deck: list[Scenario] = []
        self._begin = time.monotonic()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loops.complain(self._world))
        async with opened(self._world):
            await meet_a_crowd(self._world, self._spec["crowd"])
            lanes = [loop.create_task(self._lane()) for _ in range(LANES)]
            await self._sample_until_the_end()
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)

    async def _lane(self) -> None:
        while True:
            await self._pace.wait()
            async with self._gate:
                await self._play(self._next())

    def _next(self) -> Scenario:
        """Return each scenario once, in an order by chance; then again."""
        if not self._deck:
            self._deck = self._rng.sample(self._scenarios, len(self._scenarios))
        return self._deck.pop()

    async def _play(self, scenario: Scenario) -> None:
        seed = self._rng.random()
        playing = asyncio.ensure_future(scenario(self._world, random.Random(seed)))
        try:
            _, hanging = await asyncio.wait([playing], timeout=self._spec["patience"])
            if hanging:
                self._world.tally.surprise(
                    f"{scenario.__name__}, seed {seed}, hangs:\n{_tasks()}"
                )
                playing.cancel()
            await playing
        except asyncio.CancelledError:
            playing.cancel()
            if not playing.cancelled():
                raise
        except Exception as exc:
            self._world.tally.surprise(f"{scenario.__name__}, seed {seed}", exc)

    async def _sample_until_the_end(self) -> None:
        seconds, interval = self._spec["seconds"], self._spec["interval"]
        warm = warm_up(seconds)
        after_warm_up = counted = Counter[str]()
        due = 0.0
        while due < seconds:
            due = min(due + interval, seconds)
            await asyncio.sleep(max(0.0, self._begin + due - time.monotonic()))
            await self._gate.close()
            await self._play(self._rng.choice(alone))
            await self._settle()
            counted = census.types()
            if not after_warm_up and due >= warm:
                after_warm_up = counted
            say(self._sample(counted))
            self._gate.open()
        say({"grown": census.growth(after_warm_up, counted)})

    async def _settle(self) -> None:
        """Let callbacks that close things run, and free what is only in cycles."""
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)

    def _sample(self, counted: Counter[str]) -> dict[str, Any]:
        return {
            "seconds": round(time.monotonic() - self._begin, 1),
            "cpu": round(time.process_time(), 2),
            **census.take(counted),
            **self._world.tally.snapshot(),
        }


def _tasks() -> str:
    """Describe where each task is."""
    lines = []
    for task in asyncio.all_tasks():
        frames: list[str] = []
        awaited: Any = task.get_coro()
        while awaited is not None and hasattr(awaited, "cr_frame"):
            frame = awaited.cr_frame
            where = f":{frame.f_lineno}" if frame else ""
            frames.append(f"{awaited.__qualname__}{where}")
            awaited = awaited.cr_await
        lines.append("  " + " > ".join(frames) + f" > {awaited!r:.200}")
    return "\n".join(lines)


def say(message: dict[str, Any]) -> None:
    """Write a line to the process that started this one."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class _Complaints(logging.Handler):
    """Counts what asyncio logs as an error: nothing here may be one."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.tally.surprise(f"logged: {record.getMessage()}")


def main() -> None:
    """Run as the JSON on the command line says."""
    spec = json.loads(sys.argv[1])
    if spec["network"]:
        namespace.enter()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        hand = stack.enter_context(namespace.Hand()) if spec["network"] else None
        world = World(tuple(spec["loops"]), Path(directory), hand)

        def warn(message: Warning | str, category: type[Warning], *args: Any) -> None:
            if issubclass(category, ResourceWarning):
                if str(message).startswith(_OURS):
                    world.tally.warned()
            else:
                world.tally.surprise(f"a warning: {message}")

        warnings.simplefilter("always")
        warnings.showwarning = warn  # type: ignore[assignment]
        sys.unraisablehook = lambda hook: world.tally.surprise(
            f"{hook.err_msg}: {hook.object!r}", hook.exc_value
        )
        logging.getLogger("asyncio").addHandler(_Complaints(world))
        logging.getLogger("asyncio").propagate = False
        logging.getLogger("aioudp").setLevel(
            logging.CRITICAL
        )  # handlers fail on purpose
        for name in spec["loops"]:
            loops.factory(name)().close()  # what the first of a kind keeps open
        with asyncio.Runner(loop_factory=loops.factory(spec["loop"])) as runner:
            runner.run(Soak(spec, world).run())


if __name__ == "__main__":
    main()
