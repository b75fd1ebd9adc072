"""The programs for another library and for this one, side by side, do the same.

A pair with a scene meets the same peer, and the outcome must be the same. A program for
another library without a scene shows what that library does; it must print what the
page says, and runs only with the version that the page names.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

import aioudp

from .blocks import PAGES, ROOT, SCENES, Block, blocks

HERE: Final = ROOT / "docs" / "migration"
LIBRARIES: Final = ("anyio", "asyncio-dgram", "asyncudp", "trio")
PATIENCE: Final = 15  # seconds
RETRY: Final = 0.1  # seconds, after which a question is asked again

MIGRATION: Final = [page for page in PAGES if page.parent == HERE]


def marked(prefix: str) -> list[Block]:
    return [
        block
        for page in MIGRATION
        for block in blocks(page)
        if block.language == "python" and block.mark.startswith(prefix)
    ]


def scene(block: Block) -> str:
    return block.mark.partition(": ")[2]


def shown_after(block: Block) -> str:
    """Return the output that the page shows for a program."""
    for one, other in pairwise(blocks(block.page)):
        if one == block:
            assert other.mark == "output"
            return other.text
    raise AssertionError("it is the last of its page")


# -- running


def needs_library(block: Block, *, exact: bool) -> None:
    """Skip a program whose library isn't here, or, if *exact*, in another version."""
    for name in LIBRARIES:
        if f"\nimport {name.replace('-', '_')}\n" not in block.text:
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"cannot: {name}: it is not installed")
        text = block.page.read_text(encoding="utf-8")
        found = re.search(rf"^Compared with {name} ([\d.]*\d)", text, re.MULTILINE)
        assert found is not None
        if exact and installed != found[1]:
            pytest.skip(f"cannot: {name} {found[1]}: {installed} is installed")


@contextmanager
def running(block: Block, port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program, with *port* for the port that the page shows."""
    program = folder / "program.py"
    program.write_text(block.text.replace("9999", str(port)), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-W", "error", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        text=True,
        # The package that this process tests, and not another that is installed.
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
    ) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def output(process: subprocess.Popen[str]) -> str:
    """Return what a program prints until its end, which must be a good one."""
    printed, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    return printed


# -- the scenes


def client(block: Block, folder: Path) -> None:
    """It asks a server, and prints the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(PATIENCE)
        server.bind(("127.0.0.1", 0))
        with running(block, server.getsockname()[1], folder) as process:
            question, addr = server.recvfrom(100)
            server.sendto(question.upper(), addr)

            assert output(process) == "HELLO\n"


def server(block: Block, folder: Path) -> None:
    """It answers each of two clients in capitals."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        addr = reserved.getsockname()
    with running(block, addr[1], folder) as process:
        for question in (b"hello", b"goodbye"):
            assert asked(question, addr, process) == question.upper()


def asked(
    question: bytes, addr: tuple[str, int], process: subprocess.Popen[str]
) -> bytes:
    """Ask until a server is up and answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(RETRY)
        while process.poll() is None:
            sock.sendto(question, addr)
            try:
                return sock.recv(100)
            except TimeoutError:
                pass
    assert process.stderr is not None
    pytest.fail(f"the server has ended: {process.stderr.read()}")


PLAY: Final[dict[str, Callable[[Block, Path], None]]] = {
    "client": client,
    "server": server,
}


@pytest.mark.parametrize("block", marked("ours: "), ids=str)
def test_ours(block: Block, tmp_path: Path) -> None:
    """What the page offers does what the other program did."""
    needs_library(block, exact=False)

    PLAY[scene(block)](block, tmp_path)


@pytest.mark.parametrize("block", marked("theirs: "), ids=str)
def test_theirs(block: Block, tmp_path: Path) -> None:
    """The program that the reader has does what it's said to do."""
    needs_library(block, exact=False)

    PLAY[scene(block)](block, tmp_path)


@pytest.mark.parametrize(
    "block", [block for block in marked("theirs") if not scene(block)], ids=str
)
def test_what_theirs_prints(block: Block, tmp_path: Path) -> None:
    """What another library does wrong isn't hearsay."""
    needs_library(block, exact=True)

    with running(block, 9999, tmp_path) as process:
        assert output(process) == shown_after(block)


def test_both_sides_have_the_same_scenes() -> None:
    """Each program for another library stands beside one for this one."""
    assert set(PLAY) == set(SCENES)
    for page in MIGRATION:
        marks = [block.mark for block in blocks(page)]
        for one, other in pairwise(marks):
            if one.startswith("theirs: "):
                assert other == one.replace("theirs", "ours"), page
