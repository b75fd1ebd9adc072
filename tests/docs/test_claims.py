"""Each statement of the README and the front page has a proof, and the proof exists."""

from __future__ import annotations

import json
import re

import pytest

from .claims import PAGES, ROOT, proofs, statements

pytestmark = pytest.mark.no_matrix


@pytest.mark.parametrize("page", PAGES)
def test_every_statement_is_listed(page: str) -> None:
    """Whoever changes a statement looks at its proof again."""
    assert list(proofs()[page]) == statements(page)


def test_every_proof_exists() -> None:
    """The tests, files and features that CLAIMS.md names are there."""
    features = json.loads((ROOT / "benchmarks/results/features.json").read_text())
    for listed in proofs().values():
        for statement, proof in listed.items():
            names = re.findall(r"`([^`]+)`", proof)
            assert names or proof.startswith("no claim"), statement
            for name in names:
                kind, _, what = name.partition(": ")
                path, _, test = name.partition("::")
                if kind == "features":
                    assert what in features["rows"], name
                elif test:
                    text = (ROOT / "tests" / path).read_text(encoding="utf-8")
                    assert re.search(rf"^(async )?def {test}\(", text, re.M), name
                else:
                    assert (ROOT / path).exists(), name
