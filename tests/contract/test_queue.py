"""Queues: what is full says so, what is dropped is counted, and the rest goes on.

The receive queue with its three policies and the kernel's buffer behind it; then the
buffer of ``sendto``, whose kernel is played by a gate that the test opens.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    EITHER_WAY,
    WAYS_TO_RECEIVE,
    Gate,
    linux_only,
    plain_socket,
    read,
    turns,
    turns_until,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


Receive = Callable[[aioudp.Endpoint, int], Awaitable[list[aioudp.Datagram]]]

EVERY_WAY = pytest.mark.parametrize(
    "receive", WAYS_TO_RECEIVE.values(), ids=WAYS_TO_RECEIVE
)
EVERY_POLICY = pytest.mark.parametrize(
    "overflow", ["pause", "drop-oldest", "drop-newest"]
)
SMALL_BUFFER = 4096  # bytes, room for a few datagrams


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket to send from."""
    with plain_socket(host) as sock:
        yield sock


def send_numbers(sock: socket.socket, endpoint: aioudp.Endpoint, *numbers: int) -> None:
    """Send numbered datagrams; on loopback they are in the kernel at the end."""
    for number in numbers:
        sock.sendto(b"%d" % number, endpoint.local_addr)


def numbers_of(datagrams: list[aioudp.Datagram]) -> list[int]:
    return [int(data) for data, _ in datagrams]


async def queued(endpoint: aioudp.Endpoint, count: int) -> None:
    """Let the loop turn until the endpoint has taken *count* from the kernel."""
    await turns_until(lambda: endpoint.stats().received >= count)


def skip_if_it_cannot_pause(endpoint: aioudp.Endpoint) -> None:
    """Skip where nothing can leave datagrams in the kernel: uvloop's transport."""
    if not endpoint.transport.can_pause:
        pytest.skip("cannot: pause: the event loop's own transport cannot")


# -- policies


@pytest.mark.parametrize("queue_size", [1, 3, 9])
async def test_drop_newest(
    endpoints: Endpoints, peer: socket.socket, queue_size: int
) -> None:
    """With "drop-newest" a full queue keeps what it has (B116) (B238)."""
    endpoint = await endpoints.bind(queue_size=queue_size, overflow="drop-newest")

    send_numbers(peer, endpoint, *range(10))
    await queued(endpoint, 10)

    assert numbers_of(await endpoint.recv_many()) == list(range(queue_size))
    assert endpoint.stats().dropped_queue == 10 - queue_size
    assert endpoint.stats().received == 10


@pytest.mark.parametrize("queue_size", [1, 3, 9])
async def test_drop_oldest(
    endpoints: Endpoints, peer: socket.socket, queue_size: int
) -> None:
    """With "drop-oldest" a full queue keeps the newest (B116) (B238)."""
    endpoint = await endpoints.bind(queue_size=queue_size, overflow="drop-oldest")

    send_numbers(peer, endpoint, *range(10))
    await queued(endpoint, 10)

    assert numbers_of(await endpoint.recv_many()) == list(range(10 - queue_size, 10))
    assert endpoint.stats().dropped_queue == 10 - queue_size
    assert endpoint.stats().received == 10


@EVERY_POLICY
async def test_what_just_fits(
    endpoints: Endpoints, peer: socket.socket, overflow: aioudp.Overflow
) -> None:
    """As many datagrams as the queue has places are all kept (B116)."""
    endpoint = await endpoints.bind(queue_size=10, overflow=overflow)

    send_numbers(peer, endpoint, *range(10))
    await queued(endpoint, 10)

    assert numbers_of(await endpoint.recv_many()) == list(range(10))
    assert endpoint.stats().dropped_queue == 0


@EVERY_POLICY
async def test_places_are_free_again(
    endpoints: Endpoints, peer: socket.socket, overflow: aioudp.Overflow
) -> None:
    """What was received makes room: nothing more is dropped (B116)."""
    endpoint = await endpoints.bind(queue_size=3, overflow=overflow)

    for start in range(0, 30, 3):
        send_numbers(peer, endpoint, *range(start, start + 3))
        received = await WAYS_TO_RECEIVE["recv"](endpoint, 3)
        assert numbers_of(received) == list(range(start, start + 3))

    assert endpoint.stats().dropped_queue == 0


@EVERY_POLICY
async def test_a_queue_of_one(
    endpoints: Endpoints, peer: socket.socket, overflow: aioudp.Overflow
) -> None:
    """A queue with one place passes on one datagram after another."""
    endpoint = await endpoints.bind(queue_size=1, overflow=overflow)

    for number in range(20):
        send_numbers(peer, endpoint, number)
        assert numbers_of([await endpoint.recv()]) == [number]

    assert endpoint.stats() == aioudp.Stats(received=20, received_bytes=30)


@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest"])
async def test_a_train_longer_than_the_queue(
    endpoints: Endpoints, overflow: aioudp.Overflow
) -> None:
    """Of a train each datagram is kept or dropped for itself, and counted (B116)."""
    server, client = await endpoints.pair(queue_size=4, overflow=overflow)

    await client.send(b"0123456789", segment_size=1)
    await queued(server, 10)

    kept = [0, 1, 2, 3] if overflow == "drop-newest" else [6, 7, 8, 9]
    assert numbers_of(await server.recv_many()) == kept
    assert server.stats().dropped_queue == 6
    assert server.stats().received == 10


# -- pause: what does not fit stays in the kernel


@pytest.mark.parametrize("queue_size", [1, 3, 9])
async def test_pause(
    endpoints: Endpoints, peer: socket.socket, queue_size: int
) -> None:
    """With "pause" exactly so many are taken from the kernel as there are places."""
    endpoint = await endpoints.bind(queue_size=queue_size)
    skip_if_it_cannot_pause(endpoint)

    send_numbers(peer, endpoint, *range(10))
    await queued(endpoint, queue_size)
    await turns(20)

    assert endpoint.stats().received == queue_size
    in_the_kernel = endpoint.get_extra_info("socket").recv(100, socket.MSG_PEEK)
    assert in_the_kernel == b"%d" % queue_size


async def test_a_full_queue_by_default(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """By default nothing is dropped; where nothing can pause, the newest, counted."""
    endpoint = await endpoints.bind(queue_size=3)
    expected = 10 if endpoint.transport.can_pause else 3

    send_numbers(peer, endpoint, *range(10))
    await queued(endpoint, 3)
    await turns(20)

    received = await WAYS_TO_RECEIVE["recv"](endpoint, expected)
    assert numbers_of(received) == list(range(expected))
    assert endpoint.stats().received == 10
    assert endpoint.stats().dropped_queue == 10 - expected
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


@EVERY_WAY
@pytest.mark.parametrize("queue_size", [1, 2, 7])
async def test_after_a_pause_all_comes(
    endpoints: Endpoints, peer: socket.socket, queue_size: int, receive: Receive
) -> None:
    """What waited in the kernel during pauses is received, in order (B117)."""
    endpoint = await endpoints.bind(queue_size=queue_size)
    skip_if_it_cannot_pause(endpoint)

    send_numbers(peer, endpoint, *range(30))

    assert numbers_of(await receive(endpoint, 30)) == list(range(30))
    assert endpoint.stats().dropped_queue == 0


@EVERY_WAY
async def test_after_a_pause_what_comes_later_comes(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """An endpoint that was full and was emptied receives what is sent then (B117)."""
    endpoint = await endpoints.bind(queue_size=3)
    send_numbers(peer, endpoint, *range(3))
    await queued(endpoint, 3)
    await receive(endpoint, 3)

    send_numbers(peer, endpoint, *range(3, 6))

    assert numbers_of(await receive(endpoint, 3)) == [3, 4, 5]


async def test_after_a_pause_all_who_wait_are_served(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """With one place, many tasks that wait are all served, in order (B117)."""
    endpoint = await endpoints.bind(queue_size=1)
    skip_if_it_cannot_pause(endpoint)
    tasks = [asyncio.create_task(endpoint.recv()) for _ in range(10)]
    await until_blocked(*tasks)

    send_numbers(peer, endpoint, *range(10))

    assert numbers_of(await asyncio.gather(*tasks)) == list(range(10))


async def test_a_train_that_does_not_fit(endpoints: Endpoints) -> None:
    """With "pause" a train that was read is kept whole; nothing of it is dropped."""
    server, client = await endpoints.pair(queue_size=3)
    skip_if_it_cannot_pause(server)

    await client.send(b"0123456789", segment_size=1)

    assert numbers_of(await WAYS_TO_RECEIVE["recv"](server, 10)) == list(range(10))
    assert server.stats().dropped_queue == 0


# -- what the kernel drops


@linux_only
@EVERY_POLICY
async def test_kernel_drops_are_counted(
    endpoints: Endpoints, peer: socket.socket, overflow: aioudp.Overflow
) -> None:
    """Received and dropped by the kernel are what was sent, exactly (B238)."""
    endpoint = await endpoints.bind(receive_buffer=SMALL_BUFFER, overflow=overflow)

    send_numbers(peer, endpoint, *range(200))
    dropped = endpoint.stats().dropped_kernel
    received = numbers_of(await WAYS_TO_RECEIVE["recv"](endpoint, 200 - dropped))

    assert 0 < dropped < 200
    assert received == list(range(200 - dropped))
    stats = endpoint.stats()
    assert (stats.received, stats.dropped_kernel) == (200 - dropped, dropped)
    assert stats.dropped_queue == 0


@linux_only
async def test_kernel_drops_during_a_pause(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """While the queue is full the kernel drops, and counts on (B238)."""
    endpoint = await endpoints.bind(receive_buffer=SMALL_BUFFER, queue_size=5)
    skip_if_it_cannot_pause(endpoint)
    send_numbers(peer, endpoint, *range(5))
    await queued(endpoint, 5)

    send_numbers(peer, endpoint, *range(5, 200))
    await turns(20)

    stats = endpoint.stats()
    assert stats.received == 5
    assert stats.dropped_kernel > 0
    left = 200 - stats.dropped_kernel
    received = numbers_of(await WAYS_TO_RECEIVE["recv_many"](endpoint, left))
    assert received == list(range(left))
    assert endpoint.stats().received == left


@linux_only
async def test_kernel_drops_after_close(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The counts stay after close, the kernel's too (B238)."""
    endpoint = await endpoints.bind(receive_buffer=SMALL_BUFFER)
    send_numbers(peer, endpoint, *range(200))
    before = endpoint.stats()

    await endpoint.aclose()

    assert before.dropped_kernel > 0
    assert endpoint.stats() == before


# -- a protocol of the user's own may pause the transport


class Collector(asyncio.DatagramProtocol):
    """Keeps what it gets; pauses after each datagram if it is told to."""

    def __init__(self, transport: Any, *, pausing: bool = False) -> None:
        self.transport = transport
        self.pausing = pausing
        self.received: list[bytes] = []
        transport.set_protocol(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)
        if self.pausing:
            self.transport.pause_reading()


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
    """Notes when it is told to pause and to resume, and what errors there are."""

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
