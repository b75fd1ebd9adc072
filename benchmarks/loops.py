"""The event loops of one run per interpreter, side by side: the table in the docs.

python3.15 -m benchmarks run --loops     with each interpreter
python -m benchmarks loops               write the page
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from . import results
from .catalogue import SUBJECTS, Scenario, Subject
from .formatting import markdown
from .results import Results
from .tables import headline

FOLDER: Final = Path("benchmarks/results")
PAGE: Final = Path("docs/explanation/_loops.md")

PAYLOAD: Final = 64  # bytes

_ROWS: Final[tuple[tuple[Scenario, str, str], ...]] = (
    ("receive", "aioudp recv", "received/s"),
    ("receive", "DatagramProtocol", "received/s"),
    ("receive", "aiofastnet", "received/s"),
    ("echo", "aioudp async for + send", "round trip p50, us"),
    ("echo", "DatagramProtocol", "round trip p50, us"),
    ("echo", "aiofastnet", "round trip p50, us"),
)


def read(root: Path) -> list[Results]:
    """Return the published results, in the order of their interpreters."""
    found = [results.read(file) for file in (root / FOLDER).glob("loops-*.json")]
    return sorted(found, key=lambda one: _version(one.machine["python"]))


def render(found: list[Results]) -> str:
    """Return the page: for each scenario and subject, a loop per row."""
    parts = ["<!-- Made by: python -m benchmarks loops -->"]
    pythons = [one.machine["python"].removeprefix("CPython ") for one in found]
    for scenario in ("receive", "echo"):
        header = [next(unit for kind, _, unit in _ROWS if kind == scenario), *pythons]
        lines = []
        for kind, subject, _ in _ROWS:
            if kind != scenario:
                continue
            loops = dict.fromkeys(
                row.loop for one in found for row in one.rows if row.subject == subject
            )
            for loop in loops:
                cells = [
                    headline(one, kind, subject, loop, PAYLOAD) or "-" for one in found
                ]
                lines.append([f"{subject} on {loop}", *cells])
        parts.append(markdown(header, lines))
    first = found[0]
    libraries = ("uvloop", "rloop", "blazio", "talyn", "aiofastnet")
    versions = {
        name: one.versions[name]
        for one in found
        for name in libraries
        if name in one.versions
    }
    parts.append(
        f"Datagrams of 64 bytes over loopback, {first.date[:10]}, medians of "
        f"{min(one.conditions['rounds'] for one in found)} interleaved rounds of "
        f"{first.conditions['seconds_per_round']} s on a shared machine: "
        f"{first.machine['cpu']}, {first.machine['cores']} cores, "
        f"{first.machine['system']} {first.machine['kernel']}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ". Each interpreter had a run of its own, so compare down the columns rather "
        "than across. A loop without a figure "
        "wasn't available, or didn't run, with that interpreter."
    )
    return "\n\n".join(parts) + "\n"


def subjects() -> list[Subject]:
    """Return what ``run --loops`` measures."""
    wanted = {(scenario, name) for scenario, name, _ in _ROWS}
    return [one for one in SUBJECTS if (one.scenario, one.name) in wanted]


def file(python: str) -> Path:
    """Return the result file for an interpreter of version *python*."""
    return FOLDER / f"loops-{'.'.join(python.split('.')[:2])}.json"


def _version(python: str) -> tuple[int, ...]:
    return tuple(map(int, python.rpartition(" ")[2].split(".")))
