"""The larger examples: services that people write, run as programs."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

from aioudp import testing

from .programs import ENVIRONMENT, PATIENCE, Server, run, serving

if sys.platform == "win32":
    pytest.skip(
        "cannot: posix: programs can't be asked to end", allow_module_level=True
    )

HOST: Final = "127.0.0.1"


@contextmanager
def udp_socket() -> Iterator[socket.socket]:
    """Open a socket on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind((HOST, 0))
        yield sock


def end(server: Server) -> list[str]:
    """Send SIGTERM, and return the lines that it still prints."""
    server.process.send_signal(signal.SIGTERM)
    return remaining(server)


def remaining(server: Server) -> list[str]:
    assert server.process.stdout is not None
    lines = server.process.stdout.read().splitlines()
    assert server.process.wait(PATIENCE) == 0
    return lines


# -- the DNS forwarder

QUESTION: Final = b"\x07example\x03org\x00" + struct.pack("!2H", 1, 1)
QUERY: Final = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + QUESTION


def dns_answer(query: bytes) -> bytes:
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
    header = struct.pack("!5H", 0x8180, 1, 1, 0, 0)
    return query[:2] + header + QUESTION + record


def test_dns_forwarder() -> None:
    """The right answer comes, under the client's id, and no forged one."""
    with (
        udp_socket() as upstream,
        udp_socket() as client,
        serving("dns_forwarder", HOST, upstream.getsockname()[1]) as server,
    ):
        client.connect((HOST, server.port))
        client.send(b"garbage that is no query")
        client.send(dns_answer(QUERY))  # an answer: it must not be answered
        client.send(QUERY)
        query, addr = upstream.recvfrom(1000)
        assert query[2:] == QUERY[2:]
        right = dns_answer(query)
        other_question = right.replace(b"example", b"forgery")
        other_id = bytes([right[0] ^ 1]) + right[1:]
        for answer in (b"", right[:20], other_question, other_id, right):
            upstream.sendto(answer, addr)

        assert client.recv(1000) == dns_answer(QUERY)
        client.setblocking(False)
        assert end(server) == []
        with pytest.raises(BlockingIOError):
            client.recv(1000)


def test_dns_forwarder_without_an_upstream() -> None:
    """A query that can't be answered gets the answer "server failure"."""
    with udp_socket() as nobody:
        port = nobody.getsockname()[1]
    with udp_socket() as client, serving("dns_forwarder", HOST, port) as server:
        client.sendto(QUERY, (HOST, server.port))
        failure = client.recv(1000)

    assert failure[:2] == QUERY[:2]
    assert struct.unpack_from("!5H", failure, 2) == (0x8102, 1, 0, 0, 0)
    assert failure[12:] == QUESTION


# -- the statsd collector


def test_statsd_collector() -> None:
    """The sums of all reports are exact, and one comes each second."""
    with ExitStack() as stack:
        server = stack.enter_context(serving("statsd_collector", HOST, 0))
        senders = [stack.enter_context(udp_socket()) for _ in range(3)]
        lines, times = [], []
        for _ in range(3):
            for sender in senders:
                for _ in range(20):
                    text = b"a:0.1|c\nb:1|c|@0.3\nno counter"
                    sender.sendto(text, (HOST, server.port))
            while True:  # the report of a second ends with what was refused
                lines.append(server.line())
                if lines[-1].startswith("statsd.refused"):
                    times.append(time.monotonic())
                    break
        hostile = b"a:1e999999999|c", b"a:1|c|@0.0", b"a:" + b"9" * 1000 + b"|c"
        for packet in hostile:
            senders[0].sendto(packet, (HOST, server.port))
        lines += end(server)

    assert 0.5 < times[1] - times[0] < 5  # a second, if nobody else needs the machine
    sums: dict[str, Fraction] = {}
    for line in lines:
        name, value = line.split()
        sums[name] = sums.get(name, Fraction(0)) + Fraction(value)
    assert sums == {"a": 18, "b": 600, "statsd.refused": 183}


# -- the syslog receiver


def test_syslog_receiver_loses_nothing_on_sigterm(tmp_path: Path) -> None:
    """What the kernel holds when the signal arrives is stored before the end."""
    database = tmp_path / "messages.db"
    with (
        serving("syslog_receiver", database, HOST, 0) as server,
        udp_socket() as sender,
    ):
        sender.connect((HOST, server.port))
        for number in range(100):
            sender.send(b"<34>message %d" % number)
        stored = 0
        while stored < 100:
            stored += int(server.line().removeprefix("stored "))
        server.process.send_signal(signal.SIGSTOP)
        for number in range(100, 200):
            sender.send(b"<34>message %d" % number)
        sender.send(b"no priority, \xff\x00")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        *batches, last = remaining(server)

    assert last == "dropped 0"
    assert sum(int(line.removeprefix("stored ")) for line in batches) == 101
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT host, facility, severity, text FROM messages ORDER BY rowid"
        ).fetchall()
    expected = [(HOST, 4, 2, f"message {number}") for number in range(200)]
    assert rows == [*expected, (HOST, 1, 5, "no priority, \\xff\x00")]


# -- the game server

STATE: Final = struct.Struct("!IHii")


def test_game_server() -> None:
    """Each of 1,000 players gets every state of a second, and one who can't prove
    where it is gets none.
    """
    with ExitStack() as stack:
        server = stack.enter_context(serving("game_server", HOST, 0))
        players = [stack.enter_context(udp_socket()) for _ in range(1000)]
        stranger = stack.enter_context(udp_socket())
        for player in players:
            player.connect((HOST, server.port))
            player.send(b"")
            ticket = player.recv(100)
            assert len(ticket) == 8
            player.send(ticket)
        stranger.sendto(ticket, (HOST, server.port))  # another player's
        line = server.line()
        while not line.endswith(" players 1000"):
            line = server.line()
        first = int(line.split()[1])
        players[0].send(struct.pack("!bb", 3, -4))
        start = time.monotonic()
        last = int(server.line().split()[1])
        took = time.monotonic() - start
        for player in players:
            ticks: list[int] = []
            while not ticks or ticks[-1] < last:
                tick, present, x, y = STATE.unpack(player.recv(100))
                ticks.append(tick)
            assert (present, x, y) == (1000, 3, -4)
            assert ticks == list(range(ticks[0], last + 1))
            assert ticks[0] <= first + 1
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(100)
        end(server)

    assert last - first == 60
    assert 0.5 < took < 5  # a second, if nobody else needs the machine


# -- the file transfer


def send_file(path: Path, port: int) -> str:
    return run("reliable_transfer", "send", path, HOST, port, 0.05)


async def test_reliable_transfer(tmp_path: Path) -> None:
    """The copy is the file, though the network loses, repeats and reorders."""
    original = tmp_path / "original"
    original.write_bytes(bytes(range(256)) * 1000 + b"end")
    copies = tmp_path / "copies"
    copies.mkdir()
    with serving("reliable_transfer", "receive", copies, HOST, 0) as server:
        async with testing.LossyRelay(
            (HOST, 0), (HOST, server.port), loss=0.1, duplicate=0.05, reorder=0.1
        ) as relay:
            port = relay.local_addr[1]
            printed = await asyncio.to_thread(send_file, original, port)
        end(server)

    found = re.fullmatch(r"([0-9a-f]{16}) sent again: (\d+)\n", printed)
    assert found is not None
    assert int(found[2]) > 0
    assert [path.name for path in copies.iterdir()] == [found[1]]
    assert (copies / found[1]).read_bytes() == original.read_bytes()


# -- readiness


@pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: a socket without a file is there"
)
@pytest.mark.parametrize("abstract", [False, True])
def test_ready_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    """The service manager hears when the server is ready, and when it stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        if abstract:
            manager.bind("")  # the system chooses a name
            name = "@" + manager.getsockname()[1:].decode()
        else:
            name = str(tmp_path / "notify")
            manager.bind(name)
        monkeypatch.setitem(ENVIRONMENT, "NOTIFY_SOCKET", name)
        with serving("ready_server", HOST, 0) as server, udp_socket() as client:
            assert manager.recv(100) == b"READY=1"
            client.sendto(b"hello", (HOST, server.port))
            assert client.recv(100) == b"HELLO"
            end(server)
            assert manager.recv(100) == b"STOPPING=1"


def test_ready_server_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves all the same."""
    monkeypatch.delitem(ENVIRONMENT, "NOTIFY_SOCKET", raising=False)
    with serving("ready_server", HOST, 0) as server:
        assert end(server) == []
