"""The soak: its accounts, its file, its verdict; and that it finds what leaks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from aioudp import Stats

if sys.platform != "linux":
    pytest.skip("cannot: linux: the soak reads /proc", allow_module_level=True)
for _name in ("typer", "rich"):
    if find_spec(_name) is None:
        pytest.skip(f"cannot: {_name}: it is not installed", allow_module_level=True)

from benchmarks.soak import kinds, recording  # noqa: E402
from benchmarks.soak.account import Account, numbered  # noqa: E402
from benchmarks.soak.verdict import MIB, Verdict, judge, slope, warm_up  # noqa: E402

ROOT: Final = Path(__file__).resolve().parents[2]

# -- accounts


def account_of(sent: Sequence[int], got: Sequence[int]) -> Account:
    account = Account()
    account.sent(sent)
    for number in got:
        account.got(numbered(number, 20))
    return account


def test_all_that_was_sent_was_received() -> None:
    """Nothing is unaccounted."""
    balance = account_of(range(5), range(5)).balance(Stats(received=5))

    assert (balance.sent, balance.received, balance.unaccounted) == (5, 5, 0)


def test_what_is_dropped_is_counted() -> None:
    """By the queue, by the kernel, by the close, and in the kernel after the close."""
    account = account_of(range(10), range(3))
    account.left(numbered(9))
    stats = Stats(
        received=7,
        dropped_queue=3,
        dropped_close=1,
        dropped_kernel=2,
        dropped_kernel_max=2,
    )

    balance = account.balance(stats)

    assert (balance.received, balance.dropped, balance.left) == (3, 6, 1)
    assert balance.unaccounted == 0


@pytest.mark.parametrize(
    ("got", "stats", "unaccounted"),
    [
        pytest.param([0, 1], Stats(received=2), 1, id="lost below"),
        pytest.param([0, 1], Stats(received=3), 1, id="lost above"),
        pytest.param([0, 1, 1], Stats(received=3), 1, id="twice"),
        pytest.param([0, 1, 7], Stats(received=3), 1, id="a stranger"),
        pytest.param([0, 1, 2], Stats(received=4), 2, id="counted twice"),
        pytest.param(
            [0, 1, 2],
            Stats(received=3, dropped_kernel=1, dropped_kernel_max=1),
            1,
            id="dropped but received",
        ),
        pytest.param(
            [0, 1], Stats(received=2, dropped_queue=1), 2, id="dropped, never read"
        ),
    ],
)
def test_what_is_unaccounted(got: list[int], stats: Stats, unaccounted: int) -> None:
    """Of three that were sent."""
    assert account_of(range(3), got).balance(stats).unaccounted == unaccounted


def test_garbage_is_a_stranger() -> None:
    """A payload that was changed on its way isn't what was sent."""
    account = account_of([1], [])
    account.got(numbered(1, 20)[:-1] + b"!")

    assert account.balance(Stats(received=1)).unaccounted == 1


def test_a_dropped_train_counts_as_one() -> None:
    """With GRO, the kernel's drops are between two bounds."""
    stats = Stats(received=2, dropped_kernel=1, dropped_kernel_max=128)

    assert account_of(range(50), [0, 1]).balance(stats).unaccounted == 0
    assert account_of(range(131), [0, 1]).balance(stats).unaccounted == 1
    assert account_of(range(2), [0, 1]).balance(stats).unaccounted == 1


# -- the verdict


def samples(
    seconds: int = 3600, **figures: Callable[[int], float]
) -> list[dict[str, Any]]:
    """Return a sample each 20 seconds: flat with noise, but for what is given."""
    noise = random.Random(1)
    made = []
    for time in range(20, seconds + 1, 20):
        sample: dict[str, Any] = dict.fromkeys(recording.FIGURES, 0)
        sample |= {
            "rss": 40 * MIB + noise.randrange(MIB // 2),
            "descriptors": 25,
            "objects": 30_000 + noise.randrange(200),
            "objects_asyncio": 80 + noise.randrange(9),
            "done": dict.fromkeys(kinds.DONE, 1),
            "faults": dict.fromkeys(kinds.FAULTS, 1),
            "seconds": time,
        }
        sample |= {name: figure(time) for name, figure in figures.items()}
        made.append(sample)
    return made


def judged(made: list[dict[str, Any]]) -> Verdict:
    seconds = made[-1]["seconds"]
    return judge(made, needed=kinds.needed(network=True, seconds=seconds))


@pytest.mark.parametrize("seconds", [240, 3600])
def test_flat_is_good(seconds: int) -> None:
    """Noise is no growth."""
    assert judged(samples(seconds)).complaints == ()


def test_growth_before_the_end_of_the_warm_up_is_not_judged() -> None:
    """It's the first tenth, at least a minute, at most a half."""
    assert [warm_up(seconds) for seconds in (60, 120, 300, 3600)] == [30, 60, 60, 360]
    growing = samples(rss=lambda time: min(time, 350) * MIB)

    assert judged(growing).ok


def test_a_peak_is_not_growth() -> None:
    """One high sample in the middle, and one at the end."""
    made = samples()
    made[90]["rss"] += 50 * MIB
    made[-1]["rss"] += 50 * MIB

    assert judged(made).ok


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        pytest.param("rss", lambda t: (40 + 3 * t / 3600) * MIB, id="a slow leak"),
        pytest.param("rss", lambda t: (40 + 3 * (t > 1800)) * MIB, id="a step"),
        pytest.param("descriptors", lambda t: 25 + (t > 1800), id="one descriptor"),
        pytest.param("tasks", lambda t: 6 + t // 1800, id="a task"),
        pytest.param("threads", lambda t: 1 + t // 1800, id="a thread"),
        pytest.param("objects_aioudp", lambda t: 220 + t // 100, id="objects"),
        pytest.param("objects_socket", lambda t: 74 + t // 1000, id="sockets"),
        pytest.param("objects", lambda t: 30_000 + t // 5, id="any objects"),
    ],
)
def test_growth_is_found(name: str, figure: Callable[[int], float]) -> None:
    """And named."""
    (complaint,) = judged(samples(3600, **{name: figure})).complaints

    assert complaint.startswith(f"{name} grew from")


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"unaccounted": lambda t: t > 40}, "unaccounted"),
        ({"unaccounted": lambda t: t == 40}, "unaccounted"),
        ({"unexpected": lambda t: t > 1800}, "may not"),
        ({"warnings_due": lambda t: 5, "warnings_most": lambda t: 5}, "Warnings"),
        ({"warnings": lambda t: 1}, "Warnings"),
        ({"done": lambda t: {}}, "done: none of bind"),
        ({"faults": lambda t: {}}, "faults: none of icmp error"),
    ],
)
def test_what_else_is_found(
    figures: dict[str, Callable[[int], Any]], word: str
) -> None:
    """Even if it's over by the end: the counters are totals."""
    (complaint,) = judged(samples(3600, **figures)).complaints

    assert word in complaint


def test_too_few_samples_are_no_proof() -> None:
    """A process that hardly ran isn't good."""
    assert not judged(samples(60)).ok
    assert not judge([], needed={}).ok


def test_slope() -> None:
    """The median of all pairs, which a few wrong values don't change."""
    times = [float(time) for time in range(11)]
    values = [2 * time + 5 for time in times]
    values[3] += 100

    assert slope(times, values) == pytest.approx(2)
    assert slope([1.0], [1.0]) == 0


# -- the result file


def test_file_is_complete_after_each_sample(tmp_path: Path) -> None:
    """A run that is killed leaves a file that can be read."""
    path = tmp_path / "soak.json"
    head = {
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {},
        "versions": {},
        "conditions": {"seconds": 60},
    }
    recorder = recording.Recorder(path, head)
    made = samples(60)

    assert recording.read(path).samples == {}
    for count, sample in enumerate(made, start=1):
        recorder.add("asyncio", sample)
        read = recording.read(path).samples["asyncio"]
        assert [one["seconds"] for one in read] == [20, 40, 60][:count]
    recorder.add("uvloop", made[0])
    recorder.close()

    recorded = recording.read(path)
    assert recorded.conditions == {"seconds": 60}
    assert list(recorded.samples) == ["asyncio", "uvloop"]
    assert recorded.samples["asyncio"][0]["rss"] == made[0]["rss"]
    assert recorded.samples["asyncio"][0]["faults"] == made[0]["faults"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    """One that isn't a result file, or one of another layout."""
    path = tmp_path / "soak.json"
    for content in ("[]", "{}", '{"format": 99}', "not JSON"):
        path.write_text(content)
        with pytest.raises(ValueError):
            recording.read(path)


@pytest.mark.timeout(90)
def test_a_process_that_dies(tmp_path: Path) -> None:
    """The run ends, says so, fails, and keeps its samples."""
    file = tmp_path / "soak.json"
    arguments = ("--seconds", "60", "--loop", "asyncio", "--output", str(file))
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "soak", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        while "SKIPPED" in line:
            line = program.stdout.readline()
        assert " s asyncio " in line  # the first sample
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
        remaining = program.stdout.read()

    assert program.returncode == 1
    assert "a process didn't reach its end: exit status -9" in remaining
    assert "NOT good" in remaining
    assert len(recording.read(file).samples["asyncio"]) >= 1


# -- real processes that leak


def run(scenario: str) -> Verdict:
    """Run one scenario for a few seconds, and judge it."""
    spec = {
        "loop": "asyncio",
        "loops": ["asyncio"],
        "seconds": 3.0,
        "interval": 0.1,
        "seed": 1,
        "share": 0.5,
        "patience": 10.0,
        "crowd": 10,
        "network": False,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.leaks", scenario, json.dumps(spec)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return judge([one for one in messages if "rss" in one], needed={})


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("nothing", []),
        ("a_list", ["objects_aioudp grew"]),
        ("memory", ["rss grew"]),
        ("a_descriptor", ["descriptors grew"]),
        ("a_datagram", ["datagrams are unaccounted"]),
        ("a_warning", ["ResourceWarnings"]),
        ("an_exception", ["things happened that may not"]),
    ],
)
def test_a_leak_is_found(scenario: str, words: list[str]) -> None:
    """By name; and a process without one is good."""
    verdict = run(scenario)

    for word in words:
        assert any(word in complaint for complaint in verdict.complaints)
    assert verdict.ok is not bool(words)
