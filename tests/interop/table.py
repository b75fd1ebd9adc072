"""The table of what was run with what: from the marks and the outcomes of the tests.

Each test of this folder names its peer, ``@pytest.mark.peer("dig")``, and says in its
docstring what is run. ``python -m tests.interop`` runs them and writes the table that
the documentation includes. Programs print their versions; libraries have theirs in
their metadata.
"""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import pytest

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "_interop.md"

_PROGRAMS: Final = {
    "avahi-daemon": ("avahi-daemon", "--version"),
    "chronyd": ("chronyd", "--version"),
    "coap-client": ("coap-client-notls", "-h"),
    "dig": ("dig", "-v"),
    "iperf3": ("iperf3", "--version"),
    "logger": ("logger", "--version"),
    "nc": ("dpkg-query", "-W", "netcat-openbsd"),  # it does not say itself
    "snmpd": ("snmpd", "--version"),
    "snmpget": ("snmpget", "--version"),
    "socat": ("socat", "-V"),
}


class Ran(NamedTuple):
    """One test that passed, in one cell of the matrix."""

    peer: str
    sentence: str
    loop: str


def version(peer: str) -> str:
    """Return the version of a program or a library."""
    if peer not in _PROGRAMS:
        return metadata.version(peer)
    done = subprocess.run(_PROGRAMS[peer], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    assert found is not None, (peer, done)
    return found[0].rstrip(",")


class Collector:
    """A plugin of pytest that notes what passed, and what did not."""

    def __init__(self) -> None:
        self.ran: list[Ran] = []
        self.others: list[str] = []
        self._items: dict[str, pytest.Item] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = {item.nodeid: item for item in session.items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.passed:
            if report.failed or report.skipped:
                self.others.append(f"{report.nodeid}: {report.longrepr}")
            return
        item = self._items[report.nodeid]
        mark = item.get_closest_marker("peer")
        if mark is None:  # of the table itself
            return
        function = getattr(item, "function", None)
        sentence = (function.__doc__ or "").partition("\n\n")[0]
        words = re.split(r"\W", report.nodeid.partition("[")[2])
        loop = next((word for word in ("asyncio", "uvloop") if word in words), "")
        if not loop:
            simulated = "test_simulated" in report.nodeid
            loop = "simulated network" if simulated else "asyncio"
        self.ran.append(Ran(mark.args[0], " ".join(sentence.split()), loop))


def render(ran: list[Ran]) -> str:
    """Return the page: one row for each peer and each thing done with it."""
    loops: dict[tuple[str, str], list[str]] = {}
    for one in ran:
        on = loops.setdefault((one.peer, one.sentence), [])
        if one.loop not in on:
            on.append(one.loop)
    lines = [
        f"Run on {datetime.now(UTC):%Y-%m-%d}, with these versions:",
        "",
        "| peer | what was run | on |",
        "|---|---|---|",
    ]
    for (peer, sentence), on in sorted(loops.items()):
        lines.append(f"| {peer} {version(peer)} | {sentence} | {', '.join(on)} |")
    return "\n".join(lines).replace("``", "`") + "\n"
