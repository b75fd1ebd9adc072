"""Find the code blocks of the README and of the documentation.

``python``
    A complete program. One with ``<!-- fragment -->`` above it is the inside of a
    coroutine that has an open ``endpoint``. ``<!-- theirs -->`` marks a program for
    another library, ``<!-- theirs: SCENE -->`` and ``<!-- ours: SCENE -->`` two
    programs that do the same in a scene of ``test_migration.py``.
``text`` with ``<!-- output -->`` above it
    What the program before it prints.
``console``
    A transcript: ``$ `` and a command, what it prints, ``^C`` for Ctrl-C.
``sh``
    Commands that are shown and not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"
PAGES: Final = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if "_build" not in page.parts and not page.name.startswith("_")
    ),
]

SCENES: Final = ("client", "server")
"""What programs for another library and for this one do alike."""

_FENCE: Final = re.compile(r"(```+)(.*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    page: Path
    line: int
    language: str
    mark: str
    """What the comment above it says, or ``""``."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of *page*, in order."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    mark = ""
    for number, line in lines:
        if opening := _FENCE.fullmatch(line):
            fence, language = opening.groups()
            inside = []
            for _, other in lines:
                if other == fence:
                    break
                inside.append(f"{other}\n")
            yield Block(page, number, language.strip(), mark, "".join(inside))
            mark = ""
        elif line:
            comment = re.fullmatch(r"<!-- (.*) -->", line)
            mark = comment[1] if comment else ""
