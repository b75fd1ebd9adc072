"""The tools that people try a UDP service with: dig, logger, nc, socat."""

from __future__ import annotations

import asyncio
import re
import struct
import sys

import pytest

import aioudp

from ..examples.programs import serving
from .tools import HOST, PATIENCE, output_of

if sys.platform == "win32":
    pytest.skip("cannot: posix: no such tools", allow_module_level=True)


def resolve(query: bytes, addr: aioudp.Address) -> bytes:
    """Answer the question of a DNS query with 192.0.2.7."""
    question = query[12 : query.index(b"\0", 12) + 5]
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
    return query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question + record


def echo(data: bytes, addr: aioudp.Address) -> bytes:
    return data


@pytest.mark.peer("dig")
async def test_dig() -> None:
    """It gets its answer, straight from a server and through the forwarder."""
    async with aioudp.serve(resolve, (HOST, 0)) as server:
        upstream = server.local_addr[1]
        with serving("dns_forwarder", HOST, upstream) as forwarder:
            for port in upstream, forwarder.port:
                options = "+short", "+tries=1", "+time=5"
                found = await output_of(
                    "dig", f"@{HOST}", "-p", port, "example.org", *options
                )
                assert found == "192.0.2.7\n"
        assert server.stats().requests == 2


@pytest.mark.peer("logger")
async def test_logger() -> None:
    """Its message arrives, with a priority."""
    async with aioudp.bind((HOST, 0)) as endpoint:
        port = endpoint.local_addr[1]
        await output_of(
            "logger", "-n", HOST, "-d", "-P", port, "-p", "auth.crit", "hello there"
        )
        async with asyncio.timeout(PATIENCE):
            data, _ = await endpoint.recv()

    assert re.fullmatch(rb"<34>.*hello there", data)


@pytest.mark.peer("nc")
async def test_nc() -> None:
    """What it sends comes back, and is printed."""
    async with aioudp.serve(echo, (HOST, 0)) as server:
        port = server.local_addr[1]
        printed = await output_of("nc", "-u", "-w", 1, HOST, port, text="hello\n")

    assert printed == "hello\n"


@pytest.mark.peer("socat")
async def test_socat() -> None:
    """What it sends comes back, and is printed."""
    async with aioudp.serve(echo, (HOST, 0)) as server:
        address = f"UDP:{HOST}:{server.local_addr[1]}"
        printed = await output_of("socat", "-t", 1, "-", address, text="hello\n")

    assert printed == "hello\n"
