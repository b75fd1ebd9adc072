"""Every transcript of a terminal in the documentation is what really happens.

The transcripts of one page belong together, in as many terminals as needed. A command
that listens goes on in its terminal; a block that does not begin with a command is what
the last of those printed next. The port 9999 is replaced by a free one, numbers of four
and more digits (ports, times) may differ, and ``...`` stands for any lines.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

import aioudp

from .blocks import EXAMPLES, PAGES, ROOT, Block, blocks

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform != "linux":
    pytest.skip("cannot: linux: errors read differently", allow_module_level=True)

PATIENCE: Final = 15  # seconds, for each command
SHOWN_PORT: Final = "9999"

# Below the ports that Linux gives out by itself (ip(7), ip_local_port_range), so that
# no other test gets the same one while a server of the page is down.
PORTS: Final = range(20000, 30000)


class Command:
    """A running command, and what it prints on its terminal."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def shows(self, expected: list[str]) -> None:
        """Read as many lines as are expected, and compare."""
        skipping = False
        for wanted in expected:
            if wanted == "...":
                skipping = True
                continue
            line = self._line()
            while skipping and line is not None and mask(line) != mask(wanted):
                line = self._line()
            skipping = False
            assert line is not None, f"it ended, and did not show {wanted!r}"
            assert mask(line) == mask(wanted)

    def ends(self) -> None:
        """Wait for the end; nothing more is shown."""
        assert self._line() is None

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def _line(self) -> str | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line.removesuffix("\n") if line else None


def mask(line: str) -> str:
    return re.sub(r"\d{4,}(\.\d+)?", "N", line)


@contextmanager
def running(line: str, directory: Path) -> Iterator[Command]:
    with subprocess.Popen(
        ["/bin/sh", "-c", line],
        cwd=directory,
        env=os.environ
        | {
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(aioudp.__file__).parents[1]),
        },
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:

        def kill() -> None:
            if process.returncode is None:  # else the number may be another's by now
                os.killpg(process.pid, signal.SIGKILL)

        watchdog = threading.Timer(PATIENCE, kill)
        watchdog.start()
        try:
            yield Command(process)
        finally:
            watchdog.cancel()
            watchdog.join()
            kill()


@pytest.fixture
def port() -> str:
    """Return a port of the loopback interface that is free and stays so."""
    for number in random.sample(PORTS, 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("", number))
            except OSError:
                continue
            return str(number)
    raise AssertionError("no port is free")


@pytest.fixture
def desk(tmp_path: Path, port: str) -> Path:
    """Return a directory with the commands and the programs of the documentation."""
    (tmp_path / "bin").mkdir()
    for name, arguments in (("python", ""), ("aioudp", "-m aioudp")):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    (tmp_path / "examples").mkdir()
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8").replace(SHOWN_PORT, port)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
        shutil.copy(tmp_path / path.name, tmp_path / "examples")
    return tmp_path


def transcripts(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "console"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if transcripts(page)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_page(page: Path, desk: Path, port: str) -> None:
    """Each command shows what the page says."""
    listening: Command | None = None
    with ExitStack() as stack:

        def start(line: str) -> Command:
            line = line.replace(SHOWN_PORT, port)
            return stack.enter_context(running(line, desk))

        for block in transcripts(page):
            listening = follow(block.text.splitlines(), listening, start)


def follow(
    lines: list[str], listening: Command | None, start: Callable[[str], Command]
) -> Command | None:
    """Follow one block; return the command that listens at its end, if one does."""
    current = listening
    while lines:
        head = lines[0]
        if head.startswith("$ "):
            current = start(head.removeprefix("$ "))
            lines = lines[1:]
        assert current is not None, f"nothing is running that could show {head!r}"
        if head == "^C":
            current.interrupt()
            lines = lines[1:]
        count = next(
            (i for i, line in enumerate(lines) if line.startswith(("$ ", "^C"))),
            len(lines),
        )
        shown, lines = lines[:count], lines[count:]
        current.shows(shown)
        if head == "^C":
            current.ends()
            listening = None
        elif head.startswith("$ "):
            if shown and shown[0].startswith("listening on "):
                listening = current
            else:
                current.ends()
    return listening
