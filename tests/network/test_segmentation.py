"""Datagrams longer than the link carries in one piece, and trains of those that fit.

Loopback has an MTU of 64 KiB, so that nothing there is ever cut.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import AsyncIterator
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import pytest

import aioudp

from ..conftest import Endpoints
from .links import ELSEWHERE, FAR, HEADERS, MTU, Link
from .traffic import END, Sink

# include/uapi/linux/in.h, in6.h, udp.h; the socket module does not name them.
_MTU_DISCOVER: Final = {
    AF_INET: (socket.IPPROTO_IP, 10),
    AF_INET6: (socket.IPPROTO_IPV6, 23),
}
_PMTUDISC_DO: Final = 2  # never in fragments
_UDP_GRO: Final = 104


@pytest.fixture
def fits(family: AddressFamily) -> int:
    """Return the length of the longest datagram that the link carries in one piece."""
    return MTU - HEADERS[family]


@pytest.fixture
def far(family: AddressFamily, sink: Sink) -> aioudp.Address:
    """Return who is at the other end."""
    return FAR[family], sink.port


def noise(length: int) -> bytes:
    """Return bytes that show when they are out of place."""
    return random.Random(length).randbytes(length)


def cut(data: bytes, size: int) -> list[bytes]:
    """Return what should arrive of a train."""
    return [data[start : start + size] for start in range(0, len(data), size)]


# Lengths of buffers and of their segments.
TRAINS: Final = [
    (1, 1),
    (999, 1000),
    (1000, 1000),
    (2500, 1000),
    (3000, 1000),
    (100, 1),
    (200, 1),
    (64_000, 1000),
    (200_000, 1200),
]


@pytest.mark.parametrize("offload", [True, False])
async def test_segments_arrive_exactly(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, offload: bool
) -> None:
    """Each has its size, and the last what is left."""
    endpoint = await endpoints.bind(offload=offload)

    for length, size in TRAINS:
        data = noise(length)
        await endpoint.send(data, far, segment_size=size)
        await endpoint.send(END, far)
        assert await sink.recv_until_end() == cut(data, size)

    sent = sum(length + len(END) for length, _ in TRAINS)
    assert endpoint.stats().sent_bytes == sent


@pytest.mark.parametrize("beyond", [0, 1, 1000])
async def test_segments_longer_than_the_link_arrive_too(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, fits: int, beyond: int
) -> None:
    """The kernel makes no such trains; they go out singly, and in fragments."""
    endpoint = await endpoints.bind()
    data = noise(20_000)

    await endpoint.send(data, far, segment_size=fits + beyond)
    await endpoint.send(data, far, segment_size=1000)
    await endpoint.send(END, far)

    assert await sink.recv_until_end() == cut(data, fits + beyond) + cut(data, 1000)


async def test_send_many_longer_than_the_link_arrives_too(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, fits: int
) -> None:
    """Runs of equal sizes become trains only where the link carries them."""
    endpoint = await endpoints.bind()
    sizes = [1000] * 5 + [fits] * 5 + [fits + 1] * 5 + [9000] * 3 + [0] * 3 + [1000] * 5
    datagrams = [noise(size) for size in sizes]

    await endpoint.send_many((data, far) for data in datagrams)
    await endpoint.send(END, far)

    assert await sink.recv_until_end() == datagrams


@pytest.mark.parametrize("reason", ["too long", "blackhole", "prohibit"])
async def test_trains_still_go_out_whole_after_one_was_refused(
    endpoints: Endpoints,
    link: Link,
    family: AddressFamily,
    far: aioudp.Address,
    sink: Sink,
    fits: int,
    reason: str,
) -> None:
    """What says something of one destination is no reason to give trains up."""
    sink.socket.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    endpoint = await endpoints.bind()
    await endpoint.send(bytes(5000), far, segment_size=1000)
    if len(await sink.recv()) < 5000:
        pytest.skip("cannot: network: this link does not carry trains whole")

    if reason == "too long":
        await endpoint.send(bytes(fits + 2), far, segment_size=fits + 1)
        assert len(await sink.recv()) == fits + 1
        assert len(await sink.recv()) == 1
    else:
        link.near.ip(f"route add {reason} {ELSEWHERE[family]}")
        with pytest.raises(OSError):
            await endpoint.send(bytes(5000), (ELSEWHERE[family], 9), segment_size=1000)

    await endpoint.send(bytes(5000), far, segment_size=1000)
    assert len(await sink.recv()) == 5000


async def test_long_datagrams_arrive_whole(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, fits: int
) -> None:
    """In fragments that the far end puts together."""
    endpoint = await endpoints.bind()

    for length in fits, fits + 1, 9000, 65507:
        await endpoint.send(noise(length), far)
        assert await sink.recv() == noise(length)


async def test_without_fragments_too_long_is_an_error(
    endpoints: Endpoints,
    family: AddressFamily,
    far: aioudp.Address,
    sink: Sink,
    fits: int,
) -> None:
    """EMSGSIZE, at once, singly and in trains; what fits still goes out."""
    endpoint = await endpoints.bind()
    sock = endpoint.get_extra_info("socket")
    sock.setsockopt(*_MTU_DISCOVER[family], _PMTUDISC_DO)
    where = f"sending {fits + 1} bytes to .*{far[0]}"

    for segment_size in None, fits + 1:
        for _ in range(2):
            data = bytes(fits + 1 if segment_size is None else 5 * fits)
            with pytest.raises(OSError, match=where) as caught:
                await endpoint.send(data, far, segment_size=segment_size)
            assert caught.value.errno == errno.EMSGSIZE
    with pytest.raises(aioudp.SendManyError) as several:
        await endpoint.send_many(
            (noise(size), far) for size in (fits + 1, 10, fits + 1, fits + 1, fits)
        )
    assert sorted(several.value.errors) == [0, 2, 3]

    await endpoint.send(noise(4 * fits), far, segment_size=fits)
    await endpoint.send(END, far)
    assert await sink.recv_until_end() == [
        noise(10),
        noise(fits),
        *cut(noise(4 * fits), fits),
    ]


@pytest.fixture(params=[True, False], ids=["gro", "no-gro"])
async def receiver(
    request: pytest.FixtureRequest, link: Link, family: AddressFamily, transport: Any
) -> AsyncIterator[aioudp.Endpoint]:
    """Open an endpoint at the far end, which reads trains or does not."""
    sock = link.far.socket(family, FAR[family])
    async with aioudp.adopt(
        sock, transport=transport, offload=request.param
    ) as receiver:
        yield receiver


async def test_trains_arrive_as_datagrams(
    endpoints: Endpoints, receiver: aioudp.Endpoint
) -> None:
    """However the link carried them, and whatever stands between them."""
    endpoint = await endpoints.bind()
    expected = []
    for length, size in (5000, 1200), (3, 1), (0, 1000), (6000, 1000), (9000, 3000):
        data = noise(length)
        expected += cut(data, size) or [b""]
        await endpoint.send(data, receiver.local_addr, segment_size=size)

    received: list[aioudp.Datagram] = []
    async with asyncio.timeout(5):
        while len(received) < len(expected):
            received += await receiver.recv_many()

    assert [data for data, _ in received] == expected
    assert {addr for _, addr in received} == {endpoint.local_addr}
    stats = receiver.stats()
    assert (stats.received, stats.truncated, stats.dropped_kernel) == (
        len(expected),
        0,
        0,
    )


async def test_the_trains_of_two_senders_stay_apart(
    endpoints: Endpoints, receiver: aioudp.Endpoint
) -> None:
    """Each datagram comes with the address of the one who sent it."""
    first, second = await endpoints.bind(), await endpoints.bind()
    for endpoint in first, second, first:
        data = noise(3500)
        await endpoint.send(data, receiver.local_addr, segment_size=1000)

    received: list[aioudp.Datagram] = []
    async with asyncio.timeout(5):
        while len(received) < 12:
            received += await receiver.recv_many()

    senders = [first.local_addr] * 4 + [second.local_addr] * 4 + [first.local_addr] * 4
    assert [addr for _, addr in received] == senders
    assert [data for data, _ in received] == cut(noise(3500), 1000) * 3
