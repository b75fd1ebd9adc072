"""``aioudp listen --raw``, ``--reply`` and ``--rates``, and displays on a terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals, no terminals", allow_module_level=True)

import aioudp
from aioudp.cli import watch

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

LOCALHOST = "127.0.0.1"


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    """Return three bound sockets."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in sockets:
        sock.bind((LOCALHOST, 0))
        sock.settimeout(10)
    yield sockets
    for sock in sockets:
        sock.close()


def name_of(sock: socket.socket) -> str:
    return f"{LOCALHOST}:{sock.getsockname()[1]}"


class Screen:
    """A pseudo-terminal that a program writes to."""

    def __init__(self) -> None:
        self._keyboard, self.terminal = os.openpty()
        self._seen = ""

    def shows(self, pattern: str) -> str:
        """Read until the pattern has been shown; return all so far."""
        deadline = time.monotonic() + 15
        while not re.search(pattern, self._seen):
            left = deadline - time.monotonic()
            assert left > 0, f"not shown: {pattern!r} in {self._seen!r}"
            if select.select([self._keyboard], [], [], left)[0]:
                text = os.read(self._keyboard, 65536).decode()
                self._seen += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
        return self._seen

    def close(self) -> None:
        os.close(self._keyboard)
        os.close(self.terminal)


@pytest.fixture
def screen() -> Iterator[Screen]:
    """Return a terminal of 100 columns."""
    screen = Screen()
    yield screen
    screen.close()


# -- raw


def test_raw(start: Start, peers: list[socket.socket], tmp_path: Path) -> None:
    """Payloads are written as they are, with nothing between them or after them."""
    payloads = [b"\x00\xff\n", b"", b"\x1b[2J", bytes(range(256))]
    with (tmp_path / "out").open("wb") as out:
        program = start("listen", f"{LOCALHOST}:0", "--raw", "-c", "4", stdout=out)
        port = program.port()
        for payload in payloads:
            peers[0].sendto(payload, (LOCALHOST, port))
        assert program.end()[0] == 0

    assert (tmp_path / "out").read_bytes() == b"".join(payloads)


def test_a_raw_payload_is_written_at_once(
    start: Start, peers: list[socket.socket]
) -> None:
    """The reader of a pipe sees each when it comes."""
    program = start("listen", f"{LOCALHOST}:0", "--format", "raw")
    peers[0].sendto(b"no line", (LOCALHOST, program.port()))

    assert program.process.stdout is not None
    assert os.read(program.process.stdout.fileno(), 100) == b"no line"
    assert program.end(signum=signal.SIGINT)[0] == 0


# -- conversations


def test_a_conversation(start: Start, peers: list[socket.socket], loop: str) -> None:
    """Each line goes to whoever sent last, and standard error says who that is."""
    program = start("listen", f"{LOCALHOST}:0", "--reply", "--loop", loop)
    port = program.port()
    for peer, line in ((peers[0], b"one"), (peers[0], b"two"), (peers[1], b"three")):
        peer.sendto(b"say " + line, (LOCALHOST, port))
        assert program.line() == f"{name_of(peer)} say {line.decode()}"
        if line != b"two":
            assert program.error_line() == f"answering {name_of(peer)}"
        program.type(line + b"\n")
        assert peer.recvfrom(100) == (line, (LOCALHOST, port))

    statistics = "received 3 (23 bytes), sent 3 (11 bytes), dropped 0, errors 0"
    assert program.end(text=b"") == (0, [], [statistics])


def test_input_waits_for_somebody(
    start: Start, peers: list[socket.socket], tmp_path: Path
) -> None:
    """What is piped in goes to the first who sends; then the input ends it."""
    path = tmp_path / "input"
    path.write_bytes(b"pong\nlast")
    with path.open("rb") as file:
        program = start("listen", f"{LOCALHOST}:0", "--reply", stdin=file)
        port = program.port()
        # Nobody has sent anything: there is no time at which it would be read.
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.3)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
        peers[0].sendto(b"ping", (LOCALHOST, port))

        assert [peers[0].recv(100), peers[0].recv(100)] == [b"pong", b"last"]
        assert program.end()[0] == 0


def test_with_a_timeout_the_answer_to_the_last_line_is_printed(
    start: Start, peers: list[socket.socket]
) -> None:
    """Silence ends it then, and not the end of the input."""
    program = start("listen", f"{LOCALHOST}:0", "--reply", "-t", "0.5", "--raw")
    port = program.port()
    peers[0].sendto(b"?", (LOCALHOST, port))
    program.type(b"question\n")
    assert peers[0].recv(100) == b"question"
    assert program.process.stdin is not None
    program.process.stdin.close()
    program.process.stdin = None
    peers[0].sendto(b"answer", (LOCALHOST, port))

    assert program.end()[:2] == (0, ["?answer"])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("heard", [False, True])
def test_a_signal_ends_a_conversation(
    start: Start, peers: list[socket.socket], signum: signal.Signals, heard: bool
) -> None:
    """With the statistics and status 0, also while nobody has sent anything."""
    program = start("listen", f"{LOCALHOST}:0", "--reply")
    port = program.port()
    if heard:
        peers[0].sendto(b"hello", (LOCALHOST, port))
        assert program.line()
        assert program.error_line().startswith("answering ")

    status, output, errors = program.end(signum=signum)
    assert (status, output) == (0, [])
    assert errors[0].startswith(f"received {int(heard)} ")


def test_a_sender_without_an_address(start: Start, tmp_path: Path) -> None:
    """It can't be answered; the line says so, and the conversation goes on."""
    path = tmp_path / "s"
    program = start("listen", f"unix:{path}", "--reply")
    assert program.error_line() == f"listening on unix:{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anonymous", str(path))
    assert program.line() == "unix: anonymous"
    assert program.error_line() == "answering unix:"
    program.type(b"who?\n")
    assert program.error_line().startswith("aioudp listen: ")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(str(tmp_path / "c"))
        sock.sendto(b"named", str(path))
        assert program.line() == f"unix:{tmp_path}/c named"
        program.type(b"you\n")
        assert sock.recv(100) == b"you"

    assert program.end(text=b"")[0] == 0


# -- rates


def test_a_line_of_rates(start: Start, peers: list[socket.socket], loop: str) -> None:
    """Without a terminal, a line per second; the last one when the count is reached."""
    program = start("listen", f"{LOCALHOST}:0", "--rates", "-c", "5", "--loop", loop)
    port = program.port()
    for peer, times in ((peers[0], 3), (peers[1], 2)):
        for _ in range(times):
            peer.sendto(bytes(100), (LOCALHOST, port))

    status, lines, errors = program.end()
    assert status == 0
    assert re.fullmatch(
        r"2 peers, [\d,]+ datagrams/s, [\d.]+ k?B/s, dropped 0(, buffer \d+%)?",
        lines[-1],
    )
    assert errors[-1].startswith("received 5 (500 bytes)")


def test_rates_as_json(start: Start, peers: list[socket.socket]) -> None:
    """The busiest peers are listed, those with the most bytes first."""
    program = start("listen", f"{LOCALHOST}:0", "--rates", "--json", "-c", "5")
    port = program.port()
    for peer, times in ((peers[0], 3), (peers[1], 2)):
        for _ in range(times):
            peer.sendto(bytes(100), (LOCALHOST, port))

    status, lines, _ = program.end()
    entries = [json.loads(line) for line in lines]
    assert status == 0
    last = entries[-1]
    assert (last["peers"], last["received"], last["received_bytes"]) == (2, 5, 500)
    assert last["dropped"] == 0
    if sys.platform == "linux":
        assert last["buffer_size"] > 0
    found = {one["addr"]: one["received"] for one in last["busiest"]}
    assert found == {name_of(peers[0]): 3, name_of(peers[1]): 2}
    assert last["busiest"][0]["host"] == LOCALHOST
    sent = sum(one["datagrams_per_second"] * one["seconds"] for one in entries)
    assert sent == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(("count", "status"), [([], 0), (["--count", "1"], 1)])
def test_silence_ends_rates(start: Start, count: list[str], status: int) -> None:
    """As without --rates."""
    program = start("listen", f"{LOCALHOST}:0", "--rates", "-t", "0.05", *count)

    assert program.port()
    assert program.end()[:2] == (status, [])


def test_rates_on_a_terminal(
    start: Start, peers: list[socket.socket], screen: Screen
) -> None:
    """A table of the peers, and the same line above it; a signal ends it."""
    program = start(
        "listen",
        f"{LOCALHOST}:0",
        "--rates",
        stdout=screen.terminal,
        env={"TERM": "xterm"},
    )
    port = program.port()
    peers[0].sendto(bytes(1500), (LOCALHOST, port))

    screen.shows(r"1 peer, [\d,]+ datagrams/s")
    screen.shows(r"peer +datagrams/s +bytes/s +datagrams +bytes")
    screen.shows(rf"{name_of(peers[0])} +\d+ +[\d.]+ k?B +1 +1\.5 kB")
    status, _, errors = program.end(signum=signal.SIGTERM)
    assert status == 0
    assert errors[-1].startswith("received 1 (1500 bytes)")


def test_a_relay_on_a_terminal(
    start: Start, peers: list[socket.socket], screen: Screen
) -> None:
    """A table of what has become of the datagrams, in both directions."""
    server, client, _ = peers
    program = start(
        "relay",
        f"{LOCALHOST}:0",
        name_of(server),
        stderr=screen.terminal,
        env={"TERM": "xterm"},
    )
    port = int(
        re.findall(r"listening on [\d.]+:(\d+)", screen.shows(r"listening.*\d\r"))[0]
    )
    client.sendto(b"there", (LOCALHOST, port))
    data, addr = server.recvfrom(100)
    server.sendto(data, addr)
    assert client.recv(100) == b"there"

    screen.shows(r"to the server +\S+ +last second +\S+ +to clients")
    screen.shows(r"delivered +\S+ +1 +\S+ +[01] +\S+ +1")
    program.process.send_signal(signal.SIGTERM)
    screen.shows("2 datagrams of 1 client: 2 delivered")
    assert program.end()[0] == 0


def test_peers_beyond_the_limit_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody can forge any number of senders."""
    monkeypatch.setattr(watch, "MAX_PEERS", 2)
    peers = watch.Peers()
    batch = aioudp.DatagramBatch._of(
        aioudp.Datagram(bytes(10), (LOCALHOST, 1000 + number % 4))
        for number in range(8)
    )
    peers.add(batch)

    assert len(peers.known) == 2
    assert [peer.datagrams for peer in peers.known.values()] == [2, 2]
    assert (peers.others.datagrams, peers.others.size) == (4, 40)


async def test_drops_and_the_buffer_are_seen() -> None:
    """The gauge keeps the highest level of the interval."""
    if sys.platform != "linux":
        pytest.skip("cannot: linux: no other system tells")
    async with aioudp.bind((LOCALHOST, 0), receive_buffer=20_000) as endpoint:
        endpoint.transport.pause_reading()
        gauge: Any = watch.Gauge(endpoint)
        before = gauge.peak
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(100):
                sock.sendto(bytes(1000), endpoint.local_addr)
        gauge.sample()
        overview = watch.Overview(watch.Peers(), gauge, 1.0)

        assert before == 0
        assert 0.5 < gauge.peak / gauge.size <= 1.2
        assert re.search(r"dropped [1-9][\d, to]*, buffer \d+%", overview.line())
        assert overview.as_json(0.0)["dropped"] > 0
