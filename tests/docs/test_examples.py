"""Every Python block of the README and the documentation runs, as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

import aioudp

from ..output import without_slowness
from .blocks import EXAMPLES, PAGES, ROOT, SCENES, Block, blocks

PATIENCE: Final = 15  # seconds

FRAME: Final = """\
import asyncio

import aioudp


async def fragment(endpoint):
{}

async def main():
    async with (
        aioudp.bind(("127.0.0.1", 0)) as peer,
        aioudp.connect(peer.local_addr) as endpoint,
    ):
        await peer.send(b"something to receive", endpoint.local_addr)
        await fragment(endpoint)


asyncio.run(main())
"""

EXAMPLE_TEXTS: Final = {path.read_text(encoding="utf-8") for path in EXAMPLES.iterdir()}


def programs() -> list[tuple[Block, str | None]]:
    """Return each Python block, with the output that the page shows, if any."""
    found = []
    for page in PAGES:
        for block, after in pairwise([*blocks(page), None]):
            # What is an example word for word is run by the tests of the examples.
            if (
                block is not None
                and block.language == "python"
                and block.text not in EXAMPLE_TEXTS
                and not block.mark.startswith(("theirs", "ours"))  # test_migration.py
            ):
                shown = after.text if after and after.mark == "output" else None
                found.append((block, shown))
    return found


PROGRAMS: Final = programs()


@pytest.mark.parametrize(
    ("block", "shown"), PROGRAMS, ids=[str(block) for block, _ in PROGRAMS]
)
def test_program(block: Block, shown: str | None, tmp_path: Path) -> None:
    """It ends without an error, warns of nothing, and prints what the page shows."""
    if "\nimport uvloop\n" in block.text:
        pytest.importorskip(
            "uvloop", reason="cannot: uvloop: it is not installed", exc_type=ImportError
        )
    if "\nfrom prometheus_client import " in block.text:
        pytest.importorskip(
            "prometheus_client", reason="cannot: prometheus-client: not installed"
        )
    if "os.fork" in block.text and not hasattr(os, "fork"):
        pytest.skip("cannot: fork: this system has none")
    text = block.text
    if block.mark == "fragment":
        text = FRAME.format(textwrap.indent(text, "    "))
    program = tmp_path / "program.py"
    program.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", program],
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=PATIENCE,
        # The package that this process tests, and not another that is installed.
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
        check=False,
    )

    if "unittest.main" in text:  # it reports on standard error, even success
        assert done.returncode == 0, done.stderr
    else:
        assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    if shown is not None:
        assert done.stdout == shown


def test_marks_are_known() -> None:
    """A misspelt mark would switch a check off."""
    marks = {
        block.mark for page in PAGES for block in blocks(page) if block.language != ""
    }

    sides = {f"{side}: {scene}" for side in ("theirs", "ours") for scene in SCENES}
    assert marks <= {"", "fragment", "output", "theirs", *sides}


@pytest.mark.parametrize(("index", "name"), [(1, "echo_server"), (2, "echo_client")])
def test_readme_shows_the_examples(index: int, name: str) -> None:
    """The server and the client of the README are the examples, word for word."""
    shown = [
        block for block in blocks(ROOT / "README.md") if block.language == "python"
    ]

    assert shown[index].text == (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
