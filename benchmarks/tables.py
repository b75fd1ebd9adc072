"""Markdown tables from results: one for each scenario and payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from .catalogue import SCENARIOS, Scenario
from .formatting import markdown, microseconds, quantity
from .results import Results, Round, Row

_SOURCE_LIMITED: Final = "†"
_FOOTNOTE: Final = (
    f"{_SOURCE_LIMITED} nothing was lost: the source was the limit, not this."
)


def render(results: Results, *, brief: bool = False) -> str:
    """Return all tables, with what they depend on above them.

    Args:
        results: What to show.
        brief: Show the most important columns only, for a narrow terminal.
    """
    parts = [_conditions(results)]
    for scenario in SCENARIOS:
        rows = [row for row in results.rows if row.scenario == scenario and row.rounds]
        columns = _BRIEF[scenario] if brief else _COLUMNS[scenario]
        for payload in sorted({row.payload for row in rows}):
            some = [row for row in rows if row.payload == payload]
            parts.append(f"### {scenario.capitalize()}, {payload} bytes")
            lines = [[show(row) for show in columns.values()] for row in some]
            parts.append(markdown(list(columns), lines))
    if any(map(_is_source_limited, results.rows)):
        parts.append(_FOOTNOTE)
    for title, subjects in (("Skipped", results.skipped), ("Failed", results.failed)):
        if subjects:
            parts.append(f"{title}: {_grouped(subjects)}.")
    return "\n\n".join(parts)


def headline(
    results: Results, scenario: str, subject: str, loop: str, payload: int
) -> str:
    """Return the one figure of a row: its rate, or an echo's round trip, in us.

    Empty if it wasn't measured.
    """
    row = results.row(scenario, subject, loop, payload)
    if row is None or not row.rounds:
        return ""
    if scenario == "echo":
        return microseconds(row.spread(Round.p50).median)
    return quantity(row.spread(row.rate).median)


def _grouped(subjects: dict[str, str]) -> str:
    """Return the subjects of each reason behind it."""
    by_reason: dict[str, list[str]] = {}
    for name, why in subjects.items():
        by_reason.setdefault(why, []).append(name)
    return "; ".join(f"{why} ({', '.join(names)})" for why, names in by_reason.items())


def _conditions(results: Results) -> str:
    machine, conditions = results.machine, results.conditions
    versions = ", ".join(
        f"{name} {number}" for name, number in results.versions.items()
    )
    cpus = conditions["pinning"]
    pinning = "not pinned"
    if cpus["listener"] is not None:
        pinning = f"listener on CPU {cpus['listener']}, talker on CPU {cpus['talker']}"
    when = f"{results.date}, commit {results.commit or 'unknown'}."
    how = (
        f"{conditions['rounds']} interleaved rounds of "
        f"{conditions['seconds_per_round']} s, {pinning}: median (lowest - highest)."
    )
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} "
        f"{machine['kernel']}, {machine['python']}; {versions}."
    )
    load = (
        f"Source: {conditions['source']}. Sink: {conditions['sink']}. "
        f"Echo client: {conditions['echo_client']}."
    )
    return "\n".join([where, f"{when} {how}", load])


def _is_source_limited(row: Row) -> bool:
    return row.scenario == "receive" and not any(one.lost for one in row.rounds)


def _label(row: Row) -> str:
    return row.label + (_SOURCE_LIMITED if _is_source_limited(row) else "")


def _rate(row: Row) -> str:
    return quantity(row.spread(row.rate).median)


def _rate_spread(row: Row) -> str:
    _, low, high = row.spread(row.rate)
    return f"{quantity(low)} - {quantity(high)}"


def _p50(row: Row) -> str:
    return microseconds(row.spread(Round.p50).median)


def _p50_spread(row: Row) -> str:
    _, low, high = row.spread(Round.p50)
    return f"{microseconds(low)} - {microseconds(high)}"


def _p99(row: Row) -> str:
    return microseconds(row.spread(Round.p99).median)


def _cpu(row: Row) -> str:
    return microseconds(row.spread(row.cpu).median)


def _on_cpu(row: Row) -> str:
    return f"{row.spread(row.on_cpu).median:.0%}"


def _sent(row: Row) -> str:
    return quantity(sum(one.sent for one in row.rounds))


def _received(row: Row) -> str:
    return quantity(sum(one.received for one in row.rounds))


def _lost(row: Row) -> str:
    return quantity(sum(one.lost for one in row.rounds))


def _lost_share(row: Row) -> str:
    sent = sum(one.sent for one in row.rounds)
    return f"{sum(one.lost for one in row.rounds) / max(1, sent):.1%}"


def _drops(row: Row) -> str:
    drops = [one.kernel_drops for one in row.rounds if one.kernel_drops is not None]
    return quantity(sum(drops)) if drops else "?"


_Columns: TypeAlias = dict[str, Callable[[Row], str]]

_COUNTS: Final[_Columns] = {
    "sent": _sent,
    "received": _received,
    "lost": _lost,
    "kernel drops": _drops,
}
_TRANSFER: Final[_Columns] = {
    "subject": _label,
    "datagrams/s": _rate,
    "spread": _rate_spread,
    "CPU each, us": _cpu,
    "on CPU": _on_cpu,
    **_COUNTS,
}
_ECHO: Final[_Columns] = {
    "subject": _label,
    "p50, us": _p50,
    "spread": _p50_spread,
    "p99, us": _p99,
    "round trips/s": _rate,
    "CPU each, us": _cpu,
    "on CPU": _on_cpu,
    **_COUNTS,
}
_COLUMNS: Final[dict[Scenario, _Columns]] = {
    "receive": _TRANSFER,
    "send": _TRANSFER,
    "echo": _ECHO,
}

_BRIEF_TRANSFER: Final[_Columns] = {
    "subject": _label,
    "datagrams/s": _rate,
    "CPU each, us": _cpu,
    "lost": _lost_share,
}
_BRIEF: Final[dict[Scenario, _Columns]] = {
    "receive": _BRIEF_TRANSFER,
    "send": _BRIEF_TRANSFER,
    "echo": {"subject": _label, "p50, us": _p50, "p99, us": _p99, "lost": _lost_share},
}
