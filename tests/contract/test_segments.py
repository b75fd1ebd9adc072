"""``segment_size``: one buffer as many datagrams."""

from __future__ import annotations

import array
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp

from .support import linux_only, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints

SO_NO_CHECK: Final = 11  # include/uapi/asm-generic/socket.h
UDP_NO_CHECK6_TX: Final = 101  # include/uapi/linux/udp.h
UDP_NO_CHECK6_RX: Final = 102


@pytest.mark.parametrize(
    ("connected", "offload"),
    [(True, True), (False, True), (True, False)],
    ids=["connected", "unconnected", "singly"],
)
@pytest.mark.parametrize(
    ("length", "segment_size"),
    [
        (0, 1472),
        (1, 1472),
        (1472, 1472),
        (1473, 1472),
        (2944, 1472),
        (2945, 1472),
        (5, 2),
        (2500, 1000),
        (100, 65535),
        (100, 2**40),
        (64, 1),
        (65, 1),
        (128, 1),
        (129, 1),
        (44 * 1472, 1472),
        (44 * 1472 + 1, 1472),
        (65507, 9000),
        (65508, 9000),
        (65528, 9000),
        (147_201, 1472),
        (150_000, 40_000),
    ],
)
async def test_segments(
    endpoints: Endpoints,
    peer: socket.socket,
    length: int,
    segment_size: int,
    connected: bool,
    offload: bool,
) -> None:
    """A buffer goes out as datagrams of the exact sizes (B158) (B159) (B163)."""
    payload = bytes(index * 7 % 251 for index in range(length))
    expected = [
        payload[start : start + segment_size]
        for start in range(0, max(length, 1), segment_size)
    ]
    addr = peer.getsockname()
    if connected:
        endpoint = await endpoints.connect(addr, offload=offload)
    else:
        endpoint = await endpoints.bind(offload=offload)

    await endpoint.send(payload, None if connected else addr, segment_size=segment_size)

    assert read(peer, len(expected)) == expected
    assert endpoint.stats().sent == len(expected)
    assert endpoint.stats().sent_bytes == length


async def test_segments_of_a_typed_view(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The segments of a view of wider items are counted in bytes (B060)."""
    view = memoryview(array.array("I", range(5)))
    payload = view.tobytes()
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send(view, segment_size=7)

    assert read(peer, 3) == [payload[:7], payload[7:14], payload[14:]]


@linux_only
async def test_segments_too_long(endpoints: Endpoints, peer: socket.socket) -> None:
    """Segments that are too long are EMSGSIZE, with the size of one (B067) (B158)."""
    endpoint = await endpoints.bind()

    with pytest.raises(OSError) as caught:
        await endpoint.send(bytes(200_000), peer.getsockname(), segment_size=70_000)

    assert caught.value.errno == errno.EMSGSIZE
    assert "70000" in str(caught.value)
    assert repr(peer.getsockname()) in str(caught.value)
    assert endpoint.stats().sent == 0


@linux_only
async def test_only_the_last_segment_is_short(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """Of segments as long as a datagram may be each goes out alone (B158)."""
    size = 65507 if peer.family == socket.AF_INET else 65527
    payload = bytes(range(251)) * 700
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send(payload[: 2 * size + 1], segment_size=size)

    assert read(peer, 3) == [
        payload[:size],
        payload[size : 2 * size],
        payload[2 * size : 2 * size + 1],
    ]


@pytest.mark.parametrize("segment_size", [0, -1, -(2**40)])
async def test_segment_size_out_of_range(
    endpoints: Endpoints, peer: socket.socket, segment_size: int
) -> None:
    """A segment has at least one byte."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(ValueError, match="segment_size"):
        await endpoint.send(b"refused", segment_size=segment_size)

    await endpoint.send(b"usable")
    assert read(peer) == [b"usable"]


@pytest.mark.parametrize("segment_size", ["2", 2.5, b"2"], ids=repr)
async def test_segment_size_that_is_no_int(
    endpoints: Endpoints, peer: socket.socket, segment_size: Any
) -> None:
    """The size of a segment is an int."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(TypeError):
        await endpoint.send(b"refused", segment_size=segment_size)

    await endpoint.send(b"usable")
    assert read(peer) == [b"usable"]


async def test_plain_send_after_segments(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """After segments were sent a plain send is one datagram again (B162)."""
    endpoint = await endpoints.connect(peer.getsockname())
    await endpoint.send(bytes(3000), segment_size=1000)
    read(peer, 3)

    await endpoint.send(bytes(3000))

    assert read(peer) == [bytes(3000)]


def refuse_trains(endpoint: aioudp.Endpoint) -> None:
    """Have the kernel refuse what is cut by it: it cannot, without checksums."""
    sock = endpoint.get_extra_info("socket")
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)


@pytest.fixture
def unchecked_peer(peer: socket.socket) -> socket.socket:
    """Return a plain socket that takes datagrams without checksums."""
    if peer.family == socket.AF_INET6:
        peer.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
    return peer


@linux_only
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
@pytest.mark.parametrize("count", [2, 10, 44, 100, 200])
async def test_refused_trains(
    endpoints: Endpoints, unchecked_peer: socket.socket, connected: bool, count: int
) -> None:
    """Where the kernel refuses a train the same datagrams go out singly (B161)."""
    payload = bytes(index * 7 % 251 for index in range(count * 100 - 1))
    addr = unchecked_peer.getsockname()
    endpoint = await (endpoints.connect(addr) if connected else endpoints.bind())
    refuse_trains(endpoint)

    await endpoint.send(payload, None if connected else addr, segment_size=100)

    assert read(unchecked_peer, count) == [
        payload[start : start + 100] for start in range(0, len(payload), 100)
    ]
    assert endpoint.stats().sent == count
    assert endpoint.stats().send_errors == 0


@linux_only
async def test_refused_trains_of_many(
    endpoints: Endpoints, unchecked_peer: socket.socket
) -> None:
    """The same holds for datagrams that send_many would join to trains (B161)."""
    payloads = [bytes([index]) * 100 for index in range(50)]
    endpoint = await endpoints.connect(unchecked_peer.getsockname())
    refuse_trains(endpoint)

    await endpoint.send_many([(payload, None) for payload in payloads])

    assert read(unchecked_peer, 50) == payloads


@linux_only
async def test_refused_trains_are_given_up(
    endpoints: Endpoints,
    unchecked_peer: socket.socket,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The refusal is remembered, shown, and logged once (B161)."""
    endpoint = await endpoints.connect(unchecked_peer.getsockname())
    if endpoint.get_extra_info("offload")["gso_segments"] == 1:
        pytest.skip("cannot: gso: this kernel sends no trains")
    refuse_trains(endpoint)

    with caplog.at_level(logging.INFO, "aioudp"):
        for _ in range(3):
            await endpoint.send(bytes(1000), segment_size=100)

    assert read(unchecked_peer, 30) == [bytes(100)] * 30
    offload = endpoint.get_extra_info("offload")
    assert offload["gso_refused_for"] == [endpoint.remote_addr]
    assert len(caplog.records) == 1
