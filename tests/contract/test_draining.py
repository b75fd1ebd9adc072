"""Draining: what has arrived is received, then iteration ends; nothing is lost.

The file is long because draining affects receiving, the queue, sending and closing.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    AF_UNIX,
    FullPeer,
    Gate,
    linux_only,
    outcome,
    plain_socket,
    refusing_address,
    turns,
    turns_until,
    unix_only,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

MANY = 300
BUFFER = 1 << 20  # bytes, room for that many


@pytest.fixture
def endpoint_options() -> Any:
    """Return the options of every endpoint here."""
    return {"receive_buffer": BUFFER}


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket to send from."""
    with plain_socket(host) as sock:
        yield sock


def send_numbers(sock: socket.socket, addr: Any, *numbers: int) -> None:
    """Send numbered datagrams; on loopback they are in the kernel at the end."""
    for number in numbers:
        sock.sendto(b"%d" % number, addr)


async def take_all(endpoint: aioudp.Endpoint) -> list[int]:
    return [int(data) async for data, _ in endpoint]


async def number(endpoint: aioudp.Endpoint) -> int:
    return int((await endpoint.recv()).data)


# -- nothing is lost


async def test_what_the_kernel_holds_is_handed_over(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The iterator gives it, in order, and ends."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, *range(MANY))

    received = [int(data) async for data, _ in endpoint.drain()]

    assert received == list(range(MANY))
    assert endpoint.stats().received == MANY


async def test_queue_and_kernel(endpoints: Endpoints, peer: socket.socket) -> None:
    """So it is if reading was paused, with some in the queue and some in the kernel."""
    endpoint = await endpoints.bind(queue_size=4)
    send_numbers(peer, endpoint.local_addr, *range(MANY))
    await turns(10)

    received = [int(data) async for data, _ in endpoint.drain()]

    stats = endpoint.stats()
    assert received == list(range(len(received)))
    assert len(received) + stats.dropped_queue == stats.received == MANY
    assert stats.dropped_queue == 0 or not endpoint.transport.can_pause


async def test_nobody_need_be_quick(endpoints: Endpoints, peer: socket.socket) -> None:
    """What the kernel holds is kept until somebody takes it, beyond queue_size."""
    endpoint = await endpoints.bind(queue_size=4)
    if not endpoint.transport.can_pause:
        pytest.skip("cannot: pause: this transport reads all the time")
    send_numbers(peer, endpoint.local_addr, *range(MANY))
    await turns(10)

    remaining = endpoint.drain()
    await turns(3 * MANY)
    send_numbers(peer, endpoint.local_addr, MANY)

    assert [int(data) async for data, _ in remaining] == list(range(MANY))


@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest"])
async def test_a_policy_that_discards(
    endpoints: Endpoints, peer: socket.socket, overflow: aioudp.Overflow
) -> None:
    """The policy holds while draining too, and counts."""
    endpoint = await endpoints.bind(queue_size=10, overflow=overflow)
    send_numbers(peer, endpoint.local_addr, *range(MANY))

    received = [int(data) async for data, _ in endpoint.drain()]

    stats = endpoint.stats()
    assert stats.received == MANY
    assert len(received) + stats.dropped_queue == MANY
    assert (MANY - 1 in received) == (
        overflow == "drop-oldest" or len(received) == MANY
    )


async def test_an_iteration_goes_on_to_the_end(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """A task that waits in "async for" takes what is there, and its loop ends."""
    endpoint = await endpoints.bind()
    serving = asyncio.create_task(take_all(endpoint))
    await until_blocked(serving)

    send_numbers(peer, endpoint.local_addr, *range(MANY))
    endpoint.drain()

    assert await serving == list(range(MANY))


async def test_a_train(endpoints: Endpoints) -> None:
    """The datagrams of a train are handed over one by one."""
    server, client = await endpoints.pair()
    await client.send(b"0123456789" * 10, segment_size=1)

    received = [data async for data, _ in server.drain()]

    assert received == [b"%d" % (number % 10) for number in range(100)]


async def test_empty_datagrams(endpoints: Endpoints, peer: socket.socket) -> None:
    """An empty datagram is one like any other."""
    endpoint = await endpoints.bind()
    for data in (b"", b"x", b""):
        peer.sendto(data, endpoint.local_addr)

    assert [data async for data, _ in endpoint.drain()] == [b"", b"x", b""]


async def test_nothing_there(endpoints: Endpoints) -> None:
    """Draining an endpoint that has nothing ends at once."""
    endpoint = await endpoints.bind()

    assert [one async for one in endpoint.drain()] == []


async def test_messages(transport: aioudp.TransportKind, host: str) -> None:
    """With packet_info, messages() gives what is left."""
    async with aioudp.bind((host, 0), transport=transport, packet_info=True) as server:
        async with aioudp.connect(server.local_addr) as client:
            await client.send_many((b"%d" % n, None) for n in range(50))
        server.drain()

        received = [int(message.data) async for message in server.messages()]

    assert received == list(range(50))


async def test_later_datagrams_are_not_handed_over(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """What arrives once everything was read stays outside."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, 1)
    assert [int(data) async for data, _ in endpoint.drain()] == [1]

    send_numbers(peer, endpoint.local_addr, 2)
    await turns(10)

    assert [one async for one in endpoint] == []
    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.recv_nowait()
    stats = endpoint.stats()
    assert stats.received == 1 + stats.dropped_close


@unix_only
async def test_unix(transport: aioudp.TransportKind, tmp_path: Path) -> None:
    """UNIX datagrams are drained as others are."""
    path = tmp_path / "server"
    async with aioudp.bind(path, transport=transport) as server:
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer:
            for data in (b"one", b"", b"three"):
                peer.sendto(data, str(path))

        assert [data async for data, _ in server.drain()] == [b"one", b"", b"three"]


# -- everybody ends


async def test_several_receivers(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """Who came first is served, the others learn that there will be nothing."""
    endpoint = await endpoints.bind()
    tasks = [asyncio.create_task(number(endpoint)) for _ in range(5)]
    await until_blocked(*tasks)

    send_numbers(peer, endpoint.local_addr, 1, 2)
    endpoint.drain()

    ends = [await outcome(task) for task in tasks]
    assert ends[:2] == [1, 2]
    assert {type(end) for end in ends[2:]} == {aioudp.EndpointClosedError}


async def test_several_iterations(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """Several workers share what is left, lose nothing, and all end."""
    endpoint = await endpoints.bind()

    async def work() -> list[int]:
        numbers = []
        async for data, _ in endpoint:
            await asyncio.sleep(0)
            numbers.append(int(data))
        return numbers

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await until_blocked(*tasks)
    send_numbers(peer, endpoint.local_addr, *range(MANY))
    endpoint.drain()

    shares = await asyncio.gather(*tasks)
    assert sorted(itertools.chain(*shares)) == list(range(MANY))


@pytest.mark.parametrize("after", range(6))
async def test_cancelled_meanwhile(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, after: int
) -> None:
    """A receiver that is cancelled takes nothing along, and holds nobody up."""
    endpoint = await endpoints.bind()
    first, *others = [asyncio.create_task(number(endpoint)) for _ in range(3)]
    await until_blocked(first, *others)

    send_numbers(peer, endpoint.local_addr, 1)
    endpoint.drain()
    await turns(after)
    first.cancel()

    ends = [await outcome(task) for task in (first, *others)]
    left = [int(data) async for data, _ in endpoint.drain()]
    assert [end for end in ends if end == 1] + left == [1]
    assert all(
        isinstance(end, (int, asyncio.CancelledError, aioudp.EndpointClosedError))
        for end in ends
    )


async def test_a_cancelled_batch(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """What a cancelled recv_batch leaves is handed over, before what came later."""
    for after in range(5):
        endpoint = await endpoints.bind()
        task = asyncio.create_task(endpoint.recv_batch())
        await until_blocked(task)

        send_numbers(peer, endpoint.local_addr, 0, 1, 2)
        await turns(after)
        send_numbers(peer, endpoint.local_addr, 3, 4)
        remaining = endpoint.drain()
        task.cancel()

        end = await outcome(task)
        cancelled = isinstance(end, asyncio.CancelledError)
        taken = [] if cancelled else [int(data) for data, _ in end]
        left = [int(data) async for data, _ in remaining]
        assert taken + left == [0, 1, 2, 3, 4]
        assert endpoint.stats().dropped_close == 0


async def test_the_error_comes_first(endpoints: Endpoints, peer: socket.socket) -> None:
    """An error of the network that is pending is raised, once, as ever."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, 1)
    endpoint.drain()
    await turns_until(lambda: endpoint.stats().received == 1)
    protocol: Any = endpoint.transport.get_protocol()
    protocol.error_received(ConnectionRefusedError())

    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()
    assert await take_all(endpoint) == [1]


async def test_receive_calls_after_the_end(endpoints: Endpoints) -> None:
    """Every receive call raises as after closing, and closing is still to come."""
    endpoint = await endpoints.bind()
    assert [one async for one in endpoint.drain()] == []

    with pytest.raises(aioudp.EndpointClosedError):
        await endpoint.recv()
    with pytest.raises(aioudp.EndpointClosedError):
        await endpoint.recv_many()
    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.recv_nowait()
    assert not endpoint.closed


async def test_again(endpoints: Endpoints, peer: socket.socket) -> None:
    """Draining twice is draining once, with two iterators over the same queue."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, 1, 2, 3)

    one, two = endpoint.drain(), endpoint.drain()

    assert [(await anext(each)).data for each in (one, two, one)] == [b"1", b"2", b"3"]
    assert [rest async for rest in two] == [rest async for rest in one] == []


async def test_after_close(endpoints: Endpoints, peer: socket.socket) -> None:
    """On a closed endpoint there is nothing, and no error."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, 1)
    endpoint.close()

    assert [one async for one in endpoint.drain()] == []


async def test_it_can_still_send(endpoints: Endpoints, peer: socket.socket) -> None:
    """Everything that was received can be answered."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, 1, 2)

    async for data, addr in endpoint.drain():
        await endpoint.send(data * 2, addr)
    await endpoint.send(b"bye", peer.getsockname())

    assert [peer.recv(100) for _ in range(3)] == [b"11", b"22", b"bye"]


async def test_a_send_that_waits(
    monkeypatch: pytest.MonkeyPatch,
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
) -> None:
    """Under pressure, senders go on waiting, and what they send goes out."""
    gate = Gate(monkeypatch)
    endpoint = await endpoints.bind()
    sending = asyncio.create_task(endpoint.send(b"late", peer.getsockname()))
    await until_blocked(sending)

    assert [one async for one in endpoint.drain()] == []
    gate.grants = [1]

    await sending
    assert peer.recv(100) == b"late"


@unix_only
async def test_a_unix_send_that_waits(
    transport: aioudp.TransportKind, tmp_path: Path, until_blocked: UntilBlocked
) -> None:
    """So it is with a UNIX peer whose queue is full."""
    full = FullPeer(tmp_path / "full")
    with full.sock:
        async with aioudp.bind(tmp_path / "own", transport=transport) as endpoint:
            sending = asyncio.create_task(endpoint.send(b"late", full.path))
            await until_blocked(sending)

            assert [one async for one in endpoint.drain()] == []

            assert await full.wait_for(1) == [b"late"]
            await sending


@linux_only
async def test_with_an_error_queue(host: str, peer: socket.socket) -> None:
    """Errors of what is still sent are reported after draining, until the end."""
    async with aioudp.bind((host, 0), icmp_errors=True) as endpoint:
        send_numbers(peer, endpoint.local_addr, *range(50))
        with refusing_address(host) as dead:
            await endpoint.send(b"x", dead)
            received = [int(data) async for data, _ in endpoint.drain()]
            await endpoint.send(b"y", dead)
            errors = [await endpoint.recv_error() for _ in range(2)]

    assert received == list(range(50))
    assert [error.data for error in errors] == [b"x", b"y"]


# -- it ends, whatever arrives


@linux_only
async def test_a_flood_does_not_keep_it_busy(endpoints: Endpoints, host: str) -> None:
    """A sender that never stops cannot keep an endpoint from ending."""
    endpoint = await endpoints.bind(queue_size=10)
    addr: Any = endpoint.local_addr
    stop = threading.Event()

    def flood() -> None:
        with plain_socket(host) as sock:
            while not stop.is_set():
                for _ in range(100):
                    sock.sendto(b"flood", addr)

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    try:
        await turns_until(lambda: endpoint.stats().received >= 10)
        async for _ in endpoint.drain():
            pass
    finally:
        stop.set()
        await flooding

    assert endpoint.stats().received >= 10


async def test_close_while_draining(endpoints: Endpoints, peer: socket.socket) -> None:
    """Closing ends the draining, and counts what it has discarded."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, *range(10))
    remaining = endpoint.drain()
    await turns_until(lambda: endpoint.stats().received == 10)
    assert (await anext(remaining)).data == b"0"

    endpoint.close()

    assert [one async for one in remaining] == []
    assert endpoint.stats().dropped_close == 9


# -- what closing discards


async def test_close_counts_what_it_discards(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """Of what was received, each datagram was handed over or is counted."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint.local_addr, *range(10))
    await turns_until(lambda: endpoint.stats().received == 10)
    await endpoint.recv()
    assert endpoint.stats().dropped_close == 0

    await endpoint.aclose()
    endpoint.close()

    stats = endpoint.stats()
    assert (stats.received, stats.dropped_close) == (10, 9)


# -- endpoints for groups and for everybody


@linux_only
@pytest.mark.parametrize("family", [socket.AF_INET], ids=["ipv4"])
@pytest.mark.parametrize("kind", ["multicast", "broadcast"])
async def test_fan_out_endpoints(
    transport: aioudp.TransportKind, host: str, kind: str
) -> None:
    """They drain like any other, and can still send."""
    opening: Any = (
        aioudp.open_multicast("239.255.77.1", 0, interfaces=[host], transport=transport)
        if kind == "multicast"
        else aioudp.open_broadcast(0, interfaces=[host], transport=transport)
    )
    async with opening as endpoint:
        for number in range(20):
            await endpoint.send(b"%d" % number)

        received = [int(data) async for data, _ in endpoint.drain()]

        assert received == list(range(20))
        assert [outcome.sent for outcome in await endpoint.send(b"bye")] == [True]
        assert [one async for one in endpoint] == []


@linux_only
async def test_what_is_ones_own_is_left_out(transport: aioudp.TransportKind) -> None:
    """Draining leaves out what receiving leaves out."""
    async with aioudp.open_broadcast(
        0, interfaces=["127.0.0.1"], receive_own=False, transport=transport
    ) as endpoint:
        await endpoint.send(b"own")
        with plain_socket("127.0.0.1") as peer:
            peer.sendto(b"other", ("127.0.0.1", endpoint.local_addr[1]))

            assert [data async for data, _ in endpoint.drain()] == [b"other"]
