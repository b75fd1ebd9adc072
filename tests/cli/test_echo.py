"""``aioudp echo``, as a process."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals, no UNIX sockets", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_echo(start: Start, loop: str, signum: signal.Signals) -> None:
    """Each datagram comes back; a signal ends the server with its statistics."""
    program = start("echo", "127.0.0.1:0", "--loop", loop)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", program.port()))
        for data in (b"hello", b"", b"\xff" * 1000):
            sock.send(data)
            assert sock.recv(2000) == data

    statistics = "received 3 (1005 bytes), sent 3 (1005 bytes), dropped 0, errors 0"
    assert program.end(signum=signum) == (0, [], [statistics])


def test_senders_that_cannot_be_answered_do_not_end_it(
    start: Start, tmp_path: Path, loop: str
) -> None:
    """One has no address, one is gone; both count as errors, the next is answered."""
    server = f"{tmp_path}/server"
    program = start("echo", f"unix:{server}", "--loop", loop)
    assert program.error_line() == f"listening on unix:{server}"

    # Stopped, it cannot answer before they are gone.
    program.process.send_signal(signal.SIGSTOP)
    os.waitpid(program.process.pid, os.WUNTRACED)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"no name", server)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{tmp_path}/gone")
        sock.sendto(b"gone", server)
    program.process.send_signal(signal.SIGCONT)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(f"{tmp_path}/here")
        sock.sendto(b"here", server)
        assert sock.recv(100) == b"here"

    statistics = "received 3 (15 bytes), sent 1 (4 bytes), dropped 0, errors 2"
    assert program.end(signum=signal.SIGINT) == (0, [], [statistics])
