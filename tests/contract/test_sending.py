"""Sending: payloads, destinations, batches, trains, and what the system refuses.

Sends that have to wait for room are in ``test_unix.py``: a UNIX datagram socket is the
only peer that is full whenever a test wants it to be.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp

from .support import linux_only, needs_ipv6, plain_socket, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints

Send = Callable[..., Awaitable[None]]

SO_NO_CHECK: Final = 11  # include/uapi/asm-generic/socket.h
UDP_NO_CHECK6_TX: Final = 101  # include/uapi/linux/udp.h
UDP_NO_CHECK6_RX: Final = 102


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket to send to."""
    with plain_socket(host) as sock:
        yield sock


async def send(endpoint: aioudp.Endpoint, data: Any, addr: Any = None) -> None:
    await endpoint.send(data, addr)


async def send_many(endpoint: aioudp.Endpoint, data: Any, addr: Any = None) -> None:
    await endpoint.send_many([(data, addr)])


async def send_segments(endpoint: aioudp.Endpoint, data: Any, addr: Any = None) -> None:
    await endpoint.send(data, addr, segment_size=60_000)


async def send_in_segments(
    endpoint: aioudp.Endpoint, data: Any, addr: Any = None
) -> None:
    await endpoint.send(data, addr, segment_size=1)


EVERY_WAY = pytest.mark.parametrize("send", [send, send_many, send_segments])
EVERY_WAY_AND_CUT = pytest.mark.parametrize(
    "send", [send, send_many, send_segments, send_in_segments]
)
ONE_AND_MANY = pytest.mark.parametrize("send", [send, send_many])


# -- payloads


@EVERY_WAY
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"bytes", b"bytes"),
        (bytearray(b"bytearray"), b"bytearray"),
        (memoryview(b"memoryview"), b"memoryview"),
        (memoryview(b"an offset slice")[3:9], b"offset"),
        (memoryview(bytearray(b"writable")), b"writable"),
        (memoryview(array.array("H", [1, 2])), array.array("H", [1, 2]).tobytes()),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        (memoryview(b"a-b-c-")[::2], b"abc"),
        (b"", b""),
        (memoryview(b""), b""),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "slice",
        "writable-view",
        "typed-view",
        "two-dimensions",
        "strided-view",
        "empty",
        "empty-view",
    ],
)
async def test_payload(
    endpoints: Endpoints, peer: socket.socket, send: Send, data: Any, expected: bytes
) -> None:
    """Each kind of payload arrives as its bytes, in one datagram (B060) (B065)."""
    endpoint = await endpoints.connect(peer.getsockname())

    await send(endpoint, data)

    assert read(peer) == [expected]


@EVERY_WAY_AND_CUT
@pytest.mark.parametrize(
    "data", ["str", 5, None, [b"gather", b"list"]], ids=["str", "int", "None", "list"]
)
async def test_what_is_no_payload(
    endpoints: Endpoints, peer: socket.socket, send: Send, data: Any
) -> None:
    """What is not bytes-like is a TypeError, and nothing is sent (B061) (B062)."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(TypeError):
        await send(endpoint, data)

    await endpoint.send(b"sent")
    assert read(peer) == [b"sent"]
    assert endpoint.stats().sent == 1


async def test_many_empty_datagrams(endpoints: Endpoints) -> None:
    """A hundred empty datagrams arrive as a hundred (B065) (B066)."""
    server, client = await endpoints.pair()

    for _ in range(100):
        await client.send(b"")
        assert await server.recv() == (b"", client.local_addr)


@EVERY_WAY_AND_CUT
async def test_bytes_are_counted(
    endpoints: Endpoints, peer: socket.socket, send: Send
) -> None:
    """The bytes counted as sent are those of the payload (B068)."""
    endpoint = await endpoints.connect(peer.getsockname())

    await send(endpoint, memoryview(bytearray(1000))[:10])

    assert endpoint.stats().sent_bytes == 10


async def test_two_sends(endpoints: Endpoints, peer: socket.socket) -> None:
    """Two sends are two datagrams, in order (B069)."""
    endpoint = await endpoints.bind()

    await endpoint.send(b"one", peer.getsockname())
    await endpoint.send(b"two", peer.getsockname())

    assert read(peer, 2) == [b"one", b"two"]


# -- destinations


@EVERY_WAY_AND_CUT
async def test_no_destination(
    endpoints: Endpoints, peer: socket.socket, send: Send
) -> None:
    """Without a peer and an address the system's error is raised (B047)."""
    endpoint = await endpoints.bind()

    with pytest.raises((OSError, aioudp.SendManyError)) as caught:
        await send(endpoint, b"hello")

    error: Any = caught.value
    if isinstance(error, aioudp.SendManyError):
        error = error.errors[0]
    assert error.errno == errno.EDESTADDRREQ
    await endpoint.send(b"usable", peer.getsockname())
    assert read(peer) == [b"usable"]


@ONE_AND_MANY
@pytest.mark.parametrize("port", [-1, 0, 65536, 70000, 2**31, 2**64])
async def test_port_out_of_range(
    endpoints: Endpoints, host: str, peer: socket.socket, send: Send, port: int
) -> None:
    """A port out of range is a ValueError, never another port (B086) (B087)."""
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match="port"):
        await send(endpoint, b"refused", (host, port))

    await endpoint.send(b"usable", peer.getsockname())
    assert read(peer) == [b"usable"]


@ONE_AND_MANY
async def test_text_is_no_address(endpoints: Endpoints, send: Send) -> None:
    """The error shows the tuple it should have been (B011)."""
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match=r"\('127\.0\.0\.1', 9999\)"):
        await send(endpoint, b"refused", "127.0.0.1:9999")


@ONE_AND_MANY
@pytest.mark.parametrize(
    "addr",
    [
        5,
        "127.0.0.1",
        (),
        ("127.0.0.1",),
        ["127.0.0.1", 9],
        ("::1", 9, 0, 0, 0),
        (b"127.0.0.1", 9),
        (None, 9),
        ("127.0.0.1", "9"),
        ("127.9.9.9", 9.0),
    ],
    ids=repr,
)
async def test_what_is_no_address(
    transport: aioudp.TransportKind, send: Send, addr: Any
) -> None:
    """What has not the shape of an address is a TypeError (B011)."""
    async with aioudp.bind(transport=transport) as endpoint:
        with pytest.raises(TypeError):
            await send(endpoint, b"refused", addr)

        assert endpoint.stats().sent == 0


@ONE_AND_MANY
@pytest.mark.parametrize(
    "name", ["localhost", "name.invalid", "", "127.1", "1", "::g", "::1\0"], ids=repr
)
async def test_host_name(
    transport: aioudp.TransportKind,
    send: Send,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host name is refused, not looked up, with the way out (B083) (B084)."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the resolver was called")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with plain_socket("127.0.0.1") as peer:
        async with aioudp.bind(transport=transport) as endpoint:
            with pytest.raises(ValueError, match=r"aioudp\.resolve"):
                await send(endpoint, b"refused", (name, 9))

            await endpoint.send(b"usable", peer.getsockname())
            assert read(peer) == [b"usable"]


@EVERY_WAY_AND_CUT
async def test_address_of_another_family(
    endpoints: Endpoints, host: str, peer: socket.socket, send: Send
) -> None:
    """An address of a family that the endpoint has not is refused (B085)."""
    other = "127.0.0.1" if ":" in host else "::1"
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match="family mismatch"):
        await send(endpoint, b"refused", (other, 9))

    await endpoint.send(b"usable", peer.getsockname())
    assert read(peer) == [b"usable"]


@needs_ipv6
@pytest.mark.parametrize(
    ("flowinfo", "scope_id"),
    [(-1, 0), (2**20, 0), (2**32, 0), (0, -1), (0, 2**32), (0, 2**64)],
)
async def test_flow_and_scope_out_of_range(
    transport: aioudp.TransportKind, flowinfo: int, scope_id: int
) -> None:
    """A flow label or a scope out of range is a ValueError (B088)."""
    async with aioudp.bind(("::1", 0), transport=transport) as endpoint:
        with pytest.raises(ValueError, match=r"flowinfo|scope_id"):
            await endpoint.send(b"refused", ("::1", 9, flowinfo, scope_id))


@linux_only
@needs_ipv6
@pytest.mark.parametrize("host", ["::1%1", "::1%lo"])
async def test_scope_as_part_of_the_host(
    transport: aioudp.TransportKind, host: str
) -> None:
    """A scope is written after the host, as a number or an interface (B031)."""
    async with aioudp.bind(("::1", 0), transport=transport) as endpoint:
        with plain_socket("::1") as peer:
            await endpoint.send(b"hello", (host, peer.getsockname()[1]))

            assert read(peer) == [b"hello"]


@needs_ipv6
async def test_scope_that_does_not_exist(transport: aioudp.TransportKind) -> None:
    """An interface that does not exist is a ValueError that names it (B031)."""
    async with aioudp.bind(("::1", 0), transport=transport) as endpoint:
        with pytest.raises(ValueError, match="nosuch"):
            await endpoint.send(b"refused", ("fe80::1%nosuch", 9))


# -- what the system refuses


@linux_only
async def test_longest_datagram(endpoints: Endpoints, peer: socket.socket) -> None:
    """The longest datagram that fits in a packet is sent whole (B067)."""
    size = 65507 if peer.family == socket.AF_INET else 65527
    payload = bytes(range(251)) * 262
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send(payload[:size])

    assert read(peer) == [payload[:size]]


@linux_only
@pytest.mark.parametrize("excess", [1, 10_000, 200_000])
async def test_too_long(endpoints: Endpoints, peer: socket.socket, excess: int) -> None:
    """A longer datagram is EMSGSIZE, with size and address (B067) (B094)."""
    size = excess + (65507 if peer.family == socket.AF_INET else 65527)
    endpoint = await endpoints.bind()

    with pytest.raises(OSError) as caught:
        await endpoint.send(bytes(size), peer.getsockname())

    assert caught.value.errno == errno.EMSGSIZE
    assert str(size) in str(caught.value)
    assert repr(peer.getsockname()) in str(caught.value)
    assert endpoint.stats().send_errors == 1
    await endpoint.send(b"usable", peer.getsockname())
    assert read(peer) == [b"usable"]


@linux_only
async def test_too_long_for_ipv4_of_dual_stack(transport: aioudp.TransportKind) -> None:
    """IPv4's limit holds for IPv4 peers of a dual-stack endpoint (B067)."""
    async with aioudp.bind(transport=transport) as endpoint:
        with plain_socket("127.0.0.1") as peer:
            addr = peer.getsockname()
            await endpoint.send(bytes(65507), addr)
            with pytest.raises(OSError) as caught:
                await endpoint.send(bytes(65508), addr)

            assert read(peer) == [bytes(65507)]
            assert caught.value.errno == errno.EMSGSIZE
            assert repr(addr) in str(caught.value)


@linux_only
async def test_connected_too_long(endpoints: Endpoints, peer: socket.socket) -> None:
    """On a connected endpoint the error names the peer (B094)."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(OSError, match=re.escape(repr(peer.getsockname()))):
        await endpoint.send(bytes(70_000))


@linux_only
async def test_refused_send_closes_nothing(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """After errors of several sends the endpoint receives and sends (B078)."""
    endpoint = await endpoints.bind()
    for _ in range(3):
        with pytest.raises(OSError):
            await endpoint.send(bytes(70_000), peer.getsockname())

    peer.sendto(b"question", endpoint.local_addr)
    data, addr = await endpoint.recv()
    await endpoint.send(b"answer", addr)

    assert data == b"question"
    assert read(peer) == [b"answer"]
    assert not endpoint.closed


@EVERY_WAY_AND_CUT
async def test_send_after_close(
    endpoints: Endpoints, peer: socket.socket, send: Send
) -> None:
    """Sending on a closed endpoint raises EndpointClosedError (B081)."""
    endpoint = await endpoints.bind()
    await endpoint.aclose()

    with pytest.raises(aioudp.EndpointClosedError):
        await send(endpoint, b"hello", peer.getsockname())


# -- several datagrams


async def test_order_of_many(endpoints: Endpoints, peer: socket.socket) -> None:
    """Datagrams of all sizes go out whole and in the order given (B069)."""
    sizes = [3, 3, 3, 2, 3, 0, 0, 5, 5, 6, 6, 1, 1400, 1400, 7, 0]
    payloads = [bytes([index]) * size for index, size in enumerate(sizes)]
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send_many([(payload, None) for payload in payloads])

    assert read(peer, len(payloads)) == payloads
    assert endpoint.stats().sent == len(payloads)
    assert endpoint.stats().sent_bytes == sum(sizes)


async def test_many_destinations(
    endpoints: Endpoints, peer: socket.socket, host: str
) -> None:
    """Each datagram goes to its own destination, in order."""
    endpoint = await endpoints.bind()
    with plain_socket(host) as other:
        here, there = peer.getsockname(), other.getsockname()

        await endpoint.send_many(
            [(b"1", here), (b"2", here), (b"3", there), (b"4", here), (b"5", there)]
        )

        assert read(peer, 3) == [b"1", b"2", b"4"]
        assert read(other, 2) == [b"3", b"5"]


async def test_many_from_a_generator(endpoints: Endpoints, peer: socket.socket) -> None:
    """Any iterable will do, a generator too."""
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send_many((b"%d" % number, None) for number in range(20))

    assert read(peer, 20) == [b"%d" % number for number in range(20)]


async def test_more_than_a_chunk(endpoints: Endpoints) -> None:
    """Thousands of datagrams go out once each, in order."""
    payloads = [b"%d" % number for number in range(3000)]
    server, client = await endpoints.pair(queue_size=4000)

    await client.send_many((payload, None) for payload in payloads)

    assert client.stats().sent == 3000
    received = [(await server.recv()).data for _ in range(3000)]
    assert received == payloads


async def test_none_of_many(endpoints: Endpoints) -> None:
    """An empty iterable sends nothing."""
    endpoint = await endpoints.bind()

    await endpoint.send_many([])

    assert endpoint.stats().sent == 0


async def test_none_of_many_after_close(endpoints: Endpoints) -> None:
    """On a closed endpoint even an empty iterable is refused (B081)."""
    endpoint = await endpoints.bind()
    await endpoint.aclose()

    with pytest.raises(aioudp.EndpointClosedError):
        await endpoint.send_many([])


@linux_only
async def test_some_of_many_are_refused(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The refused are reported by index, and all the others are out (B094)."""
    too_long = bytes(70_000)
    payloads = [too_long, b"1", b"2", too_long, too_long, b"5", b"6", too_long]
    endpoint = await endpoints.bind()

    with pytest.raises(aioudp.SendManyError) as caught:
        await endpoint.send_many((data, peer.getsockname()) for data in payloads)

    assert {
        index: error.errno for index, error in caught.value.errors.items()
    } == dict.fromkeys((0, 3, 4, 7), errno.EMSGSIZE)
    assert "70000" in str(caught.value)
    assert repr(peer.getsockname()) in str(caught.value)
    assert read(peer, 4) == [b"1", b"2", b"5", b"6"]
    assert endpoint.stats().sent == 4
    assert endpoint.stats().send_errors == 4


@linux_only
async def test_index_in_a_later_chunk(endpoints: Endpoints) -> None:
    """The index of a refused datagram counts from the beginning of the iterable."""
    server, client = await endpoints.pair()
    payloads = [b""] * 2500
    payloads[1024] = payloads[2499] = bytes(70_000)

    with pytest.raises(aioudp.SendManyError) as caught:
        await client.send_many((data, None) for data in payloads)

    assert sorted(caught.value.errors) == [1024, 2499]
    assert client.stats().sent == 2498
    assert not server.closed


@pytest.mark.parametrize(
    "item",
    [
        None,
        5,
        b"ab",
        b"abc",
        "ab",
        (),
        (b"alone",),
        (b"one", None, "too many"),
        ("str", None),
        (b"data", 5),
    ],
    ids=repr,
)
async def test_item_that_is_no_pair(
    endpoints: Endpoints, peer: socket.socket, item: Any
) -> None:
    """An item that is not a payload and an address is a TypeError (B061)."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(TypeError):
        await endpoint.send_many([item])

    await endpoint.send(b"usable")
    assert read(peer) == [b"usable"]


@pytest.mark.parametrize("datagrams", [None, 5, object()], ids=repr)
async def test_many_of_what_is_no_iterable(
    endpoints: Endpoints, datagrams: Any
) -> None:
    """What cannot be iterated over is a TypeError."""
    endpoint = await endpoints.bind()

    with pytest.raises(TypeError):
        await endpoint.send_many(datagrams)


async def test_generator_that_fails(endpoints: Endpoints, peer: socket.socket) -> None:
    """An exception of the iterable itself is raised, and the endpoint goes on."""

    def datagrams() -> Iterator[tuple[bytes, None]]:
        yield b"one", None
        raise LookupError

    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(LookupError):
        await endpoint.send_many(datagrams())

    await endpoint.send(b"usable")
    assert read(peer) == [b"usable"]


# -- one buffer as many datagrams


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
    assert endpoint.get_extra_info("offload")["gso_segments"] == 1
    assert len(caplog.records) == 1


# -- the transport's own sendto. Its buffer: test_unix.py


@pytest.mark.parametrize(
    ("high", "low"), [(-1, None), (None, -1), (10, 11)], ids=["high", "low", "order"]
)
async def test_water_marks_out_of_range(
    endpoints: Endpoints, high: int | None, low: int | None
) -> None:
    """Water marks that are negative, or in the wrong order, are refused (B076)."""
    endpoint = await endpoints.bind()
    transport: Any = endpoint.transport

    with pytest.raises(ValueError, match="low"):
        transport.set_write_buffer_limits(high, low)


async def test_sendto_after_close(
    endpoints: Endpoints, peer: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """On a closed transport sendto does nothing, and logs nothing (B080) (B081)."""
    endpoint = await endpoints.bind()
    await endpoint.aclose()

    for _ in range(10):
        endpoint.transport.sendto(b"hello", peer.getsockname())

    assert caplog.records == []


async def test_sendto_checks_after_close(endpoints: Endpoints) -> None:
    """On a closed transport sendto still refuses what is no payload (B082)."""
    endpoint = await endpoints.bind()
    await endpoint.aclose()
    data: Any = "str"

    with pytest.raises(TypeError):
        endpoint.transport.sendto(data)


class ErrorRecorder(asyncio.DatagramProtocol):
    """Keeps the errors it is told of."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)


@linux_only
async def test_sendto_reports_errors(endpoints: Endpoints, peer: socket.socket) -> None:
    """What the system refuses is given to error_received, and no more (B078)."""
    endpoint = await endpoints.bind()
    protocol = ErrorRecorder()
    endpoint.transport.set_protocol(protocol)

    endpoint.transport.sendto(bytes(70_000), peer.getsockname())
    endpoint.transport.sendto(b"usable", peer.getsockname())
    await asyncio.sleep(0)  # what comes second leaves at the end of the turn

    assert read(peer) == [b"usable"]
    (error,) = protocol.errors
    assert isinstance(error, OSError)
    assert error.errno == errno.EMSGSIZE
