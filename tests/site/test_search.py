"""The search of the documentation needs no server, let alone another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import Browser

pytestmark = pytest.mark.timeout(120)

RESULTS = "#search-results ul.search > li > a"


def results(browser: Browser) -> list[str]:
    """Return the titles that the search found, once it has ended."""
    browser.wait_for("#search-results .search-summary", "found")
    return browser.texts(RESULTS)


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("drain", "Stop without losing anything"),
        ("recv_many", "aioudp.Endpoint.recv_many"),
        ("multicast", "Multicast"),
    ],
)
def test_search(query: str, title: str, browser: Browser, origin: str) -> None:
    """A word leads to the page about it, and a name to its description."""
    browser.open(f"{origin}search.html?q={query}")

    assert title in results(browser)
    assert browser.incidents(origin) == []


def test_search_without_a_server(browser: Browser, site: Path) -> None:
    """It works in a folder of files, too."""
    browser.open(f"{(site / 'search.html').as_uri()}?q=drain")

    assert "Stop without losing anything" in results(browser)
    browser.incidents(
        "file:"
    )  # excerpts of the pages, which a browser keeps from files
