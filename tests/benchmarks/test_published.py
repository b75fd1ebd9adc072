"""The figures in README and documentation are those of the published result file."""

from __future__ import annotations

from pathlib import Path

from benchmarks import publish, results

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
