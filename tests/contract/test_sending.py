"""``send``: payloads, destinations, and what the system refuses."""

from __future__ import annotations

import array
import asyncio
import errno
import re
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import linux_only, needs_ipv6, plain_socket, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints

Send = Callable[..., Awaitable[None]]


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
async def test_text_is_to_be_encoded(
    endpoints: Endpoints, send: Callable[..., Any]
) -> None:
    """The error says what to do, whichever call it was."""
    endpoint = await endpoints.bind()

    with pytest.raises(TypeError) as caught:
        await send(endpoint, "text", endpoint.local_addr)

    assert str(caught.value) == (
        "a bytes-like object is required, not 'str'; encode text first: text.encode()"
    )


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
async def test_a_missing_address_comes_with_advice(endpoints: Endpoints) -> None:
    """An endpoint that isn't connected has to be told where to send."""
    endpoint = await endpoints.bind()

    with pytest.raises(OSError, match="pass an address, or open with") as caught:
        await endpoint.send(b"hello")

    assert caught.value.errno == errno.EDESTADDRREQ


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


# -- the transport's own sendto. Its buffer: test_full_peer.py


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
    """Stores the errors it receives."""

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


@pytest.mark.parametrize("way", ["send", "send_many", "segments", "options", "sendto"])
async def test_whatever_is_bytes_like(endpoints: Endpoints, way: str) -> None:
    """Every way to send takes what a socket takes, whether it has room or not."""
    data: Any = array.array("H", [1, 2, 3])
    server, client = await endpoints.pair()

    if way == "send":
        await client.send(data)
    elif way == "send_many":
        await client.send_many([(data, None)])
    elif way == "segments":
        await client.send(data, segment_size=6)
    elif way == "options":
        await client.send(data, hop_limit=7)
    else:
        client.transport.sendto(data)

    async with asyncio.timeout(10):
        assert (await server.recv()).data == data.tobytes()
