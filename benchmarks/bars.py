"""The figure of the documentation's first page: who receives how much, as bars.

One SVG for light pages and one for dark ones, written here: a handful of bars on a
scale that begins at zero needs no library, and the same results give the same file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .formatting import quantity
from .results import Results

PAYLOAD: Final = 64  # bytes
_OURS: Final = (
    ("aioudp, recv_many", "aioudp recv_many", "asyncio"),
    ("aioudp, recv", "aioudp recv", "asyncio"),
)
_OTHERS: Final = (
    ("uvloop's DatagramProtocol", "DatagramProtocol", "uvloop"),
    ("asyncio-dgram, on uvloop", "asyncio-dgram", "uvloop"),
    ("asyncio's DatagramProtocol", "DatagramProtocol", "asyncio"),
)

_WIDTH: Final = 420  # user units, which are pixels on a wide screen
_LONGEST: Final = 350  # of a bar; its figure stands behind it
_ROW: Final = 46
_THICK: Final = 14


class _Palette(NamedTuple):
    text: str
    ours: str
    others: str


_PALETTES: Final = {
    "light": _Palette(text="#1b1f24", ours="#1f6fb4", others="#7d868f"),
    "dark": _Palette(text="#e3e6ea", ours="#5aa9e6", others="#8b949e"),
}


def draw(results: Results, directory: Path) -> list[Path]:
    """Write both files into *directory* and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in drawn(results).items():
        paths.append(directory / name)
        paths[-1].write_text(text)
    return paths


def drawn(results: Results) -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {
        f"received-{theme}.svg": "\n".join(_lines(results, palette)) + "\n"
        for theme, palette in _PALETTES.items()
    }


def _lines(results: Results, palette: _Palette) -> Iterator[str]:
    bars = [*_rates(results, _OURS), *_rates(results, _OTHERS)]
    fastest = max(rate for _, rate in bars)
    height = _ROW * len(bars)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="{palette.text}">'
    )
    for place, (label, rate) in enumerate(bars):
        top = place * _ROW
        length = max(1.0, _LONGEST * rate / fastest)
        colour = palette.ours if place < len(_OURS) else palette.others
        figure = quantity(rate)
        yield f'<text x="0" y="{top + 15}">{label}</text>'
        yield (
            f'<rect x="0" y="{top + 22}" width="{length:.1f}" height="{_THICK}" '
            f'rx="2" fill="{colour}"/>'
        )
        yield (
            f'<text x="{length + 8:.1f}" y="{top + 34}" font-weight="600">'
            f"{figure}</text>"
        )
    yield "</svg>"


def _rates(
    results: Results, subjects: tuple[tuple[str, str, str], ...]
) -> Iterator[tuple[str, float]]:
    """Return each label with the median of datagrams per second."""
    for label, subject, loop in subjects:
        row = results.row("receive", subject, loop, PAYLOAD)
        if row is not None and row.rounds:
            yield label, row.spread(row.rate).median
