"""What the pages about debugging tell the reader to run and to look at exists."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from typing import Final

import pytest

import aioudp

from .blocks import ROOT

if sys.platform != "linux":
    pytest.skip("cannot: linux: these commands are Linux's", allow_module_level=True)

PAGES: Final = [
    ROOT / "docs" / name
    for name in ("deploy/kernel.md", "how-to/buffers.md", "how-to/debug.md")
]
TEXT: Final = "".join(page.read_text(encoding="utf-8") for page in PAGES)
CODE: Final = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
COMMANDS: Final = [code for code in CODE if re.match(r"(ss|nstat) ", code)]
COUNTER: Final = re.compile(r"(Udp|Ip|TcpExt)[A-Z]\w+")


def run(command: str) -> str:
    name = command.split()[0]
    if shutil.which(name) is None:
        pytest.skip(f"cannot: {name}: it is not installed")
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str) -> None:
    """It runs, and shows something, if only a heading."""
    assert run(command)


def test_counters() -> None:
    """Each counter that a page names is one of the kernel's."""
    known = {line.split()[0] for line in run("nstat -az").splitlines()}

    named = {name for code in CODE for name in code.split() if COUNTER.fullmatch(name)}

    assert len(named) > 5
    assert named <= known


def test_statistics() -> None:
    """The page about debugging has each count of drops and failures."""
    page = (ROOT / "docs" / "how-to" / "debug.md").read_text(encoding="utf-8")
    fields = {
        field.name
        for kind in (aioudp.Stats, aioudp.ServerStats)
        for field in dataclasses.fields(kind)
    }
    section = page.split("## Datagrams are dropped")[1].split("\n## ")[0]
    named = set(re.findall(r"`(?:stats\(\)\.)?([a-z_]+)`", section)) - {"close", "send"}

    assert {"dropped_kernel", "dropped_queue", "dropped_busy"} <= named
    options = {"max_datagram_size"}
    assert named - options <= fields
