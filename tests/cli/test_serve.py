"""``aioudp serve``, and several workers, as processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: workers need it"
)

MODULE: Final = """
import asyncio

class Names:
    def shout(data, addr):
        return data.upper() if data else None

async def slow(data, addr):
    await asyncio.sleep(0.3)
    return data

def fails(data, addr):
    raise KeyError(data)

number = 7
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Return a folder with a module of handlers."""
    (tmp_path / "handlers.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_module_of_mine\n")
    return tmp_path


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        yield sock


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_serve(start: Start, loop: str, module: Path, signum: signal.Signals) -> None:
    """The function's result is the reply; nothing but two lines is printed."""
    what = ("handlers:Names.shout", "127.0.0.1:0", "--loop", loop)
    program = start("serve", *what, cwd=module)
    with connected(program.port()) as sock:
        for data in (b"one", b"", b"two"):
            sock.send(data)
        assert [sock.recv(100), sock.recv(100)] == [b"ONE", b"TWO"]

    counts = "3 requests, 2 replies, 0 dropped, 0 failed"
    assert program.end(signum=signum) == (0, [], [counts])


def test_a_signal_lets_handlers_finish(start: Start, module: Path) -> None:
    """What was in hand is answered before the end."""
    program = start("serve", "handlers:slow", "127.0.0.1:0", cwd=module)
    with connected(program.port()) as sock:
        sock.send(b"first")
        assert sock.recv(100) == b"first"
        for number in range(20):
            sock.send(b"%d" % number)
        counts = "21 requests, 21 replies, 0 dropped, 0 failed"
        assert program.end(signum=signal.SIGTERM) == (0, [], [counts])
        answers = {sock.recv(100) for _ in range(20)}

    assert answers == {b"%d" % number for number in range(20)}


def test_a_failing_function_is_counted(start: Start, module: Path) -> None:
    """It costs the datagram, and is logged without the payload."""
    program = start("serve", "handlers:fails", "127.0.0.1:0", cwd=module)
    with connected(program.port()) as sock:
        sock.send(b"secret")
        logged = program.error_line()
        assert "KeyError" in logged
        assert "secret" not in logged

    status, _, errors = program.end(signum=signal.SIGTERM)
    assert status == 0
    assert errors[-1] == "1 requests, 0 replies, 0 dropped, 1 failed"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["handlers"], "'handlers' isn't MODULE:HANDLER"),
        ([":shout"], "':shout' isn't MODULE:HANDLER"),
        (["nothing:shout"], "there's no module 'nothing'"),
        (["handlers:whisper"], "the module 'handlers' has no 'whisper'"),
        (["handlers:number"], "'handlers:number' isn't a function"),
        (["handlers:slow", "--stream", "s"], "need a URL"),
        (["handlers:slow", "--workers", "0"], "'--workers'"),
        (["handlers:slow", "--workers", "2", "--loop", "asyncio"], "can't be chosen"),
    ],
)
def test_wrong_arguments(
    start: Start, module: Path, arguments: list[str], reason: str
) -> None:
    """Each gets an error that names it."""
    name, *options = arguments
    program = start("serve", name, "127.0.0.1:0", *options, cwd=module)

    status, _, errors = program.end()

    assert status == 2
    assert reason in re.sub(r"[\s│]+", " ", " ".join(errors))


def test_a_url_needs_a_stream_and_a_group(start: Start, module: Path) -> None:
    """They are no options of an address, and no option of a URL is guessed."""
    program = start("serve", "handlers:slow", "nats://127.0.0.1:9", cwd=module)

    status, _, errors = program.end()

    assert status == 2
    assert "needs --stream and --group" in re.sub(r"[\s│]+", " ", " ".join(errors))


def test_an_error_inside_the_module_keeps_its_traceback(
    start: Start, module: Path
) -> None:
    """It's an error of the module, and not of the arguments."""
    program = start("serve", "broken:handler", "127.0.0.1:0", cwd=module)

    status, _, errors = program.end()

    assert status == 1
    assert errors[-1].endswith("No module named 'no_such_module_of_mine'")


@linux_only
@pytest.mark.parametrize("command", ["echo", "serve"])
def test_workers(start: Start, module: Path, command: str) -> None:
    """Several processes answer; their counts are summed up at the end."""
    what = ["handlers:Names.shout"] if command == "serve" else []
    program = start(command, *what, "127.0.0.1:0", "--workers", "2", cwd=module)
    port = program.port()
    for _ in range(20):
        with connected(port) as sock:
            sock.send(b"HELLO")
            assert sock.recv(100) == b"HELLO"

    counts = "received 20 (100 bytes), sent 20 (100 bytes), dropped 0, errors 0"
    assert program.end(signum=signal.SIGTERM) == (0, [], [counts])


@linux_only
def test_workers_without_a_port(start: Start) -> None:
    """An address that is taken is reported in one line."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, errors = start("echo", address, "--workers", "2").end()

    assert status == 1
    assert len(errors) == 1
    assert address.partition(":")[0] in errors[0]


@linux_only
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_a_terminal_shows_the_rates(
    start: Start, module: Path, workers: list[str]
) -> None:
    """A line of rates is shown, and erased at the end."""
    master, slave = os.openpty()
    try:
        what = ("handlers:Names.shout", "127.0.0.1:0")
        term = {"TERM": "xterm"}
        program = start("serve", *what, *workers, cwd=module, stderr=slave, env=term)
        os.close(slave)
        shown = b""
        while not (found := re.search(rb"listening on 127.0.0.1:(\d+)\r\n", shown)):
            shown += os.read(master, 1000)
        with connected(int(found[1])) as sock:
            sock.send(b"hello")
            assert sock.recv(100) == b"HELLO"
            while not re.search(rb"[1-9]\d* (requests|received)/s", shown):
                shown += os.read(master, 1000)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(10) == 0
        assert re.search(rb"(0 failed|errors 0)\r\n", shown + os.read(master, 10_000))
    finally:
        os.close(master)
