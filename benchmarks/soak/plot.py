"""The SVG plot of a run. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from ..plots import STYLE
from .recording import Recorded
from .verdict import LIMITS, MIB, Verdict

_COLOURS: Final = {"asyncio": "#1f6fb4", "uvloop": "#b58a2b"}
_OTHER: Final = "#7d868f"
_PANELS: Final = (
    ("rss", "resident memory, MiB", 1 / MIB),
    ("descriptors", "descriptors", 1),
    ("objects", "objects", 1),
    ("rate", "datagrams sent per second", 1),
)


def draw(recorded: Recorded, verdicts: Mapping[str, Verdict], path: Path) -> None:
    """Draw memory, descriptors, objects and datagrams per second over time.

    The warm-up is grey. Bands begin at the median after it, and are as high as each
    figure may grow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 8.4), layout="constrained")
        panels: Any = figure.subplots(len(_PANELS), 1, sharex=True)
        for panel, (name, label, scale) in zip(panels, _PANELS, strict=True):
            for loop, samples in recorded.samples.items():
                colour = _COLOURS.get(loop, _OTHER)
                minutes = [one["seconds"] / 60 for one in samples]
                values = _rates(samples) if name == "rate" else _of(samples, name)
                panel.plot(
                    minutes,
                    [value * scale for value in values],
                    color=colour,
                    linewidth=1.2,
                    label=loop,
                )
                _mark(panel, verdicts[loop], name, scale, minutes[-1], colour)
            panel.set_ylabel(label)
            panel.grid(axis="y", color="#e4e4e4")
            panel.set_axisbelow(True)
            if name in ("descriptors", "rate"):
                panel.set_ylim(bottom=0)
        figure.align_ylabels(list(panels))
        panels[-1].set_xlabel("minutes")
        panels[-1].set_xlim(left=0)
        figure.legend(
            handles=panels[0].get_lines(),
            loc="outside upper right",
            ncols=len(recorded.samples),
            frameon=False,
        )
        figure.savefig(path, metadata={"Date": None})


def _mark(
    panel: Any, verdict: Verdict, name: str, scale: float, end: float, colour: str
) -> None:
    """Mark the warm-up, and how much *name* may grow after it."""
    start = verdict.warm_up / 60
    panel.axvspan(0, start, color="#f1f1f1", linewidth=0)
    for one in verdict.growths:
        if one.name == name and LIMITS[name]:
            low, high = one.begin * scale, (one.begin + one.limit) * scale
            panel.fill_between(
                [start, end], low, high, color=colour, alpha=0.13, linewidth=0
            )


def _of(samples: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(one[name]) for one in samples]


def _rates(samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the datagrams per second since the sample before.

    What came before the first sample is the crowd of the beginning, not a rate.
    """
    rates = [float("nan")]
    for before, after in pairwise(samples):
        seconds = after["seconds"] - before["seconds"]
        rates.append((after["sent"] - before["sent"]) / max(seconds, 0.1))
    return rates
