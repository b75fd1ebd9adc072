"""The documentation as a site: built, served on this machine, open in a browser."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser
from .pages import DOCS, ROOT

HOME = ROOT / ".venv-test" / "docs"


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the folder of the built pages.

    ``AIOUDP_SITE`` names it where they are built already; else this builds them.
    """
    if built := os.environ.get("AIOUDP_SITE"):
        return Path(built)
    for name in ("sphinx", "furo", "myst_parser"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"cannot: {name}: it is not installed")
    html = HOME / "html"
    sphinx = (sys.executable, "-m", "sphinx", "-q", "-b", "html")
    subprocess.run([*sphinx, DOCS, html], check=True, cwd=ROOT)
    return html


@pytest.fixture(scope="session")
def origin(site: Path) -> Iterator[str]:
    """Serve the pages, in a process of its own, and return where."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-u", "-m", "http.server", "0"),
            *("--bind", "127.0.0.1", "--directory", site),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with server:
        assert server.stdout is not None
        # "Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ..."
        first = server.stdout.readline()
        yield first.partition("(")[2].partition(")")[0]
        server.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a browser, the same one for all tests."""
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Return the folder for the pictures of the pages, which stay for whoever looks."""
    folder = HOME / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    return folder
