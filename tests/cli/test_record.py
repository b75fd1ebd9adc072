"""``aioudp record`` and ``aioudp replay``, as processes."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aioudp._system.pcap import read_datagrams

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform != "linux":
    pytest.skip("cannot: linux: errors read differently", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

SENT = [b"one", b"", b"three", b"x" * 1000, b"x" * 1000, b"y" * 1000, b"last"]


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """Return a bound socket of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        yield sock


def payloads(path: Path) -> list[bytes | None]:
    with path.open("rb") as file:
        return [data for _, data in read_datagrams(file)]


def recorded(start: Start, peer: socket.socket, path: Path, *options: str) -> str:
    """Record SENT until a signal, and return the last line."""
    program = start("record", str(path), "127.0.0.1:0", *options)
    port = program.port()
    for data in SENT:
        peer.sendto(data, ("127.0.0.1", port))
    status, output, errors = program.end(signum=signal.SIGTERM)
    assert (status, output, len(errors)) == (0, [], 1)
    return errors[0]


def test_round_trip(
    start: Start, peer: socket.socket, tmp_path: Path, loop: str
) -> None:
    """What was sent before the signal is in the file, and replayed from it."""
    path = tmp_path / "a.pcap"
    line = recorded(start, peer, path, "--loop", loop)

    assert line == ("received 7 (3012 bytes), recorded 7 in 1 complete file, dropped 0")
    assert payloads(path) == SENT
    assert [one.name for one in tmp_path.iterdir()] == ["a.pcap"]

    where = f"127.0.0.1:{peer.getsockname()[1]}"
    program = start("replay", str(path), where, "--speed", "max", "--loop", loop)
    assert [peer.recv(2000) for _ in SENT] == SENT
    status, output, errors = program.end()
    assert (status, output) == (0, [])
    assert errors[0].startswith("sent 7 (3012 bytes) in ")
    assert errors[0].endswith(" s, skipped 0, errors 0")


def test_bursts(start: Start, peer: socket.socket, tmp_path: Path) -> None:
    """A batch isn't reused before it's written, however the datagrams come."""
    path = tmp_path / "a.pcap"
    program = start("record", str(path), "127.0.0.1:0")
    there = ("127.0.0.1", program.port())
    sent = []
    for burst in range(3):
        for number in range(2000):
            sent.append(b"%d-%d" % (burst, number))
            peer.sendto(sent[-1], there)
            if number % 50 == 0:
                time.sleep(0.002)  # about as fast as it is read
        time.sleep(1.3)  # the scenario: longer than a progress interval
    program.end(signum=signal.SIGTERM)

    assert payloads(path) == sent


def test_rotation_by_size(start: Start, peer: socket.socket, tmp_path: Path) -> None:
    """No file is longer than asked, and together they have everything, in order."""
    line = recorded(
        start, peer, tmp_path / "a.pcap", "--rotate-size", "1500", "--exact"
    )
    files = sorted(tmp_path.iterdir())

    assert f"recorded 7 in {len(files)} complete files" in line
    assert [one.name for one in files[:2]] == ["a-00001.pcap", "a-00002.pcap"]
    assert all(one.stat().st_size <= 1500 for one in files)
    assert [data for one in files for data in payloads(one)] == SENT


def test_an_existing_file_is_kept(
    start: Start, peer: socket.socket, tmp_path: Path
) -> None:
    """It is an error in one line, before anything is recorded."""
    path = tmp_path / "a.pcap"
    path.write_bytes(b"precious")

    status, _, errors = start("record", str(path), "127.0.0.1:0").end()

    assert (status, errors[-1]) == (1, f"aioudp record: {path} exists already")
    assert path.read_bytes() == b"precious"


def test_a_damaged_file(start: Start, peer: socket.socket, tmp_path: Path) -> None:
    """What stands before the damage is sent; then one line says where it is."""
    path = tmp_path / "a.pcap"
    recorded(start, peer, path)
    path.write_bytes(path.read_bytes()[:-1])
    where = f"127.0.0.1:{peer.getsockname()[1]}"

    program = start("replay", str(path), where, "--speed", "max")
    assert [peer.recv(2000) for _ in SENT[:-1]] == SENT[:-1]
    status, _, errors = program.end()

    assert status == 1
    assert errors[0].startswith("sent 6 ")
    reason = f"{path}: it is damaged: it ends in the packet"
    assert errors[1].startswith(f"aioudp replay: {reason}")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x0a\x0d\x0d\x0a" + bytes(30)])
def test_no_pcap_file(
    start: Start, peer: socket.socket, tmp_path: Path, content: bytes
) -> None:
    """Another file is refused in one line."""
    path = tmp_path / "a"
    path.write_bytes(content)
    where = f"127.0.0.1:{peer.getsockname()[1]}"

    status, _, errors = start("replay", str(path), where).end()

    assert status == 1
    assert errors[-1].startswith(f"aioudp replay: {path}: it is ")


@pytest.mark.skipif(
    shutil.which("tshark") is None, reason="cannot: tshark: it is not installed"
)
def test_tshark_reads_it(start: Start, peer: socket.socket, tmp_path: Path) -> None:
    """Addresses, ports, header checksums and payloads are as they were."""
    path = tmp_path / "a.pcap"
    recorded(start, peer, path)
    names = ["ip.src", "ip.dst", "udp.srcport", "ip.checksum.status", "udp.payload"]
    command = [
        "tshark",
        "-r",
        str(path),
        "-T",
        "fields",
        "-o",
        "ip.check_checksum:TRUE",
    ]
    for name in names:
        command += ["-e", name]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)

    port = str(peer.getsockname()[1])
    assert [line.split("\t") for line in printed.stdout.splitlines()] == [
        ["127.0.0.1", "127.0.0.1", port, "1", data.hex()] for data in SENT
    ]
