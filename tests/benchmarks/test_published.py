"""The figures in README and documentation are those of the published result file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import bars, loops, publish, results
from benchmarks.soak import command, page, recording

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_published_figures() -> None:
    """Nobody has edited the README's table, or published other results since."""
    readme = (ROOT / publish.README).read_text()
    published = results.read(ROOT / publish.RESULT_FILE)

    assert publish.replaced(readme, publish.in_readme(published)) == readme


def test_the_documentation_shows_the_published_figures() -> None:
    """The page is what the result file gives, and its plots are there."""
    page = (ROOT / publish.PAGE).read_text()

    assert page == publish.in_docs(results.read(ROOT / publish.RESULT_FILE))
    for name in ("receive", "send", "echo"):
        assert f"figures/{name}.svg" in page
        assert (ROOT / publish.PLOTS / f"{name}.svg").exists()


def test_the_first_page_shows_the_published_figures() -> None:
    """Its bars are as long as the result file says."""
    drawn = bars.drawn(results.read(ROOT / publish.RESULT_FILE))

    for name, text in drawn.items():
        assert (ROOT / publish.FRONT / name).read_text() == text


def test_a_bar_is_as_long_as_its_figure() -> None:
    """The scale begins at zero and is the same for all."""
    published = results.read(ROOT / publish.RESULT_FILE)
    one, other = (
        row.spread(row.rate).median
        for subject in ("aioudp recv_many", "DatagramProtocol")
        if (row := published.row("receive", subject, "asyncio", bars.PAYLOAD))
    )
    for text in bars.drawn(published).values():
        widths = [float(width) for width in re.findall(r'<rect .* width="(.*?)"', text)]

        assert widths[0] == max(widths)
        assert widths[-1] / widths[0] == pytest.approx(other / one, abs=0.001)


def test_the_guides_show_the_published_figures() -> None:
    """What to expect and what knobs bring are computed, and nobody has edited them."""
    published = results.read(ROOT / publish.RESULT_FILE)

    assert (ROOT / publish.EXPECTATIONS).read_text() == publish.expectations(published)
    assert (ROOT / publish.KNOBS).read_text() == publish.knobs(published)


def test_readers_are_not_shown_goals() -> None:
    """The page compares; what we aim at is for those who work on the library."""
    page = (ROOT / publish.PAGE).read_text()

    assert "| aim" not in page
    assert "reached" not in page


@pytest.mark.parametrize("name", publish.PARTS)
def test_a_page_shows_the_published_figures(name: str) -> None:
    """Each other result file has its page, and a guide that includes it."""
    part = publish.PARTS[name]
    content = json.loads((ROOT / part.result_file).read_text())

    assert (ROOT / part.page).read_text() == part.tables(content)
    included = f"{part.page.name}\n```"
    assert any(included in page.read_text() for page in ROOT.glob("docs/*/*.md"))


def test_the_page_on_long_runs_shows_the_published_run() -> None:
    """Its tables are what the result file gives, and its plot is there."""
    recorded = recording.read(ROOT / page.RESULT_FILE)
    verdicts = command.judge_all(recorded)

    assert (ROOT / page.PAGE).read_text() == page.in_docs(recorded, verdicts)
    assert (ROOT / page.PLOT).exists()


def test_the_published_long_run_is_good() -> None:
    """An hour on both event loops, as the page says, and nothing to complain about."""
    recorded = recording.read(ROOT / page.RESULT_FILE)
    verdicts = command.judge_all(recorded)

    assert recorded.conditions["seconds"] == 3600
    assert recorded.conditions["network"]
    assert verdicts.keys() == {"asyncio", "uvloop"}
    for loop, verdict in verdicts.items():
        assert recorded.samples[loop][-1]["seconds"] >= 3600
        assert verdict.complaints == ()


def test_the_documentation_shows_the_published_loops() -> None:
    """The table of event loops and interpreters is what the result files give."""
    assert (ROOT / loops.PAGE).read_text() == loops.render(loops.read(ROOT))
