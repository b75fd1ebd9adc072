"""What ``import aioudp`` adds to ``import asyncio``, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from typing import Any, Final

from .formatting import markdown
from .machine import ROOT
from .processes import environment

PROMISE: Final = 0.020
"""Seconds that the import may add."""

_STATEMENTS: Final = ("import asyncio", "import asyncio, aioudp")
_PROGRAM: Final = """\
import time
begin = time.perf_counter()
{statement}
print(time.perf_counter() - begin)
"""


def measure(rounds: int) -> dict[str, Any]:
    """Time both imports in turn, *rounds* times each."""
    for statement in _STATEMENTS:
        _import(statement)  # whoever comes first compiles, and reads from the disk
    taken: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    for _ in range(rounds):
        for statement in _STATEMENTS:
            taken[statement].append(_import(statement))
    asyncio_alone, both = taken.values()
    return {
        "rounds": rounds,
        "seconds": taken,
        "added_median_seconds": median(both) - median(asyncio_alone),
        "added_lowest_seconds": min(both) - min(asyncio_alone),
    }


def render(result: dict[str, Any]) -> str:
    """Return a Markdown table."""
    lines = [
        [statement, *(f"{value * 1e3:.1f}" for value in (median(all_), min(all_)))]
        for statement, all_ in result["seconds"].items()
    ]
    added = (result["added_median_seconds"], result["added_lowest_seconds"])
    lines.append(["added by aioudp", *(f"{value * 1e3:.1f}" for value in added)])
    return markdown(["", "median, ms", "lowest, ms"], lines)


def _import(statement: str) -> float:
    program = _PROGRAM.format(statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    return float(done.stdout)
