"""The table in the documentation, and the tests that it is made of."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .table import PAGE

pytestmark = pytest.mark.no_matrix

OTHERS = {"test_table.py"}


def all_tests() -> dict[str, tuple[str | None, str]]:
    """Return the peer and the sentence of each test in this folder."""
    found: dict[str, tuple[str | None, str]] = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name in OTHERS:
            continue
        for node in ast.parse(file.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_"):
                sentence = (ast.get_docstring(node) or "").partition("\n\n")[0]
                found[node.name] = peer_of(node), " ".join(sentence.split())
    return found


def peer_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    for decorator in node.decorator_list:
        text = ast.unparse(decorator)
        if match := re.fullmatch(r"pytest\.mark\.peer\('([\w-]+)'\)", text):
            return match[1]
    return None


def test_each_test_names_its_peer() -> None:
    """Without the mark it would be missing from the table."""
    assert [name for name, (peer, _) in all_tests().items() if peer is None] == []


def test_the_table_has_every_test() -> None:
    """If this fails, run ``python -m tests.interop``."""
    rows = set()
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and cells[0].strip("| ") != "peer":
            rows.add((cells[0].partition(" ")[0], cells[1]))

    assert rows == {
        (peer, sentence.replace("``", "`")) for peer, sentence in all_tests().values()
    }
    assert len({peer for peer, _ in rows}) >= 18
