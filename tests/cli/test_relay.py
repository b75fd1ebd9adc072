"""``aioudp relay``, as a process."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals, no UNIX sockets", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]


def test_relay(start: Start) -> None:
    """Datagrams go there and back; the end says what has become of them."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.settimeout(10)
        client.settimeout(10)
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        program = start("relay", "127.0.0.1:0", address, "--delay", "0.01")
        client.connect(("127.0.0.1", program.port()))
        client.send(b"there")
        data, addr = server.recvfrom(100)
        server.sendto(data + b" and back", addr)
        assert client.recv(100) == b"there and back"

        status, output, errors = program.end(signum=signal.SIGTERM)
    assert (status, output) == (0, [])
    assert errors == ["2 datagrams of 1 client: 2 delivered"]


def test_relay_with_a_wrong_probability(start: Start) -> None:
    """A probability that is none is refused."""
    program = start("relay", "127.0.0.1:0", "127.0.0.1:9", "--loss", "2")
    assert program.end()[0] == 2
