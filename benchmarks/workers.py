"""``run_workers`` with 1 to N workers: what they handle, and what it costs.

A C program floods their port with trains from several sources. What the workers handle
is read from memory that they share, and their CPU time from /proc, before and after, so
that neither their start nor their end counts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from .formatting import markdown, microseconds, quantity
from .harness import READY_PATIENCE, RESULT_PATIENCE
from .machine import ROOT
from .parties import Parties, Party
from .processes import MeasurementError, environment, started

KINDS: Final = ("echo", "sink")
STEERING: Final = ("kernel", "peer", "random")
SOURCES: Final = 64
PAYLOAD: Final = 64  # bytes
_SETTLE: Final = 0.05  # seconds, before the clocks start
_NUMBERS: Final = 16  # bytes of a worker's file: its port, and how many it handled

Rows = list[dict[str, Any]]


def missing() -> str | None:
    """Say what this machine lacks."""
    return None if sys.platform == "linux" else "run_workers is for Linux"


def cells(most: int) -> Rows:
    """Return the rows to measure, with 1 to *most* workers."""
    return [
        {"kind": kind, "steering": steering, "workers": workers, "rounds": []}
        for kind in KINDS
        for workers in range(1, most + 1)
        for steering in (STEERING if workers > 1 else STEERING[:1])
    ]


def measure(
    parties: Parties, most: int, rounds: int, done: Callable[[str], None]
) -> Rows:
    """Measure each row once a round."""
    rows = cells(most)
    for _ in range(rounds):
        for row in rows:
            with _group(row) as (process, directory):
                row["rounds"].append(asyncio.run(_flood(parties, row, directory)))
                if process.poll() is not None:
                    raise MeasurementError("the workers have ended")
            done(f"{row['workers']} workers, {row['kind']}, {row['steering']}")
    return rows


@contextmanager
def _group(row: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run the workers of a row."""
    with tempfile.TemporaryDirectory(prefix="aioudp-workers-") as directory:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.subjects.group"),
                *(row["kind"], str(row["workers"]), row["steering"], directory),
            ],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process, Path(directory)
        finally:
            for _ in range(2):  # the second signal ends it at once
                process.send_signal(signal.SIGTERM)
                time.sleep(_SETTLE)
            process.wait()


async def _flood(
    parties: Parties, row: dict[str, Any], directory: Path
) -> dict[str, Any]:
    port = await _port(directory, row["workers"])
    flood = Party(f"flood {SOURCES}", "native")
    async with started(parties.talker(flood, port, PAYLOAD)) as talking:
        await talking.read(READY_PATIENCE)
        talking.go()
        await asyncio.sleep(_SETTLE)
        before, begun = _look(directory), time.monotonic()
        await asyncio.sleep(parties.seconds - 2 * _SETTLE)
        after, ended = _look(directory), time.monotonic()
        told = await talking.read(RESULT_PATIENCE + parties.seconds)
    return {
        "seconds": ended - begun,
        "handled": [after[pid][0] - before[pid][0] for pid in sorted(after)],
        "cpu_seconds": sum(after[pid][1] - before[pid][1] for pid in after),
        "sent_per_s": told["datagrams"] / told["seconds"],
        "source_on_cpu": told["cpu_seconds"] / told["seconds"],
    }


async def _port(directory: Path, workers: int) -> int:
    """Return the port, once all workers listen."""
    deadline = time.monotonic() + READY_PATIENCE
    while time.monotonic() < deadline:
        ports = [_read(file)[0] for file in _files(directory)]
        if len(ports) == workers and all(ports):
            return ports[0]
        await asyncio.sleep(0.01)
    raise MeasurementError("the workers did not start")


def _look(directory: Path) -> dict[int, tuple[int, float]]:
    """Return what each worker has handled, and its CPU time in seconds, by process."""
    return {
        int(file.name): (_read(file)[1], _cpu_seconds(int(file.name)))
        for file in _files(directory)
    }


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _read(file: Path) -> memoryview:
    content = file.read_bytes()
    return memoryview(content or bytes(_NUMBERS)).cast("q")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    if sys.platform == "win32":
        raise NotImplementedError
    return ticks / os.sysconf("SC_CLK_TCK")


# -- the table


def render(rows: Rows) -> str:
    """Return the rows as a table, in Markdown."""
    header = ["workers", "steering", "datagrams/s", "spread", "CPU each, us"]
    header += ["CPUs in use", "busiest worker"]
    parts = []
    for kind in KINDS:
        lines = [_line(row) for row in rows if row["kind"] == kind]
        title = {"echo": "Answered by an echo", "sink": "Received by a sink"}[kind]
        parts.append(f"{title}:\n\n{markdown(header, lines)}")
    return "\n\n".join(parts)


def _line(row: dict[str, Any]) -> list[str]:
    rounds = row["rounds"]
    rates = [sum(one["handled"]) / one["seconds"] for one in rounds]
    each = median(one["cpu_seconds"] / max(1, sum(one["handled"])) for one in rounds)
    used = median(
        one["cpu_seconds"] / one["seconds"] + one["source_on_cpu"] for one in rounds
    )
    busiest = median(
        max(one["handled"]) / max(1, sum(one["handled"])) for one in rounds
    )
    return [
        str(row["workers"]),
        row["steering"],
        quantity(median(rates)),
        f"{quantity(min(rates))} - {quantity(max(rates))}",
        microseconds(each),
        f"{used:.1f}",
        f"{busiest:.0%}",
    ]


def conditions(content: dict[str, Any]) -> str:
    """Return what the figures of a result file depend on, in a paragraph."""
    rows, machine = content["workers"], content["machine"]
    rounds = len(rows[0]["rounds"])
    seconds = median(one["seconds"] for row in rows for one in row["rounds"])
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} "
        f"{machine['kernel']}, {machine['python']}, uvloop "
        f"{content['versions'].get('uvloop', '-')}; {content['date']}, commit "
        f"{content['commit']}. Medians of {rounds} interleaved rounds of "
        f"{seconds:.1f} s, datagrams of {PAYLOAD} bytes over loopback, in trains from "
        f"{SOURCES} sources of one C program, which needs a core of its own. "
        "*CPUs in use* includes it, and shows what other programs left of the "
        "machine: where it's far below the number of cores, compare *CPU each*, not "
        "the rates. *Busiest worker* is that worker's share."
    )
