"""Trains: with offload, one read may give many datagrams."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, WAYS_TO_RECEIVE

if TYPE_CHECKING:
    from tests.conftest import Endpoints

Receive = Callable[[aioudp.Endpoint, int], Awaitable[list[aioudp.Datagram]]]

EVERY_WAY = pytest.mark.parametrize(
    "receive", WAYS_TO_RECEIVE.values(), ids=WAYS_TO_RECEIVE
)
OFFLOAD = pytest.mark.parametrize(
    "offload", [True, False], ids=["offload", "no-offload"]
)


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


def send_all(sock: socket.socket, endpoint: aioudp.Endpoint, *payloads: bytes) -> None:
    """Send the datagrams; on loopback they are in the kernel when this returns."""
    for payload in payloads:
        sock.sendto(payload, endpoint.local_addr)


def payloads_of(datagrams: list[aioudp.Datagram]) -> list[bytes]:
    return [data for data, _ in datagrams]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@OFFLOAD
@pytest.mark.parametrize(
    ("length", "segment_size"),
    [
        (1, 1),
        (100, 1),
        (1000, 1000),
        (1001, 1000),
        (2500, 1000),
        (14_720, 1472),
        (8192, 64),
        (65_507, 1472),
        (200_000, 500),
    ],
)
async def test_train(
    endpoints: Endpoints, offload: bool, length: int, segment_size: int
) -> None:
    """A train arrives as its datagrams, of the exact sizes, in order (B166) (B169)."""
    server, client = await endpoints.pair(offload=offload)
    data = random.Random(length).randbytes(length)

    await client.send(data, segment_size=segment_size)

    expected = cut(data, segment_size)
    received = await WAYS_TO_RECEIVE["recv"](server, len(expected))
    assert received == [(segment, client.local_addr) for segment in expected]
    assert server.stats().received == len(expected)
    assert server.stats().received_bytes == length


@OFFLOAD
async def test_trains_of_two_senders(endpoints: Endpoints, offload: bool) -> None:
    """Trains that take turns keep their senders and their order (B166)."""
    server = await endpoints.bind(offload=offload)
    clients = [await endpoints.connect(server.local_addr) for _ in range(2)]
    sent = []
    for size, sender in [(500, 0), (300, 1), (250, 0), (300, 1), (300, 0)]:
        data = random.Random(size).randbytes(size)
        await clients[sender].send(data, segment_size=100)
        sent += [(part, clients[sender].local_addr) for part in cut(data, 100)]

    received = await WAYS_TO_RECEIVE["recv"](server, len(sent))

    assert received == sent


async def test_trains_after_another_endpoint_closed(endpoints: Endpoints) -> None:
    """What one socket no longer needs is not taken from another (B168)."""
    first, second = await endpoints.bind(), await endpoints.bind()
    client = await endpoints.connect(second.local_addr)
    await first.aclose()

    await client.send(b"x" * 250, segment_size=100)

    received = await WAYS_TO_RECEIVE["recv"](second, 3)
    assert payloads_of(received) == [b"x" * 100, b"x" * 100, b"x" * 50]


@OFFLOAD
@EVERY_WAY
async def test_with_and_without_offload(
    endpoints: Endpoints, peer: socket.socket, receive: Receive, offload: bool
) -> None:
    """With and without offload the very same is received, in every way (B165)."""
    server = await endpoints.bind(offload=offload)
    client = await endpoints.connect(server.local_addr)
    data = random.Random(165).randbytes(30_000)
    expected: list[tuple[bytes, Any]] = []

    for start, segment_size in [(0, 1000), (29_000, 300), (15_000, 1472), (29_990, 3)]:
        await client.send(data[start:], segment_size=segment_size)
        expected += [
            (part, client.local_addr) for part in cut(data[start:], segment_size)
        ]
        for payload in (b"", data[:start], b"single"):
            send_all(peer, server, payload)
            expected.append((payload, peer.getsockname()))

    assert await receive(server, len(expected)) == expected
    with pytest.raises(BlockingIOError):
        server.recv_nowait()
    assert server.stats().received == len(expected)
    assert server.stats().received_bytes == sum(len(part) for part, _ in expected)
