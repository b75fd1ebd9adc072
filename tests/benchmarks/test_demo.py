"""scripts/demo: the story it tells, and what it says when something is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.no_matrix,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="cannot: sh: this is Windows"),
]


def test_the_story_is_told_to_its_end() -> None:
    """Each act shows what it promises, and each command can be pasted."""
    story = subprocess.run(
        [sys.executable, "scripts/demo_story.py"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=100,
    )

    printed = story.stdout
    assert story.returncode == 0, printed + story.stderr
    assert "$ aioudp send 127.0.0.1:" in printed
    assert "'hello, world' 'one datagram each' --wait 0.5" in printed
    assert re.search(r"aioudp, await recv\(\) +ConnectionRefusedError after", printed)
    assert re.search(r"aioudp, await recv\(\) +received 1,000\n", printed)
    assert "200 of 200 requests got their own answer" in printed
    assert re.search(r"aioudp, await recv\(\) +█+.* [\d,]+/s\n", printed)
    assert re.search(r"asyncio protocol +\S+ +[\d,]+/s\n", printed)
    assert "there and back takes" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt option installs nothing."""
    demo = subprocess.run(
        ["scripts/demo", "--foward"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )

    assert demo.returncode == 2
    assert "unknown argument: --foward" in demo.stderr
    assert demo.stdout == ""
