"""Search over seeds, shrinking, and what pytest shows of it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aioudp import testing
from aioudp.testing import SimulatedNetwork

A, B = ("10.0.0.1", 1), ("10.0.0.2", 2)


async def two_in_a_row(net: SimulatedNetwork) -> None:
    """Fail if two datagrams in a row are lost; what else happens does not matter."""
    lost = []
    async with net.bind(A), net.bind(B) as sender:
        for number in range(30):
            await sender.send(b"%d" % number, A)
            await asyncio.sleep(1)
    lost = [flight.number for flight in net.history if flight.fate == "lost"]
    assert not any(number + 1 in lost for number in lost)


async def harmless(net: SimulatedNetwork) -> None:
    """Never fail."""
    async with net.bind(A), net.connect(A) as sender:
        await sender.send(b"")


def test_nothing_is_found_where_nothing_is() -> None:
    """A program that never fails has no failure."""
    assert testing.explore(harmless, seeds=20, loss=0.5, processes=1) is None


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_failure_is_shrunk_to_its_cause(processes: int) -> None:
    """Two losses are left of many faults, and they are those that matter."""
    failure = testing.explore(
        two_in_a_row,
        seeds=40,
        processes=processes,
        loss=0.15,
        jitter=0.1,
        duplicate=0.1,
        reorder=0.1,
    )

    assert failure is not None
    assert isinstance(failure.error, AssertionError)
    assert [one.kind for one in failure.faults] == ["loss", "loss"]
    first, second = failure.faults
    assert second.number == first.number + 1
    assert failure.happened > 10
    assert f"seed {failure.seed!r} fails" in str(failure)
    assert "2 of" in str(failure)
    assert len(failure.history) == 30


def test_processes_change_nothing() -> None:
    """The seed and the faults are the same, however many run at once."""
    found = [
        testing.explore(two_in_a_row, seeds=40, processes=count, loss=0.15)
        for count in (1, 3)
    ]

    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].seed, found[0].faults) == (found[1].seed, found[1].faults)


def test_a_failure_without_faults_says_so() -> None:
    """If it fails anyway, no fault is blamed."""

    async def broken(net: SimulatedNetwork) -> None:
        await two_in_a_row(net)
        raise KeyError("broken")

    failure = testing.explore(broken, seeds=[3], loss=0.01, jitter=0.5)

    assert failure is not None
    assert failure.faults == []
    assert "0 of" in str(failure)


def test_what_never_ends_fails() -> None:
    """The virtual clock ends a run that goes on and on; a deadlock is a failure too."""

    async def endless(net: SimulatedNetwork) -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(1)

    async def stuck(net: SimulatedNetwork) -> None:
        async with net.bind(A) as endpoint:
            await endpoint.recv()

    failure = testing.explore(endless, seeds=1, time_limit=100.0)
    assert failure is not None
    assert isinstance(failure.error, TimeoutError)
    failure = testing.explore(stuck, seeds=1)
    assert failure is not None


def test_the_module_random_is_seeded() -> None:
    """What a program draws from it is repeatable, and its state is left alone."""
    drawn: list[float] = []

    async def draws(net: SimulatedNetwork) -> None:
        drawn.append(random.random())

    before = random.getstate()
    testing.explore(draws, seeds=[7], processes=1)
    testing.explore(draws, seeds=[7], processes=1)

    assert drawn[0] == drawn[1]
    assert random.getstate() == before


def test_a_program_that_cheats_is_found_out() -> None:
    """One that fails once and not again depends on something else."""
    calls: list[int] = []

    async def moody(net: SimulatedNetwork) -> None:
        calls.append(1)
        assert len(calls) != 3

    with pytest.raises(RuntimeError, match="failed once and not again"):
        testing.explore(moody, seeds=5, processes=1)


def test_mistakes_are_named() -> None:
    """What cannot be is refused before anything runs."""
    mistakes: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "seeds must be at least 1", {"seeds": 0}),
        (ValueError, "time_limit must be positive", {"time_limit": 0}),
        (ValueError, "processes must be at least 1", {"processes": 0}),
        (ValueError, "loss must be from 0 to 1", {"loss": 2}),
    ]
    for error, message, arguments in mistakes:
        with pytest.raises(error, match=message):
            testing.explore(harmless, **arguments)
    with pytest.raises(TypeError, match="must be a coroutine function"):
        testing.explore(5)  # type: ignore[arg-type]


# -- pytest

TESTS = """
import asyncio
import pytest

@pytest.mark.network(seeds=60, loss=0.15, jitter=0.1)
async def test_fails(net, tmp_path):
    assert tmp_path.exists()
    async with net.bind(("10.0.0.1", 1)), net.bind(("10.0.0.2", 2)) as sender:
        for number in range(30):
            await sender.send(b"payload", ("10.0.0.1", 1))
            await asyncio.sleep(1)
    lost = [one.number for one in net.history if one.fate == "lost"]
    assert not any(number + 1 in lost for number in lost)

@pytest.mark.network(seeds=3)
async def test_passes(net):
    async with net.bind(("10.0.0.1", 1)) as a, net.connect(("10.0.0.1", 1)) as b:
        await b.send(b"x")
        assert (await a.recv()).data == b"x"

class TestIt:
    @pytest.mark.network
    async def test_in_a_class(self, net):
        assert net.seed == 0
        await asyncio.sleep(1000)
"""


@pytest.mark.parametrize("others", [["-p", "no:asyncio"], []])
def test_the_plugin_reports_seed_and_history(tmp_path: Path, others: list[str]) -> None:
    """A failing test prints its seed, its faults and its datagrams by itself."""
    (tmp_path / "test_it.py").write_text(TESTS)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "aioudp.testing.plugin"]
        done = subprocess.run(
            [*command, *others, "-q", "--strict-markers", *arguments, str(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        )
        return done.stdout + done.stderr

    printed = run()
    assert "1 failed, 2 passed" in printed
    assert "simulated network" in printed
    assert "2 of " in printed
    assert "loss of datagram" in printed
    assert "b'payload'" in printed
    found = re.search(r"seed (\d+) fails", printed)
    assert found is not None
    seed = found[1]
    again = run(f"--network-seed={seed}", "-k", "test_fails")
    assert f"seed {seed} fails" in again
    assert "1 failed" in again
