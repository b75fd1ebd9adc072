"""Pausing: a protocol of the user's own may pause reading, and is paused itself."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, Gate, read, turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


def send_numbers(sock: socket.socket, endpoint: aioudp.Endpoint, *numbers: int) -> None:
    """Send numbered datagrams; on loopback they are in the kernel at the end."""
    for number in numbers:
        sock.sendto(b"%d" % number, endpoint.local_addr)


def skip_if_it_cannot_pause(endpoint: aioudp.Endpoint) -> None:
    """Skip where nothing can leave datagrams in the kernel: uvloop's transport."""
    if not endpoint.transport.can_pause:
        pytest.skip("cannot: pause: the event loop's own transport cannot")


# -- a protocol of the user's own may pause the transport


class Collector(asyncio.DatagramProtocol):
    """Stores datagrams; pauses after each one on request."""

    def __init__(self, transport: Any, *, pausing: bool = False) -> None:
        self.transport = transport
        self.pausing = pausing
        self.received: list[bytes] = []
        transport.set_protocol(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)
        if self.pausing:
            self.transport.pause_reading()


@pytest.mark.pauses
async def test_protocol_pauses_in_the_middle_of_a_batch(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A protocol that pauses gets nothing more until it resumes (B117)."""
    endpoint = await endpoints.bind()
    skip_if_it_cannot_pause(endpoint)
    protocol = Collector(endpoint.transport, pausing=True)
    send_numbers(peer, endpoint, *range(10))

    for count in range(1, 11):
        await turns_until(lambda: len(protocol.received) == count)  # noqa: B023
        await turns(10)
        assert len(protocol.received) == count
        assert not endpoint.transport.is_reading()
        endpoint.transport.resume_reading()

    assert protocol.received == [b"%d" % number for number in range(10)]


@pytest.mark.pauses
async def test_protocol_pauses_in_the_middle_of_a_train(endpoints: Endpoints) -> None:
    """The rest of a train is held back, and comes before what is newer (B117)."""
    server, client = await endpoints.pair()
    skip_if_it_cannot_pause(server)
    protocol = Collector(server.transport, pausing=True)
    await client.send(b"01234567", segment_size=1)
    await turns_until(lambda: bool(protocol.received))
    await client.send(b"89", segment_size=1)
    await turns(10)
    assert protocol.received == [b"0"]

    protocol.pausing = False
    server.transport.resume_reading()
    await turns_until(lambda: len(protocol.received) == 10)

    assert protocol.received == [b"%d" % number for number in range(10)]


async def test_protocol_without_pauses(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A protocol as asyncio knows it gets each datagram, empty ones too (B065)."""
    endpoint = await endpoints.bind()
    protocol = Collector(endpoint.transport)

    send_numbers(peer, endpoint, *range(5))
    peer.sendto(b"", endpoint.local_addr)
    await turns_until(lambda: len(protocol.received) == 6)

    assert protocol.received == [b"0", b"1", b"2", b"3", b"4", b""]


# -- what sendto cannot send at once


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return a kernel that has no room."""
    return Gate(monkeypatch)


class FlowControlled(asyncio.DatagramProtocol):
    """Records calls to pause and resume, and errors."""

    def __init__(self, transport: Any) -> None:
        self.events: list[Any] = []
        transport.set_protocol(self)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def error_received(self, exc: Exception) -> None:
        self.events.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost" if exc is None else exc)


async def test_sendto_waits_for_room(
    endpoints: Endpoints, peer: socket.socket, gate: Gate
) -> None:
    """What finds no room goes out later, once and in order (B072) (B073)."""
    endpoint = await endpoints.bind()
    payloads = [b"%d" % number for number in range(6)]

    for payload in payloads:
        endpoint.transport.sendto(payload, peer.getsockname())
    assert endpoint.stats().sent == 0
    gate.grants = [1, 3, 2]  # so the rest finds no room again, and again
    await endpoint.transport.wait_writable()

    assert read(peer, 6) == payloads
    assert endpoint.stats().sent == 6
    assert endpoint.stats().send_errors == 0


async def test_size_of_what_waits(
    endpoints: Endpoints, peer: socket.socket, gate: Gate
) -> None:
    """What sendto keeps has a size, empty datagrams too; then it is 0 (B074) (B077)."""
    endpoint = await endpoints.bind()
    transport: Any = endpoint.transport

    sizes = [transport.get_write_buffer_size()]
    for payload in (b"", b"", b"hello"):
        transport.sendto(payload, peer.getsockname())
        sizes.append(transport.get_write_buffer_size())
    gate.grants = [3]
    await transport.wait_writable()

    assert sizes == sorted(set(sizes))  # it grows with each
    assert transport.get_write_buffer_size() == 0
    assert read(peer, 3) == [b"", b"", b"hello"]


async def test_water_marks(
    endpoints: Endpoints, peer: socket.socket, gate: Gate
) -> None:
    """Above the high mark there is one pause, at the low mark one resume (B075)."""
    endpoint = await endpoints.bind()
    transport: Any = endpoint.transport
    protocol = FlowControlled(transport)
    transport.set_write_buffer_limits(high=100, low=50)

    for _ in range(10):
        transport.sendto(bytes(40), peer.getsockname())
    assert protocol.events == ["pause"]
    gate.grants = [1, 1, 1, 7]
    await transport.wait_writable()

    assert protocol.events == ["pause", "resume"]
    assert read(peer, 10) == [bytes(40)] * 10


async def test_close_sends_what_waits(
    endpoints: Endpoints, peer: socket.socket, gate: Gate
) -> None:
    """The transport closes once what sendto kept is out (B224)."""
    endpoint = await endpoints.bind()
    transport: Any = endpoint.transport
    transport.set_write_buffer_limits(high=0)
    protocol = FlowControlled(transport)
    for number in range(3):
        transport.sendto(b"%d" % number, peer.getsockname())

    transport.close()
    assert transport.is_closing()
    assert endpoint.fileno() != -1
    gate.grants = [2, 1]
    assert await asyncio.to_thread(read, peer, 3) == [b"0", b"1", b"2"]
    await turns_until(lambda: "lost" in protocol.events)

    assert protocol.events == ["pause", "resume", "lost"]
    assert endpoint.fileno() == -1


async def test_abort_forgets_what_waits(
    endpoints: Endpoints, peer: socket.socket, gate: Gate
) -> None:
    """Aborted, the transport closes at once, and what sendto kept is gone (B224)."""
    endpoint = await endpoints.bind()
    transport: Any = endpoint.transport
    protocol = FlowControlled(transport)
    transport.sendto(b"forgotten", peer.getsockname())

    transport.abort()
    gate.room = 1
    await transport.wait_closed()
    await turns_until(lambda: "lost" in protocol.events)

    assert protocol.events == ["lost"]
    assert transport.get_write_buffer_size() == 0
    assert endpoint.stats().sent == 0
