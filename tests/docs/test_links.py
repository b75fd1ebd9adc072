"""Each link of the Markdown files leads to a file, and to a heading in it.

They are read in a checkout, on the page of the repository, and the README also on the
page of a package index. So a link is relative, or the address of a file on the main
branch of the repository that ``pyproject.toml`` names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from .blocks import PAGES, ROOT

FILES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("tests/*.md")),
    *PAGES[1:],
]

_METADATA: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY: Final = _METADATA["urls"]["Repository"]

_CODE: Final = re.compile(r"^```.*?^```|`[^`\n]+`", re.M | re.S)
_LINK: Final = re.compile(
    r"\]\(<?([^)\s>]+)>?\)|^\[[^]]+\]: (\S+)|(?:src|href)=\"(.*?)\"", re.M
)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.M)


def links(page: Path) -> Iterator[str]:
    """Yield where the links of a page lead to; examples of code have none."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        yield next(filter(None, match.groups()))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    found: set[str] = set()
    for heading in _HEADING.findall(text):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        name, count = words, 0
        while name in found:
            count += 1
            name = f"{words}-{count}"
        found.add(name)
    return found


def is_broken(page: Path, link: str) -> bool:
    """Return whether a link into the repository leads nowhere."""
    link = re.sub(rf"^{re.escape(REPOSITORY)}/(?:blob|tree|raw)/main/", "/", link)
    if re.match(r"[a-z]+:", link):
        return False  # of others
    path, _, anchor = link.partition("#")
    start = ROOT if path.startswith("/") else page.parent
    target = start / unquote(path.lstrip("/")) if path else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


@pytest.mark.parametrize(
    "page", FILES, ids=[str(page.relative_to(ROOT)) for page in FILES]
)
def test_links(page: Path) -> None:
    """A link into the repository leads to a file, and its anchor to a heading."""
    assert [link for link in links(page) if is_broken(page, link)] == []


def test_the_readme_has_no_relative_links() -> None:
    """On the page of a package index they would lead nowhere."""
    relative = [
        link for link in links(ROOT / "README.md") if not re.match(r"https://|#", link)
    ]

    assert relative == []
