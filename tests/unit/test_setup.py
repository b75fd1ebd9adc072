"""What is built: the accelerator, where it was asked for or can be."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def build(
    monkeypatch: pytest.MonkeyPatch, choice: str | None, platform: str = "linux"
) -> list[Any]:
    """Return the extensions that setup.py hands over to be built."""
    handed_over: dict[str, Any] = {}
    setuptools: Any = SimpleNamespace(
        Extension=lambda name, sources, **options: SimpleNamespace(
            name=name, sources=sources, **options
        ),
        setup=handed_over.update,
    )
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("AIOUDP_BUILD_SPEEDUPS", raising=False)
    if choice is not None:
        monkeypatch.setenv("AIOUDP_BUILD_SPEEDUPS", choice)
    runpy.run_path(str(ROOT / "setup.py"))
    extensions: list[Any] = handed_over["ext_modules"]
    return extensions


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_a_build_that_was_asked_for_may_fail(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever said yes hears of it, and gets no package without it."""
    (extension,) = build(monkeypatch, "yes", platform)

    assert (extension.name, extension.optional) == ("aioudp._system.speedups", False)


@pytest.mark.parametrize("choice", [None, "auto"])
def test_a_build_that_was_not_asked_for_may_not_fail(
    choice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler the package is there all the same."""
    (extension,) = build(monkeypatch, choice)

    assert extension.optional


@pytest.mark.parametrize(
    ("choice", "platform"),
    [("no", "linux"), (None, "darwin"), ("auto", "win32"), ("no", "win32")],
)
def test_nothing_is_built_where_there_is_no_use_for_it(
    choice: str | None, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Linux has the system calls."""
    assert build(monkeypatch, choice, platform) == []


@pytest.mark.parametrize("choice", ["", "1", "YES"])
def test_another_choice_is_refused(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip of the pen does not choose in silence."""
    with pytest.raises(SystemExit, match="AIOUDP_BUILD_SPEEDUPS must be yes, no or"):
        build(monkeypatch, choice)


def test_what_is_built_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources are named as setup.py sees them, from the root of the project."""
    (extension,) = build(monkeypatch, "yes")

    assert [(ROOT / source).is_file() for source in extension.sources] == [True]
