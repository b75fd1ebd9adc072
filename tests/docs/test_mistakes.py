"""The messages in the documentation are what Python says today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

SCRIPT: Final = Path(__file__).parents[2] / "scripts" / "mistakes.py"

if sys.platform != "linux":
    pytest.skip(
        "cannot: linux: system errors read differently", allow_module_level=True
    )


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("mistakes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mistakes", module)  # for its dataclass
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_python_says(mistakes: ModuleType) -> None:
    """Every mistake is made again, and what is right runs without a word."""
    assert mistakes.PAGE.read_text() == mistakes.page()


def test_a_mistake_that_goes_unnoticed(
    mistakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table isn't made, because it would have nothing to show."""
    monkeypatch.setattr(
        mistakes, "MISTAKES", [mistakes.Mistake("none", "pass", "pass")]
    )

    with pytest.raises(ValueError, match="nothing happens: pass"):
        mistakes.table()


def test_an_alternative_that_fails(
    mistakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told to write what is wrong."""
    monkeypatch.setattr(
        mistakes, "MISTAKES", [mistakes.Mistake("one", "1 / 0", "1 / 0")]
    )

    with pytest.raises(ValueError, match="this fails: 1 / 0"):
        mistakes.table()
