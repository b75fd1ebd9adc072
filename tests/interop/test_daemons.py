"""The daemons and clients of real protocols: SNMP, NTP, CoAP, iperf3."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Final

import pytest

import aioudp
from aioudp.testing import LossyRelay

from ..examples import programs
from . import ber
from .tools import HOST, free_port, output_of, running, until_bound

if sys.platform == "win32":
    pytest.skip("cannot: posix: no such tools", allow_module_level=True)

SYS_NAME: Final = "1.3.6.1.2.1.1.5.0"
SYS_NAME_ENCODED: Final = bytes([0x2B, 6, 1, 2, 1, 1, 5, 0])


@pytest.mark.peer("snmpget")
async def test_snmpget() -> None:
    """A handler of ``serve`` is an agent for it."""

    def agent(data: bytes, addr: aioudp.Address) -> bytes | None:
        kind, number, name, _ = ber.fields(data)
        assert (kind, name) == (ber.GET, SYS_NAME_ENCODED)
        value = ber.tlv(ber.OCTETS, b"a name of ours")
        return ber.message(ber.RESPONSE, number, name, value)

    async with aioudp.serve(agent, (HOST, 0)) as server:
        options = ("-v2c", "-c", "public", "-On", "-Oqv", "-t", 5, "-r", 0)
        peer = f"{HOST}:{server.local_addr[1]}"
        printed = await output_of("snmpget", *options, peer, SYS_NAME)

    assert printed.strip().strip('"') == "a name of ours"


@pytest.mark.peer("snmpd")
async def test_snmpd(tmp_path: Path) -> None:
    """Its answers reach a client's requests, many at once, by their request-ids."""
    port = free_port()
    config = tmp_path / "snmpd.conf"
    config.write_text(
        f"agentAddress udp:{HOST}:{port}\n"
        f"rocommunity public {HOST}\n"
        "sysName a name of its own\n"
        f"persistentDir {tmp_path}\n"
    )
    log = tmp_path / "log"
    async with running("snmpd", "-f", "-Lo", "-C", "-c", config, log=log):
        await until_bound(port)
        async with aioudp.open_client(
            (HOST, port), key=lambda data: ber.fields(data)[1], timeout=2
        ) as client:
            requests = [
                ber.message(
                    ber.GET, bytes([1, n]), SYS_NAME_ENCODED, ber.tlv(ber.NULL, b"")
                )
                for n in range(50)
            ]
            answers = await asyncio.gather(*map(client.request, requests))

    for number, answer in enumerate(answers):
        expected = ber.RESPONSE, bytes([1, number]), SYS_NAME_ENCODED
        assert ber.fields(answer.data) == (*expected, b"a name of its own")


@pytest.mark.peer("chronyd")
async def test_chronyd(tmp_path: Path) -> None:
    """The NTP client of the examples asks it for the time of this machine."""
    port = free_port()
    config = tmp_path / "chrony.conf"
    config.write_text(
        f"port {port}\nbindaddress {HOST}\nallow {HOST}\nlocal stratum 8\n"
        f"cmdport 0\nbindcmdaddress /\npidfile {tmp_path}/pid\n"
    )
    log = tmp_path / "log"
    command = ("chronyd", "-d", "-x", "-U", "-u", "root", "-f", config)
    async with running(*command, log=log):
        await until_bound(port)
        printed = await asyncio.to_thread(programs.run, "ntp_client", HOST, port)

    words = printed.split()
    assert words[0] == "offset"
    assert abs(float(words[1])) < 0.1  # it has no other clock to be right about


@pytest.mark.peer("coap-client")
async def test_coap_client() -> None:
    """A handler of ``serve`` answers its confirmable request in the acknowledgement."""

    def resource(data: bytes, addr: aioudp.Address) -> bytes:
        # RFC 7252 section 3: version, type and token length; code; message id.
        token = data[4 : 4 + (data[0] & 15)]
        acknowledgement = bytes([0x60 | len(token), 0x45]) + data[2:4]
        return acknowledgement + token + b"\xff" + b"21.5 degrees"

    async with aioudp.serve(resource, (HOST, 0), dedupe=lambda data: data[2:4]) as it:
        uri = f"coap://{HOST}:{it.local_addr[1]}/temperature"
        printed = await output_of("coap-client-notls", "-m", "get", "-B", 5, uri)

    assert "21.5 degrees" in printed


@pytest.mark.peer("iperf3")
async def test_iperf3(tmp_path: Path) -> None:
    """Its datagrams cross a relay; it reports the losses that the relay counts."""
    server, relayed = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)

    async def forward(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def control(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection(HOST, server)
        await asyncio.gather(forward(reader, back), forward(there, writer))

    log = tmp_path / "log"
    listening = ("iperf3", "--server", "--one-off", "--bind", HOST, "--port", server)
    async with running(*listening, log=log):
        await until_bound(server, "tcp")
        # It dials a second connection, with datagrams, to the port of the first.
        proxy = await asyncio.start_server(control, HOST, relayed)
        relay = LossyRelay((HOST, relayed), (HOST, server), seed=1, loss=0.5)
        # Neither its greeting nor the last ones, which it wouldn't miss.
        relay.judge = lambda fault: 100 <= fault.number < 300
        async with proxy, relay:
            options = ("--udp", "--length", 1000, "--bitrate", "10M", "--json")
            printed = await output_of(
                *("iperf3", "--client", HOST, "--port", relayed, *options),
                *("--time", 1),
            )

    summary = json.loads(printed)["end"]["sum"]
    assert summary["packets"] > 500
    assert summary["lost_packets"] == relay.history.fates()["lost"] > 50
