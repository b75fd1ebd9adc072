"""The page about logging shows what is really logged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

import aioudp
from aioudp._serving import failures

from .blocks import ROOT, blocks

PAGE: Final = ROOT / "docs" / "how-to" / "logging.md"
PATIENCE: Final = 15  # seconds


def test_the_log_of_a_failing_handler(tmp_path: Path) -> None:
    """It is the page's, but for the port and the folder; no payload is in it."""
    program, shown = next(
        (one, other)
        for one, other in pairwise(blocks(PAGE))
        if other.language == "text" and other.mark == ""
    )
    path = tmp_path / "server.py"
    path.write_text(program.text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
        check=True,
    )

    printed = done.stdout.replace(f"{tmp_path}{os.sep}", "")
    assert re.sub(r"\d{4,5}\)", "PORT)", printed) == re.sub(
        r"\d{4,5}\)", "PORT)", shown.text
    )
    assert "secret" not in printed


def test_one_logger_has_all() -> None:
    """Every module of the library logs to the logger that the page names."""
    package = Path(aioudp.__file__).parent
    names = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(
            r"logging\.getLogger\((.*?)\)", path.read_text(encoding="utf-8")
        )
    }

    assert names == {'"aioudp"'}


@pytest.mark.parametrize("level", ["error", "warning", "info", "debug"])
def test_levels(level: str) -> None:
    """The page has a row for each level that the library uses, and for no other."""
    package = Path(aioudp.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    used = f"logger.{level}(" in text or f"logging.{level.upper()}" in text

    assert used is (f"| `{level.upper()}` |" in PAGE.read_text(encoding="utf-8"))


def test_the_limit_is_the_one_that_the_page_names() -> None:
    """The number of kinds."""
    assert f"{failures._KINDS} kinds at most" in PAGE.read_text(encoding="utf-8")
