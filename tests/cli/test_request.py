"""``aioudp request``, as a process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: errors read differently", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Return a bound socket of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_answer(start: Start, server: socket.socket, loop: str) -> None:
    """It is printed; standard error reports how often it was sent."""
    port = str(server.getsockname()[1])
    program = start("request", "127.0.0.1", port, "hello", "--loop", loop, "-t", "30")
    data, addr = server.recvfrom(100)
    assert data == b"hello"
    server.sendto(b"there\x1b", addr)

    status, output, errors = program.end()

    assert (status, errors) == (0, ["sent once"])
    assert len(output) == 1
    assert "there" in output[0]
    assert "\x1b" not in output[0]


def test_sent_again(start: Start, server: socket.socket) -> None:
    """The first transmission is not answered; hexadecimal goes both ways."""
    port = str(server.getsockname()[1])
    program = start("request", "127.0.0.1", port, "00 ff", "--hex", "-t", "0.2")
    first, _ = server.recvfrom(100)
    data, addr = server.recvfrom(100)
    assert first == data == b"\x00\xff"
    server.sendto(b"late", addr)

    status, output, errors = program.end()

    assert status == 0
    assert "late" in output[0]
    assert errors[0].startswith("sent ")
    assert errors[0].endswith(" times")


def test_no_answer(start: Start, server: socket.socket) -> None:
    """One line says so, and the status is 1."""
    port = str(server.getsockname()[1])
    program = start("request", "127.0.0.1", port, "hello", "-t", "0.01", "-r", "1")

    status, output, errors = program.end()

    assert (status, output) == (1, [])
    assert errors[-1].startswith(f"aioudp request: no answer from 127.0.0.1:{port}, ")
    assert "2 times" in errors[-1]
