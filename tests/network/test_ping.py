"""Sockets for ICMP: datagram sockets, and not UDP.

The kernel sends no trains on them, and they have no ports, so no endpoint can be over
one, and the loops of ``new_event_loop`` open them with the event loop's own method.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

import aioudp

from ..contract.dropin.support import Recorder
from .namespaces import Namespace

ECHO: Final = 8  # RFC 792: the type of a request; its answer has type 0


@pytest.fixture
def ping() -> Iterator[socket.socket]:
    """Return a ping socket, in a namespace where everybody may have one."""
    with Namespace() as namespace:
        namespace.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        with (
            namespace.entered(),
            socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP
            ) as sock,
        ):
            yield sock


def request(number: int) -> bytes:
    return struct.pack("!BBHHH", ECHO, 0, 0, 0, number) + b"question"


@pytest.mark.parametrize("as_", ["socket", "descriptor"])
async def test_a_ping_socket_is_not_adopted(ping: socket.socket, as_: str) -> None:
    """The error says what it is, and the socket stays its owner's (B023)."""
    with pytest.raises(ValueError, match="needs a UDP socket"):
        await aioudp.adopt(ping if as_ == "socket" else ping.fileno())

    assert ping.sendto(request(1), ("127.0.0.1", 0)) == 16


async def test_a_ping_socket_for_a_transport(ping: socket.socket) -> None:
    """It is refused as well, in the words that asyncio has for it (D20)."""
    with pytest.raises(ValueError, match="A UDP Socket was expected, got "):
        await aioudp.create_datagram_endpoint(Recorder, sock=ping)
    with pytest.raises(ValueError, match="protocol"):
        await aioudp.create_datagram_endpoint(
            Recorder, family=socket.AF_INET, proto=socket.IPPROTO_ICMP
        )


@pytest.mark.parametrize("base", ["asyncio", "uvloop"])
def test_pings_on_a_loop_of_ours(
    ping: socket.socket, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's own method opens it: four requests, four answers (D20)."""
    if base == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop", reason="cannot: uvloop: not installed")

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(Recorder, sock=ping)
        for number in range(4):
            transport.sendto(request(number), ("127.0.0.1", 0))
        await protocol.received(4)
        transport.close()
        await protocol.lost()
        return protocol.payloads

    answers = aioudp.run(main())

    assert [(answer[0], answer[7]) for answer in answers] == [(0, n) for n in range(4)]


def test_a_raw_socket_on_a_loop_of_ours(
    ping: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's own method says whether it takes it; asyncio's does not (D20)."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="ocket was expected, got "):
            await loop.create_datagram_endpoint(Recorder, sock=raw)

    with raw:
        aioudp.run(main())
