"""Thousands of schedules, each replayable by its seed; and faults that they must find.

To run one again: ``python -m tests.explorer SEED``. To run more: set AIOUDP_SCHEDULES.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from .faults import FAULTS, parts_with
from .world import Parts, World, explore

SCHEDULES: Final = int(os.environ.get("AIOUDP_SCHEDULES", "2000"))
ENOUGH: Final = 2000  # schedules to find a fault in; most take fewer than 50
PARTS: Final = 10  # tests, so that several processes can share them


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(600)
def test_every_schedule_keeps_the_laws(part: int) -> None:
    """The laws are at the top of ``world.py``."""
    for seed in range(part, SCHEDULES, PARTS):
        explore(seed)


@pytest.mark.parametrize("part", range(2))
def test_schedules_in_which_senders_let_the_loop_run(part: int) -> None:
    """With an allowance of three sends. It changes the order of tasks at most."""
    for seed in range(part, SCHEDULES // 4, 2):
        explore(seed, allowance=3)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_put_back_is_found(fault: str) -> None:
    """The explorer sees what it is there for."""
    parts = parts_with(FAULTS[fault])

    with pytest.raises(AssertionError, match=r"^seed \d+: "):
        explore_all(parts)


def explore_all(parts: Parts) -> None:
    for seed in range(ENOUGH):
        explore(seed, parts)


def test_a_seed_gives_the_same_schedule_again() -> None:
    """What happened can be seen again."""
    traces = []
    for _ in range(2):
        world = World(7, Parts())
        for _ in range(50):
            world.step()
        world.finish()
        traces.append(world.trace)

    assert traces[0] == traces[1]
    assert len(traces[0]) > 50
