"""What CONTRIBUTING.md says about the code is still there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from .blocks import ROOT

pytestmark = pytest.mark.no_matrix

TEXT: Final = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE: Final = ROOT / "aioudp"


def test_every_name_is_where_the_table_says() -> None:
    """``NAME in FILE`` means that the file defines the name."""
    table = TEXT.split("| what | where, in `aioudp/` |")[1].split("\n\n")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]
    assert len(rows) > 10

    for row in rows:
        names, _, files = row.split("|")[2].rpartition(" in ")
        for file in re.findall(r"`([^`]+)`", files):
            text = (PACKAGE / file).read_text(encoding="utf-8")
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"^ *(async def|def|class) {name}\b", text, re.M), row


def test_every_place_of_an_option_is_there() -> None:
    """The files exist, and the names that the list mentions occur in them."""
    steps = TEXT.split("the places to touch\n")[1].split("\n## ")[0]
    named = re.findall(r"`((?:aioudp|docs|tests)/[\w/.]+)`", steps)
    assert len(named) > 8
    for path in named:
        assert (ROOT / path).exists(), path

    opening = "".join(
        (PACKAGE / file).read_text(encoding="utf-8")
        for file in (
            "_endpoint/options.py",
            "_endpoint/opening.py",
            "_system/adoption.py",
            "_system/sockets.py",
            "broadcast.py",
            "multicast.py",
            "workers.py",
        )
    )
    for name in re.findall(r"`(?:sockets\.)?(_?[a-zA-Z]\w+)`", steps):
        assert re.search(rf"\b{name}\b", opening), name
