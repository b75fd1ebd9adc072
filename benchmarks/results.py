"""The result of a run: its rows, and the JSON file that keeps them.

Raw numbers are kept, round by round; rates and medians are computed from them when
they are asked for. Units: seconds, bytes, datagrams. Imports ``catalogue`` for the
names of the scenarios only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from .catalogue import Scenario

FORMAT: Final = 1
"""The version of the file's layout."""


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of one subject."""

    sent: int
    """Datagrams that the talker's kernel took, by the talker's own count."""
    received: int
    """Datagrams that reached the listener's program; of an echo, the answers."""
    lost: int
    """The others: ``sent - received``."""
    kernel_drops: int | None
    """Drops that the kernel counted on the listener's socket. A dropped GRO train
    counts as one. ``None`` where the kernel does not report them."""
    seconds: float
    """From the begin to the end, on the clock of the measured process."""
    cpu_seconds: float
    """User and system time of the measured process in between."""
    p50_seconds: float | None = None
    """Half of the round trips took no longer."""
    p99_seconds: float | None = None
    """99 of 100 round trips took no longer."""

    def p50(self) -> float:
        """Return the median round trip, in seconds; 0 if there were none."""
        return self.p50_seconds or 0.0

    def p99(self) -> float:
        """Return what 99 of 100 round trips kept within, in seconds."""
        return self.p99_seconds or 0.0


class Spread(NamedTuple):
    """The median of all rounds, and between what they were."""

    median: float
    low: float
    high: float


@dataclass(slots=True)
class Row:
    """All rounds of one subject with one payload."""

    scenario: Scenario
    subject: str
    loop: str
    payload: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The subject and its loop."""
        return self.subject if self.loop == "none" else f"{self.subject} ({self.loop})"

    def datagrams(self, one: Round) -> int:
        """Return how many datagrams the measured process moved: it sent or got them."""
        return one.sent if self.scenario == "send" else one.received

    def rate(self, one: Round) -> float:
        """Return datagrams, or round trips, per second."""
        return self.datagrams(one) / one.seconds

    def cpu(self, one: Round) -> float:
        """Return the seconds of CPU per datagram."""
        return one.cpu_seconds / max(1, self.datagrams(one))

    def on_cpu(self, one: Round) -> float:
        """Return how much of the time the measured process was on a CPU."""
        return one.cpu_seconds / one.seconds

    def spread(self, value: Callable[[Round], float]) -> Spread:
        """Return the spread of *value* over the rounds."""
        values = [value(one) for one in self.rounds]
        return Spread(median(values), min(values), max(values))


@dataclass(slots=True)
class Results:
    """A whole run."""

    date: str
    commit: str | None
    machine: dict[str, Any]
    versions: dict[str, str]
    conditions: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Subjects that did not run, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Subjects that did not finish a round, and their last words."""

    def row(self, scenario: str, subject: str, loop: str, payload: int) -> Row | None:
        """Return one row, or ``None`` if it was not measured."""
        for row in self.rows:
            key = (row.scenario, row.subject, row.loop, row.payload)
            if key == (scenario, subject, loop, payload):
                return row
        return None

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")


def read(path: Path) -> Results:
    """Read a JSON file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is not a result file, or one of another layout.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not a result file of format {FORMAT}")
    rows = [
        Row(**{**row, "rounds": [Round(**one) for one in row["rounds"]]})
        for row in content.pop("rows")
    ]
    return Results(**content, rows=rows)
