"""The queue: its policies, and what it drops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, WAYS_TO_RECEIVE, linux_only, turns, turns_until

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


@pytest.mark.pauses
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


@pytest.mark.pauses
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


@pytest.mark.pauses
@pytest.mark.parametrize("way", [*WAYS_TO_RECEIVE, "one by one"])
async def test_an_emptied_queue_is_filled_again(
    endpoints: Endpoints, peer: socket.socket, way: str
) -> None:
    """Reading resumes with the last datagram taken; nobody need call again."""
    endpoint = await endpoints.bind(queue_size=4)
    skip_if_it_cannot_pause(endpoint)
    send_numbers(peer, endpoint, *range(12))
    await turns_until(lambda: not endpoint.transport.is_reading())
    queued_first = endpoint.stats().received

    if way == "one by one":
        received = [(await endpoint.recv_many(1))[0] for _ in range(queued_first)]
    else:
        received = await WAYS_TO_RECEIVE[way](endpoint, queued_first)

    assert numbers_of(received) == list(range(queued_first))
    await turns_until(lambda: endpoint.stats().received > queued_first)


@pytest.mark.pauses
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


@pytest.mark.pauses
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
@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("segmented", [True, False])
async def test_the_largest_possible_loss(
    endpoints: Endpoints, offload: bool, segmented: bool
) -> None:
    """A dropped train counts as one drop; what the counts leave open, they say."""
    options: Any = {"offload": offload, "queue_size": 10, "receive_buffer": 200_000}
    endpoint = await endpoints.bind(**options)
    sender = await endpoints.connect(endpoint.local_addr, offload=segmented)
    sent = 20_000

    await sender.send_many([(bytes(64), None)] * sent)
    left = [one async for one in endpoint.drain()]

    stats = endpoint.stats()
    assert len(left) + stats.dropped_queue == stats.received < sent
    assert stats.received + stats.dropped_kernel <= sent
    assert sent <= stats.received + stats.dropped_kernel_max
    assert stats.dropped_kernel > 0
    if not endpoint.get_extra_info("offload")["gro"]:
        assert stats.dropped_kernel_exact
        assert stats.received + stats.dropped_kernel == sent
    elif segmented:
        assert not stats.dropped_kernel_exact
        assert stats.received + stats.dropped_kernel < sent


@pytest.mark.pauses
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
