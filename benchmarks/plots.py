"""SVG plots from results: one for each scenario, a panel for each payload.

Text stays text, and nothing in the file depends on when it was drawn, so that the
same results give the same file. Dots, not bars: the axes are logarithmic and have no
zero for a bar to stand on. Needs matplotlib.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .catalogue import SCENARIOS, Scenario
from .formatting import quantity
from .results import Results, Row, Spread

_COLOURS: Final = {"aioudp": "#1f6fb4", "others": "#7d868f", "C": "#b58a2b"}
STYLE: Final[dict[Any, object]] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "aioudp",
}
"""Of every plot: text stays text, and ids don't depend on the time."""
_AXES: Final[dict[Scenario, str]] = {
    "receive": "datagrams received per second: median, lowest to highest round",
    "send": "datagrams sent per second: median, lowest to highest round",
    "echo": "round trip, microseconds: median of p50, lowest to highest round; | p99",
}


def draw(results: Results, directory: Path) -> list[Path]:
    """Write the plots into *directory* and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context(STYLE):
        for scenario in SCENARIOS:
            rows = [row for row in results.rows if row.scenario == scenario]
            rows = [row for row in rows if row.rounds]
            if rows:
                path = directory / f"{scenario}.svg"
                figure = _figure(scenario, rows)
                figure.savefig(path, metadata={"Date": None})
                paths.append(path)
    return paths


def _figure(scenario: Scenario, rows: list[Row]) -> Figure:
    labels = list(dict.fromkeys(row.label for row in rows))
    payloads = sorted({row.payload for row in rows})
    size = (3.2 + 2.6 * len(payloads), 1.4 + 0.28 * len(labels))
    figure = Figure(figsize=size, layout="constrained")
    # What it returns has a type with numpy installed, and another one without.
    panels: Any = figure.subplots(
        1, len(payloads), sharey=True, sharex=True, squeeze=False
    )
    for panel, payload in zip(panels[0], payloads, strict=True):
        _draw_panel(panel, [row for row in rows if row.payload == payload], labels)
        panel.set_title(f"{payload} bytes")
    panels[0][0].set_yticks(range(len(labels)), labels)
    panels[0][0].invert_yaxis()
    figure.supxlabel(_AXES[scenario])
    colours = dict.fromkeys(_COLOURS[_kind(row)] for row in rows)
    names = {colour: kind for kind, colour in _COLOURS.items()}
    figure.legend(
        handles=[Patch(color=colour, label=names[colour]) for colour in colours],
        loc="outside upper right",
        ncols=len(colours),
        frameon=False,
    )
    return figure


def _draw_panel(panel: Any, rows: list[Row], labels: list[str]) -> None:
    panel.grid(axis="x", color="#e4e4e4")
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    for row in rows:
        place = labels.index(row.label)
        colour = _COLOURS[_kind(row)]
        value = _value(row)
        panel.plot([value.low, value.high], [place, place], color=colour, linewidth=2)
        panel.plot(value.median, place, "o", color=colour, markersize=5)
        if row.scenario == "echo":
            p99 = row.spread(lambda one: one.p99() * 1e6).median
            panel.plot(p99, place, "|", color=colour, markersize=7)
        panel.annotate(
            quantity(value.median),
            (value.median, place),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    panel.set_xscale("log")
    panel.margins(x=0.12)


def _value(row: Row) -> Spread:
    if row.scenario == "echo":
        return row.spread(lambda one: one.p50() * 1e6)
    return row.spread(row.rate)


def _kind(row: Row) -> str:
    if row.subject.startswith("aioudp "):
        return "aioudp"
    return "C" if row.subject.startswith("C ") else "others"
