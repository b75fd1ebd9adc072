"""The pages of the documentation, by the names of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
MADE_BY_SPHINX: Final = ("genindex.html", "py-modindex.html", "search.html")

WRITTEN: Final = sorted(
    page.relative_to(DOCS).with_suffix(".html").as_posix()
    for page in DOCS.rglob("*.md")
    if page.relative_to(DOCS).parts[0] != "_build" and not page.name.startswith("_")
)
PAGES: Final = [*WRITTEN, *MADE_BY_SPHINX]
