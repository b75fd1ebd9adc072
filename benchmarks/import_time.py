"""What loading ``aioudp.bind`` adds to ``import asyncio``, in fresh interpreters.

From bytecode, as for an installed package: it is kept in a directory of its own for
the time of the measurement, whatever the environment says about writing it.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from .formatting import markdown
from .machine import ROOT
from .processes import environment

PROMISE: Final = 0.020
"""Seconds that the import may add."""

_STATEMENTS: Final = ("import asyncio", "import asyncio, aioudp; aioudp.bind")
_PROGRAM: Final = """\
import time
begin = time.perf_counter()
{statement}
print(time.perf_counter() - begin)
"""


def measure(rounds: int) -> dict[str, Any]:
    """Time both imports in turn, *rounds* times each."""
    taken: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    with TemporaryDirectory(prefix="aioudp-benchmarks-") as bytecode:
        for statement in _STATEMENTS:
            _import(statement, bytecode)  # the first compiles, and reads from the disk
        for _ in range(rounds):
            for statement in _STATEMENTS:
                taken[statement].append(_import(statement, bytecode))
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


def _import(statement: str, bytecode: str) -> float:
    program = _PROGRAM.format(statement=statement)
    variables = {**environment(), "PYTHONPYCACHEPREFIX": bytecode}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=variables,
    )
    return float(done.stdout)
