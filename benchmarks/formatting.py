"""Markdown tables and short numbers. Imports nothing of this package."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table with the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = (
            cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)
        )
        return "| " + " | ".join([first, *others]) + " |"

    return "\n".join([line(header), line(rule), *map(line, lines)])


def quantity(number: float) -> str:
    """Return *number* with three digits and a prefix: ``1.23 M``."""
    for scale, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= scale:
            return f"{number / scale:#.3g}".rstrip(".") + prefix
    return f"{number:.3g}"


def microseconds(seconds: float) -> str:
    """Return *seconds* in microseconds, with three digits."""
    number = seconds * 1e6
    return f"{number:.0f}" if number >= 100 else f"{number:#.3g}"
