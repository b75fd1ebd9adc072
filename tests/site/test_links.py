"""Each link of the built documentation leads to a page, and to a place on it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .pages import PAGES


class Page(HTMLParser):
    """Collects where a page can be entered, and what it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif name in ("href", "src"):
                self.links.append(value)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    return {name: Page(site / name) for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_links(name: str, site: Path, pages: dict[str, Page]) -> None:
    """A link inside the site leads to a file that is there; its anchor, too."""
    broken = []
    for link in pages[name].links:
        target = urlsplit(link)
        if target.scheme or target.netloc:
            continue
        path = (
            (site / name).parent / unquote(target.path) if target.path else site / name
        )
        place = unquote(target.fragment)
        if not path.resolve().is_file():
            broken.append(link)
        elif place:
            other = path.resolve().relative_to(site.resolve()).as_posix()
            if other not in pages or place not in pages[other].places:
                broken.append(link)

    assert broken == []


def test_each_page_is_reached(site: Path, pages: dict[str, Page]) -> None:
    """The contents on the first page lead to each page that was written."""
    linked = {urlsplit(link).path for link in pages["index.html"].links}

    assert set(PAGES) - linked <= {
        "genindex.html",
        "py-modindex.html",
        "search.html",
        "index.html",
    }
