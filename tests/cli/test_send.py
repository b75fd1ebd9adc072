"""``aioudp send``, as a process."""

from __future__ import annotations

import os
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
def receiver() -> Iterator[socket.socket]:
    """Return a socket that somebody sends to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        yield sock


def port_of(sock: socket.socket) -> str:
    return str(sock.getsockname()[1])


def take(sock: socket.socket, count: int) -> list[bytes]:
    return [sock.recv(65536) for _ in range(count)]


@pytest.fixture
def free_port() -> str:
    """Return a port of the loopback interface where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return port_of(sock)


def test_arguments(start: Start, receiver: socket.socket, loop: str) -> None:
    """Each argument is one datagram, byte for byte."""
    texts = [b"one two", b"", "größe".encode(), b"\xff"]
    program = start("send", "--loop", loop, port_of(receiver), *texts)

    assert take(receiver, 4) == texts
    statistics = "received 0 (0 bytes), sent 4 (15 bytes), dropped 0, errors 0"
    assert program.end() == (0, [], [statistics])


def test_lines_of_a_pipe(start: Start, receiver: socket.socket, loop: str) -> None:
    """Each line is sent when it comes; the end of the input ends the program."""
    program = start("send", "--loop", loop, f"127.0.0.1:{port_of(receiver)}")
    for line in (b"first", b"second"):
        program.type(line + b"\n")
        assert take(receiver, 1) == [line]

    assert program.end(text=b"\nlast")[0] == 0
    assert take(receiver, 2) == [b"", b"last"]


def test_lines_of_a_file(
    start: Start, receiver: socket.socket, tmp_path: Path, loop: str
) -> None:
    """Standard input may be a file, which event loops cannot watch."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\r\ntwo\n")
    with path.open("rb") as file:
        program = start("send", "--loop", loop, port_of(receiver), stdin=file)
        assert take(receiver, 2) == [b"one", b"two"]
        assert program.end()[0] == 0


@pytest.mark.parametrize("size", [0, 5, 65_507])
def test_a_file_is_one_datagram(
    start: Start, receiver: socket.socket, tmp_path: Path, loop: str, size: int
) -> None:
    """Whatever is in it; an empty file is an empty datagram."""
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    program = start("send", port_of(receiver), "--file", str(path), "--loop", loop)

    assert receiver.recv(70_000) == content
    assert program.end()[0] == 0


@pytest.mark.parametrize("size", [0, 999, 1000, 1001, 150_000])
def test_a_file_is_cut(
    start: Start, receiver: socket.socket, tmp_path: Path, size: int
) -> None:
    """Into datagrams of one size, of which the last may be shorter."""
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    split = ("--file", str(path), "--split", "1000", "--rate", "5000")
    program = start("send", port_of(receiver), *split)
    parts = take(receiver, max(1, -(-size // 1000)))

    assert b"".join(parts) == content
    assert {len(part) for part in parts[:-1]} <= {1000}
    assert program.end()[0] == 0


def test_a_file_from_standard_input(start: Start, receiver: socket.socket) -> None:
    """A hyphen; it's read to its end first, and isn't taken for lines."""
    program = start("send", port_of(receiver), "--file", "-")
    program.type(b"one\n")

    status, _, _ = program.end(text=b"two\n")
    assert status == 0
    assert take(receiver, 1) == [b"one\ntwo\n"]


@pytest.mark.parametrize("where", ["file", "input"])
def test_a_file_that_is_too_long(
    start: Start, receiver: socket.socket, tmp_path: Path, where: str
) -> None:
    """The error names the limit and the option; nothing is sent."""
    path = tmp_path / "file"
    path.write_bytes(bytes(65_508))
    with path.open("rb") as file:
        name = "-" if where == "input" else str(path)
        program = start("send", port_of(receiver), "--file", name, stdin=file)
        status, _, errors = program.end()

    reason = "the file is 65,508 bytes long, and longer than a datagram, which holds "
    assert (status, errors[-1]) == (
        2,
        f"aioudp send: {reason}65,507 bytes; --split cuts it",
    )
    assert errors[0].startswith("received 0 (0 bytes), sent 0 (0 bytes)")


def test_a_rate_limits_datagrams(start: Start, receiver: socket.socket) -> None:
    """The first leaves at once, the others when they're due."""
    program = start("send", port_of(receiver), "--rate", "20", *"abcdef")
    assert take(receiver, 1) == [b"a"]
    began = time.monotonic()

    assert take(receiver, 5) == [b"b", b"c", b"d", b"e", b"f"]
    assert 0.2 <= time.monotonic() - began < 5
    assert program.end()[0] == 0


def test_lines_of_a_terminal(start: Start, receiver: socket.socket, loop: str) -> None:
    """Standard input may be a terminal; Ctrl-D ends it."""
    keyboard, terminal = os.openpty()
    try:
        program = start("send", "--loop", loop, port_of(receiver), stdin=terminal)
        os.write(keyboard, b"typed\n")
        assert take(receiver, 1) == [b"typed"]
        os.write(keyboard, b"\x04")
        assert program.end()[0] == 0
        assert os.get_blocking(terminal)  # it belongs to the shell as well
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_line(
    start: Start, receiver: socket.socket, loop: str, signum: signal.Signals
) -> None:
    """The statistics are printed, and the status is that of an interrupted program."""
    program = start("send", "--loop", loop, port_of(receiver))
    program.type(b"hello\n")
    assert take(receiver, 1) == [b"hello"]

    status, _, errors = program.end(signum=signum)

    assert status == 130
    assert errors == ["received 0 (0 bytes), sent 1 (5 bytes), dropped 0, errors 0"]


def test_wait_prints_replies(start: Start, receiver: socket.socket, loop: str) -> None:
    """With --wait the replies are printed when they come, in any format."""
    port = port_of(receiver)
    program = start("send", "--loop", loop, port, "--wait", "0.05", "--format", "hex")
    program.type(b"ping\n")
    data, addr = receiver.recvfrom(100)
    receiver.sendto(data.upper(), addr)

    assert program.line() == f"127.0.0.1:{port} 4 bytes"
    assert program.line().startswith("0000  50 49 4e 47")
    statistics = "received 1 (4 bytes), sent 1 (4 bytes), dropped 0, errors 0"
    assert program.end() == (0, [], [statistics])


def test_without_wait_replies_are_not_printed(
    start: Start, receiver: socket.socket
) -> None:
    """They are received, because there may be a refusal among them, and counted."""
    program = start("send", port_of(receiver))
    program.type(b"ping\n")
    data, addr = receiver.recvfrom(100)
    receiver.sendto(data, addr)

    statistics = "received 1 (4 bytes), sent 1 (4 bytes), dropped 0, errors 0"
    assert program.end() == (0, [], [statistics])


def test_hex_arguments(start: Start, receiver: socket.socket) -> None:
    """With --hex the arguments are digits, in pairs that spaces may part."""
    program = start("send", "--hex", port_of(receiver), "00 ff", "0A0b", "")

    assert take(receiver, 3) == [b"\x00\xff", b"\x0a\x0b", b""]
    assert program.end()[0] == 0


def test_hex_lines(start: Start, receiver: socket.socket) -> None:
    """So are the lines of standard input."""
    program = start("send", "--hex", port_of(receiver))

    status, _, errors = program.end(text=b"c0 de\nc\xff\n")

    assert take(receiver, 1) == [b"\xc0\xde"]
    assert (status, errors[-1]) == (1, r"aioudp send: not hexadecimal: c\xff")


def test_wrong_hex_sends_nothing(start: Start, receiver: socket.socket) -> None:
    """All arguments are read before the first is sent."""
    program = start("send", "--hex", port_of(receiver), "00", "0g")

    status, _, errors = program.end()

    assert (status, errors[-1]) == (2, "aioudp send: not hexadecimal: 0g")
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


def test_local_address(start: Start, tmp_path: Path) -> None:
    """With --local the sender is known before, and a UNIX peer can answer it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(f"{tmp_path}/server")
        server, client = f"unix:{tmp_path}/server", f"unix:{tmp_path}/client"
        program = start("send", server, "--local", client, "--wait", "0")
        program.type(b"hello\n")

        assert sock.recvfrom(100) == (b"hello", f"{tmp_path}/client")
        sock.sendto(b"hello yourself", f"{tmp_path}/client")

        assert program.line() == f"{server} hello yourself"
        assert program.end()[0] == 0


@pytest.mark.parametrize("input_", ["arguments", "lines"])
def test_a_refusal_is_reported(
    start: Start, free_port: str, loop: str, input_: str
) -> None:
    """A peer that nobody listens at ends the program, even in the middle of input."""
    arguments = ["hello"] if input_ == "arguments" else []
    program = start("send", "--loop", loop, free_port, *arguments)
    if not arguments:
        program.type(b"hello\n")

    assert program.error_line().startswith("received 0 (0 bytes), sent 1 (5 bytes)")
    refusal = f"127.0.0.1:{free_port}: connection refused, nobody listens there"
    assert program.error_line() == f"aioudp send: {refusal}"
    assert program.end() == (1, [], [])


def test_replies_that_nobody_reads_end_it(
    start: Start, receiver: socket.socket
) -> None:
    """A broken pipe ends it without a traceback."""
    program = start("send", port_of(receiver), "ping", "--wait", "60")
    assert program.process.stdout is not None
    program.process.stdout.close()
    program.process.stdout = None
    data, addr = receiver.recvfrom(100)
    receiver.sendto(data, addr)

    status, _, errors = program.end()

    assert status == 1
    assert errors == ["received 1 (4 bytes), sent 1 (4 bytes), dropped 0, errors 0"]


def test_broadcast(start: Start) -> None:
    """With --broadcast every socket on the port and on every address gets it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("0.0.0.0", 0))
        program = start("send", "-b", f"127.255.255.255:{port_of(sock)}", "everybody")

        assert take(sock, 1) == [b"everybody"]
        assert program.end()[0] == 0


def test_broadcast_must_be_asked_for(start: Start) -> None:
    """Without --broadcast the system refuses, and the message says what to do."""
    program = start("send", "127.255.255.255:9", "everybody")

    status, output, errors = program.end()
    reason = "Permission denied (connecting to 127.255.255.255:9; "
    advice = "a broadcast address needs --broadcast)"
    assert (status, output) == (1, [])
    assert errors == [f"aioudp send: {reason}{advice}"]


@pytest.mark.parametrize("arguments", [["-6", "9"], ["unix:/nowhere"]])
def test_broadcast_is_ipv4_only(start: Start, arguments: list[str]) -> None:
    """Nothing else has broadcast addresses."""
    program = start("send", "--broadcast", *arguments, "everybody")

    reason = "only IPv4 has broadcast addresses"
    assert program.end() == (2, [], [f"aioudp send: {reason}"])


def test_ipv6(start: Start) -> None:
    """With -6 a port alone is one of this machine's IPv6 loopback address."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("cannot: ipv6: ::1 cannot be bound")
        sock.settimeout(10)
        program = start("send", "-6", port_of(sock), "hello")

        assert take(sock, 1) == [b"hello"]
        assert program.end()[0] == 0


def test_a_datagram_too_long_is_reported(start: Start, receiver: socket.socket) -> None:
    """The error says how long it was and where it was to go."""
    program = start("send", port_of(receiver))

    status, _, errors = program.end(text=b"x" * 65_530)

    assert status == 1
    assert errors[-1].startswith("aioudp send: Message too long (")
    assert "65530 bytes" in errors[-1]


def test_a_closed_standard_input_is_reported(start: Start, loop: str) -> None:
    """Its number must not go to a socket, which would be read as lines."""
    program = start("send", "--loop", loop, "9", redirect="<&-")

    reason = "standard input is closed"
    status, _, errors = program.end()
    assert (status, errors[-1]) == (1, f"aioudp send: {reason}")
