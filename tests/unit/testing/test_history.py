"""The history: as a table, as a capture, as a diagram."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from aioudp import testing
from aioudp._system.pcap import checksum
from aioudp.testing import SimulatedNetwork


def recorded() -> SimulatedNetwork:
    """Return a network on which something has happened, over both IP versions."""
    net = SimulatedNetwork(1, delay=0.25)

    async def main() -> None:
        net.host("10.0.0.1", "2001:db8:1::1")
        net.host("10.0.0.2", "2001:db8:1::2")
        async with (
            net.host("10.0.0.1").bind(("", 9999)) as server,
            net.host("10.0.0.2").bind(("", 4242)) as client,
        ):
            await client.send(b"hello <world>", ("10.0.0.1", 9999), tos=0x2E)
            await client.send(b"odd", ("2001:db8:1::1", 9999))
            await server.recv()
            with net.link("10.0.0.1", "10.0.0.2", loss=1.0):
                await server.send(b"lost", ("10.0.0.2", 4242))
            await server.recv()
            await client.send(b"", ("10.0.0.1", 1))

    testing.run(main())
    return net


def test_the_table_has_a_line_for_each() -> None:
    """Number, times, addresses, size, fate and payload; and how many are left out."""
    table = recorded().history.table()

    assert len(table.splitlines()) == 5
    assert (
        "10.0.0.2:4242 > 10.0.0.1:9999     13 B  delivered  b'hello <world>'" in table
    )
    assert "[2001:db8:1::2]:4242 > [2001:db8:1::1]:9999" in table
    shortened = recorded().history.table(last=1).splitlines()
    assert shortened[0] == "(the first 3 datagrams are not shown)"
    assert len(shortened) == 3
    with pytest.raises(ValueError, match="last must be 0 or more"):
        recorded().history.table(last=-1)


def test_the_history_forgets_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded in records and in bytes."""
    monkeypatch.setattr("aioudp.testing.history.FORGET_RECORDS", 10)
    net = SimulatedNetwork()

    async def main() -> None:
        async with net.bind(("10.0.0.1", 1)), net.connect(("10.0.0.1", 1)) as client:
            for _ in range(25):
                await client.send(b"")

    testing.run(main())

    assert (len(net.history), net.history.forgotten) == (10, 15)
    assert net.history[0].number == 15
    assert "(the first 15 datagrams are not shown)" in net.history.table()


def test_the_capture_has_right_checksums() -> None:
    """Summed up with its checksum, every header and every datagram gives zero."""
    capture = recorded().history.pcap()
    assert struct.unpack_from("<I", capture)[0] == 0xA1B23C4D
    position, packets = 24, []
    while position < len(capture):
        seconds, nanoseconds, length, _ = struct.unpack_from("<IIII", capture, position)
        packet = capture[position + 16 : position + 16 + length]
        packets.append((seconds + nanoseconds / 1e9, packet))
        position += 16 + length

    assert len(packets) == 4
    times = [time - 946_684_800 for time, _ in packets]
    assert times == pytest.approx([0, 0, 0.25, 0.25])
    for _, packet in packets:
        v6 = packet[0] >> 4 == 6
        addresses = packet[8:40] if v6 else packet[12:20]
        udp = packet[40:] if v6 else packet[20:]
        pseudo = addresses + struct.pack("!II", len(udp), socket.IPPROTO_UDP)
        assert checksum(pseudo + udp) == 0
        assert v6 or checksum(packet[:20]) == 0
        assert struct.unpack_from("!H", udp, 4)[0] == len(udp)


@pytest.mark.skipif(
    shutil.which("tshark") is None, reason="cannot: tshark: it is not installed"
)
def test_tshark_reads_the_capture(tmp_path: Path) -> None:
    """Addresses, ports and payloads are those of the history."""
    path = tmp_path / "net.pcap"
    path.write_bytes(recorded().history.pcap(arrived=True))
    fields = ["ip.src", "ipv6.src", "udp.srcport", "udp.dstport", "data.data"]
    command = ["tshark", "-r", str(path), "-T", "fields", "-o"]
    command += ["udp.check_checksum:TRUE", "-e", "udp.checksum.status"]
    for name in fields:
        command += ["-e", name]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [line.split("\t") for line in printed.stdout.splitlines()]

    assert rows[0] == ["1", "10.0.0.2", "", "4242", "9999", b"hello <world>".hex()]
    assert rows[1] == ["1", "", "2001:db8:1::2", "4242", "9999", b"odd".hex()]


def test_the_diagram_is_svg_with_everything_on_it() -> None:
    """It parses, names the hosts, and has an arrow for each datagram."""
    history = recorded().history
    root = ElementTree.fromstring(history.svg())
    texts = [element.text or "" for element in root.iter() if element.text]
    paths = [one for one in root.iter() if "arrow" in one.get("class", "")]

    assert {"10.0.0.1", "10.0.0.2", "2001:db8:1::1"} <= set(texts)
    assert any("hello <world>" in text for text in texts)
    assert any("lost" in text for text in texts)
    assert len(paths) == len(history)
    assert ElementTree.fromstring(testing.History().svg()) is not None
