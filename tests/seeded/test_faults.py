"""The seeded faults fit the library as it is, and the page that lists them."""

from __future__ import annotations

import pytest

from .faults import FAULTS, ROOT, Fault, table

ALL = [fault for faults in FAULTS.values() for fault in faults]


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.what)
def test_a_fault_fits(fault: Fault) -> None:
    """Its text is in the file once, the result is Python, and its test exists."""
    compile(fault.changed(ROOT), fault.path, "exec")
    path, _, name = fault.test.partition("::")

    assert f"def {name}(" in (ROOT / "tests" / path).read_text()


def test_a_fault_that_no_longer_fits() -> None:
    """It's an error that names the file and the text."""
    fault = ALL[0]._replace(old="no such text")

    with pytest.raises(ValueError, match=f"{fault.path} has 'no such text' 0 times"):
        fault.changed(ROOT)


def test_the_page_lists_them() -> None:
    """At least twenty, of the endpoint, the client and the server."""
    assert table() in (ROOT / "tests/MUTANTS.md").read_text()
    assert len(ALL) >= 20
    assert {*FAULTS} == {"endpoint", "client", "server"}
