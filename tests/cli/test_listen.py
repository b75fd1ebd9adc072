"""``aioudp listen``, as a process."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals, no UNIX sockets", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """Return a bound IPv4 socket to send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def test_text(start: Start, sender: socket.socket, loop: str) -> None:
    """Each datagram is a line as soon as it comes; --count ends the program."""
    program = start("listen", "127.0.0.1:0", "--count", "3", "--loop", loop)
    port = program.port()

    for data, shown in ((b"hello", "hello"), (b"\x1b\n\xff", r"\x1b\n\xff"), (b"", "")):
        sender.sendto(data, ("127.0.0.1", port))
        assert program.line() == f"{address_of(sender)} {shown}"

    statistics = "received 3 (8 bytes), sent 0 (0 bytes), dropped 0, errors 0"
    assert program.end() == (0, [], [statistics])


def test_hex(start: Start, sender: socket.socket) -> None:
    """The sender and the size come first, then the dump."""
    program = start("listen", "127.0.0.1:0", "--count", "1", "--format", "hex")
    sender.sendto(bytes(range(20)), ("127.0.0.1", program.port()))

    status, lines, _ = program.end()

    assert status == 0
    assert lines[0] == f"{address_of(sender)} 20 bytes"
    assert lines[2].split() == ["0010", "10", "11", "12", "13", "|....|"]


def test_json(start: Start, sender: socket.socket) -> None:
    """Each line is an object with the time, the sender, the size and the payload."""
    before = time.time()
    program = start("listen", "127.0.0.1:0", "--count", "2", "--format", "json")
    port = program.port()
    sender.sendto("größe".encode(), ("127.0.0.1", port))
    sender.sendto(b"\xff\x00", ("127.0.0.1", port))

    status, lines, _ = program.end()
    text, binary = map(json.loads, lines)

    assert status == 0
    assert text["data"] == "größe"
    assert text["addr"] == address_of(sender)
    assert before - 1e-6 <= text["time"] <= binary["time"] <= time.time()
    assert (text["size"], binary["size"]) == (7, 2)
    assert binary["hex"] == "ff00"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_statistics(
    start: Start, sender: socket.socket, loop: str, signum: signal.Signals
) -> None:
    """Ctrl-C is how listening ends, so the status is 0."""
    program = start("listen", "127.0.0.1:0", "--loop", loop)
    sender.sendto(b"hello", ("127.0.0.1", program.port()))
    assert program.line()

    statistics = "received 1 (5 bytes), sent 0 (0 bytes), dropped 0, errors 0"
    assert program.end(signum=signum) == (0, [], [statistics])


@pytest.mark.parametrize(("count", "status"), [([], 0), (["--count", "1"], 1)])
def test_timeout(start: Start, count: list[str], status: int) -> None:
    """Silence ends it; that is a failure only if datagrams were counted on."""
    program = start("listen", "127.0.0.1:0", "--timeout", "0.05", *count)

    assert program.port()
    assert program.end()[0] == status


def test_every_address_serves_ipv4(start: Start, sender: socket.socket) -> None:
    """A port alone is every address; an IPv4 peer is shown as one."""
    program = start("listen", "0", "--count", "1")
    sender.sendto(b"hello", ("127.0.0.1", program.port()))

    assert program.end()[:2] == (0, [f"{address_of(sender)} hello"])


def test_ipv4_only(start: Start) -> None:
    """With -4 a port alone is every IPv4 address."""
    program = start("listen", "-4", ":0", "--timeout", "0")

    assert program.error_line().startswith("listening on 0.0.0.0:")
    assert program.end()[0] == 0


def test_ipv6_only(start: Start) -> None:
    """With -6 a port alone is every IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")
    program = start("listen", "-6", "0", "--count", "1")
    port = program.port()

    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.sendto(b"hello", ("::1", port))
        shown = f"[::1]:{sock.getsockname()[1]} hello"

    assert program.end()[:2] == (0, [shown])


def test_unix_path(start: Start, tmp_path: Path) -> None:
    """UNIX datagram sockets are named by path; a sender may have none."""
    path = f"{tmp_path}/server"
    program = start("listen", f"unix:{path}", "--count", "2")
    assert program.error_line() == f"listening on unix:{path}"

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anonymous", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{tmp_path}/a\nb")
        sock.sendto(b"named", path)

    lines = ["unix: anonymous", rf"unix:{tmp_path}/a\nb named"]
    assert program.end()[:2] == (0, lines)


def test_an_output_that_nobody_reads_ends_it(
    start: Start, sender: socket.socket
) -> None:
    """A broken pipe causes no traceback, and the statistics are still printed."""
    program = start("listen", "127.0.0.1:0")
    port = program.port()
    assert program.process.stdout is not None
    program.process.stdout.close()
    program.process.stdout = None

    sender.sendto(b"hello", ("127.0.0.1", port))

    statistics = "received 1 (5 bytes), sent 0 (0 bytes), dropped 0, errors 0"
    assert program.end() == (1, [], [statistics])


def test_an_output_without_the_letters(start: Start, sender: socket.socket) -> None:
    """What the encoding of the output does not have is escaped."""
    program = start(
        "listen", "127.0.0.1:0", "--count", "1", env={"PYTHONIOENCODING": "ascii"}
    )
    sender.sendto("größe 🚀".encode(), ("127.0.0.1", program.port()))

    lines = [rf"{address_of(sender)} gr\xf6\xdfe \U0001f680"]
    assert program.end()[:2] == (0, lines)
