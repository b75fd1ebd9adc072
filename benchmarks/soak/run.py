"""A run: a process for each event loop, side by side, and one file for both."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..processes import Command, started
from .recording import Recorder
from .standing import CROWD, GREATER_CROWD

_PATIENCE: Final = 300.0  # seconds for a sample, beyond its time: a machine may be busy
_SCENARIO: Final = 60.0  # seconds for one, after which it hangs
_LEAST_INTERVAL: Final = 2.0  # seconds
_SAMPLES: Final = 180


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    loops: tuple[str, ...]
    seconds: float
    seed: int
    share: float
    """Of one processor, for all processes together."""
    network: bool
    """Whether each process has a network of its own."""

    @property
    def interval(self) -> float:
        """Seconds between two samples."""
        return max(_LEAST_INTERVAL, self.seconds / _SAMPLES)

    def conditions(self) -> dict[str, Any]:
        """Return all this as it goes into a result file."""
        return {
            "loops": list(self.loops),
            "seconds": self.seconds,
            "interval": self.interval,
            "seed": self.seed,
            "share": self.share,
            "network": self.network,
            "malloc_arenas": 1,
        }

    def command(self, loop: str) -> Command:
        """Return the command of one process."""
        spec = {
            "loop": loop,
            "loops": self.loops,
            "seconds": self.seconds,
            "interval": self.interval,
            "seed": self.seed,
            "share": self.share / len(self.loops),
            "patience": _SCENARIO,
            "crowd": CROWD if self.network else GREATER_CROWD,
            "network": self.network,
        }
        module = f"{__package__}.process"
        # Threads that come and go get arenas of their own in turn, and leave each of
        # them a little larger, though nothing in it is in use: mallopt(3).
        arenas = "MALLOC_ARENA_MAX=1"
        return Command(["env", arenas, sys.executable, "-m", module, json.dumps(spec)])


async def run(
    plan: Plan,
    recorder: Recorder,
    show: Callable[[str, dict[str, Any]], None],
    grown: dict[str, dict[str, int]],
) -> None:
    """Run it, record and *show* each sample; note the types that have *grown*, by loop.

    Raises:
        ExceptionGroup: Of a MeasurementError, if a process ended or hung.
    """

    async def one(loop: str) -> None:
        async with started(plan.command(loop)) as child:
            while True:
                message = await child.read(plan.interval + _PATIENCE)
                if "grown" in message:
                    grown[loop] = message["grown"]
                    if told := child.errors():
                        print(f"{loop}:\n{told}", file=sys.stderr)
                    return
                recorder.add(loop, message)
                show(loop, message)

    async with asyncio.TaskGroup() as tasks:
        for loop in plan.loops:
            tasks.create_task(one(loop))
