"""The map of behaviours names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
MAP: Final = (TESTS / "BEHAVIOURS.md").read_text()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`([\w/]+\.py)(?:::\w+)?`", MAP)))
)
def test_every_test_that_is_named_exists(path: str) -> None:
    """A test that is renamed or removed is renamed or removed in the map."""
    text = (TESTS / path).read_text()

    for name in re.findall(rf"`{path}::(\w+)`", MAP):
        assert f"def {name}(" in text, name


def test_no_behaviour_is_listed_twice() -> None:
    """Each has one row, with something in it."""
    rows = re.findall(r"^\| (B\d{3}) \| [^|]+ \| ([^|]*) \|$", MAP, re.MULTILINE)

    assert len({identifier for identifier, _ in rows}) == len(rows) > 150
    assert all(cell.strip() for _, cell in rows)
