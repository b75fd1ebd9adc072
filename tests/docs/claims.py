"""The statements of the README and of the documentation's front page, and their proofs.

A statement is a paragraph, a bullet or a row of a table, as it reads: without its
links. ``tests/CLAIMS.md`` says of each what proves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CLAIMS: Final = ROOT / "tests" / "CLAIMS.md"
PAGES: Final = ("README.md", "docs/index.md")

# What leads elsewhere and claims nothing, and figures that have tests of their own.
_LEFT_OUT: Final = {"Documentation", "Where to go"}
_FIGURES: Final = re.compile(r"<!-- figures:begin -->.*?<!-- figures:end -->", re.S)


def statements(page: str) -> list[str]:
    """Return the statements of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = _FIGURES.sub("", re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S))
    text = re.sub(r"^(```+|:::+).*?^\1$", "", text, flags=re.S | re.M)
    found: list[str] = []
    for section in re.split(r"^#+ ", text, flags=re.M):
        title, _, body = section.partition("\n")
        if title not in _LEFT_OUT:
            found += map(as_read, _pieces(body))
    return [one for one in found if one]


def _pieces(body: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", body):
        if block.lstrip().startswith("<!--"):
            continue
        if block.lstrip().startswith("|"):
            yield from block.strip().splitlines()[2:]
        else:
            yield from re.split(r"^- ", block, flags=re.M)


def as_read(piece: str) -> str:
    """Return text without links, on one line; the cells of a row with colons."""
    piece = re.sub(r"\[((?:[^]\[]|\[\])*)\]\([^)]*\)", r"\1", piece.strip())
    if piece.startswith("|"):
        piece = ": ".join(cell.strip() for cell in piece.strip("|").split(" | "))
    piece = re.sub(r"\{\w+\}", "", piece)
    return " ".join(piece.split()).replace("|", "/")


def proofs() -> dict[str, dict[str, str]]:
    """Return, for each page, the proof of each statement in ``CLAIMS.md``."""
    found: dict[str, dict[str, str]] = {}
    page = ""
    for line in CLAIMS.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            page = line.removeprefix("## ").strip("`")
            found[page] = {}
        elif line.startswith("| ") and not line.startswith(("| statement", "| ---")):
            statement, proof = line.strip("| ").split(" | ")
            found[page][statement] = proof
    return found
