"""Pure: what the samples of a run say, for one process.

A run is good if nothing grows after the warm-up, nothing is unaccounted, and each kind
of operation and of fault has happened. Growth is judged twice, because each way alone
can be fooled: by the medians of the first and the last tenth (a single step), and by
the slope through all samples (Theil and Sen: the median of the slopes of all pairs,
which single high samples don't change) times the length of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

MIB: Final = 1024 * 1024

WARM_UP: Final = 0.1
"""The part of a run that isn't judged."""

LEAST_WARM_UP: Final = 60.0
"""Seconds that aren't judged at least; of a short run, a half."""

LIMITS: Final[Mapping[str, float]] = {
    "rss": 2 * MIB,
    "descriptors": 0,
    "tasks": 0,
    "threads": 0,
    "objects_aioudp": 8,
    "objects_asyncio": 8,
    "objects_uvloop": 8,
    "objects_socket": 0,
    "objects": 500,
}
"""By how much each may grow after the warm-up."""

Sample = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Growth:
    """How one figure changed after the warm-up."""

    name: str
    begin: float
    """The median of the first tenth."""
    end: float
    """The median of the last tenth."""
    trend: float
    """The robust slope times the length of the run."""
    limit: float

    @property
    def steps(self) -> float:
        """The difference of the medians."""
        return self.end - self.begin

    @property
    def ok(self) -> bool:
        """Whether it stayed within its limit, both ways."""
        return self.steps <= self.limit and self.trend <= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a run; nothing, if it is good."""

    warm_up: float
    growths: tuple[Growth, ...]
    complaints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.complaints


def warm_up(seconds: float) -> float:
    """Return how much of a run of *seconds* isn't judged."""
    return min(max(WARM_UP * seconds, LEAST_WARM_UP), seconds / 2)


def judge(samples: Sequence[Sample], *, needed: Mapping[str, Sequence[str]]) -> Verdict:
    """Judge the samples of one process.

    Args:
        samples: In the order of their ``seconds``. The counters in them
            (``unaccounted``, ``done``, ``faults`` and so on) are totals since the
            beginning.
        needed: The names that ``done`` and ``faults`` must have at the end.
    """
    if not samples:
        return Verdict(0.0, (), ("there are no samples",))
    start = warm_up(samples[-1]["seconds"])
    judged = [one for one in samples if one["seconds"] >= start]
    complaints = []
    growths: tuple[Growth, ...] = ()
    if len(judged) < 5:
        complaints.append(f"only {len(judged)} samples after the warm-up")
    else:
        growths = tuple(_growth(judged, name) for name in LIMITS)
        complaints += [_grew(one) for one in growths if not one.ok]
    last = samples[-1]
    complaints += _always_zero(samples, "unaccounted", "datagrams are unaccounted")
    complaints += _always_zero(samples, "unexpected", "things happened that may not")
    if not last["warnings_due"] <= last["warnings"] <= last["warnings_most"]:
        complaints.append(
            f"{last['warnings']} ResourceWarnings, not {last['warnings_due']} to "
            f"{last['warnings_most']}, about what was forgotten open"
        )
    for group, names in needed.items():
        if absent := [name for name in names if not last[group].get(name)]:
            complaints.append(f"{group}: none of {', '.join(absent)}")
    return Verdict(start, growths, tuple(complaints))


def _growth(samples: Sequence[Sample], name: str) -> Growth:
    tenth = max(1, len(samples) // 10)
    values = [float(one[name]) for one in samples]
    times = [float(one["seconds"]) for one in samples]
    return Growth(
        name,
        begin=median(values[:tenth]),
        end=median(values[-tenth:]),
        trend=slope(times, values) * (times[-1] - times[0]),
        limit=LIMITS[name],
    )


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes of all pairs (Theil 1950, Sen 1968)."""
    slopes = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[j] > times[i]
    ]
    return median(slopes) if slopes else 0.0


def _grew(one: Growth) -> str:
    show: Callable[[float], str] = "{:.0f}".format
    if one.limit >= MIB:
        show = lambda value: f"{value / MIB:.2f} MiB"  # noqa: E731
    return (
        f"{one.name} grew from {show(one.begin)} to {show(one.end)}, "
        f"by its trend {show(one.trend)}; at most {show(one.limit)} are allowed"
    )


def _always_zero(samples: Sequence[Sample], name: str, what: str) -> list[str]:
    wrong = [one for one in samples if one[name]]
    if not wrong:
        return []
    return [f"{wrong[-1][name]} {what}, first seen after {wrong[0]['seconds']:.0f} s"]
