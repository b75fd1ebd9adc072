"""The comparison in the documentation: its page, and our own column, run again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("anyio", reason="cannot: anyio: it is not installed")

from benchmarks.comparison import features, table

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / table.RESULT_FILE).read_text())

pytestmark = pytest.mark.no_matrix


def test_the_page_shows_the_published_results() -> None:
    """Nobody has edited the table, and no check was added without running it."""
    assert (ROOT / table.PAGE).read_text() == table.render(RESULTS)
    assert list(RESULTS["rows"]) == list(features.CHECKS)


@pytest.mark.skipif(sys.platform != "linux", reason="cannot: linux: reads /proc")
@pytest.mark.parametrize("title", features.CHECKS)
def test_our_own_column(title: str) -> None:
    """Every cell of ours is what the page says."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.comparison.probe", "aioudp", title],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )

    verdict, what, _ = json.loads(done.stdout.splitlines()[-1])
    assert verdict == RESULTS["rows"][title]["aioudp"][0], what
    assert verdict == ("no" if title == features.ON_TRIO else "yes"), what
