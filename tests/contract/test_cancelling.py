"""Cancelling a receive: in whatever turn of the loop it falls, nothing is lost.

Sends that are cancelled while they wait for room are in ``test_full_peer.py``.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, outcome, turns

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

Wait = Callable[[aioudp.Endpoint], Coroutine[Any, Any, list[aioudp.Datagram]]]

# Where the family makes no difference, one is enough.
IPV4_ALONE = pytest.mark.parametrize("host", ["127.0.0.1"])
EVERY_TURN = pytest.mark.parametrize("turn", range(5))


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


async def recv(endpoint: aioudp.Endpoint) -> list[aioudp.Datagram]:
    return [await endpoint.recv()]


async def recv_many(endpoint: aioudp.Endpoint) -> list[aioudp.Datagram]:
    return await endpoint.recv_many()


async def recv_batch(endpoint: aioudp.Endpoint) -> list[aioudp.Datagram]:
    return list(await endpoint.recv_batch())


async def recv_one_of_many(endpoint: aioudp.Endpoint) -> list[aioudp.Datagram]:
    return await endpoint.recv_many(1)


async def iterate(endpoint: aioudp.Endpoint) -> list[aioudp.Datagram]:
    async for datagram in endpoint:
        return [datagram]
    raise AssertionError


EVERY_WAIT = pytest.mark.parametrize("wait", [recv, recv_many, recv_batch, iterate])


def send_numbers(sock: socket.socket, endpoint: aioudp.Endpoint, *numbers: int) -> None:
    """Send numbered datagrams; on loopback they are in the kernel at the end."""
    for number in numbers:
        sock.sendto(b"%d" % number, endpoint.local_addr)


async def numbers_received(
    endpoint: aioudp.Endpoint, tasks: list[asyncio.Task[list[aioudp.Datagram]]]
) -> list[int]:
    """Return what the tasks that were not cancelled got, in their order."""
    for task in tasks:
        await asyncio.wait([task])
    return [
        int(data) for task in tasks if not task.cancelled() for data, _ in task.result()
    ]


# -- one task


@EVERY_WAIT
async def test_cancelled_before_it_began(
    endpoints: Endpoints, peer: socket.socket, wait: Wait
) -> None:
    """A call that is cancelled before its first step takes nothing (B112)."""
    endpoint = await endpoints.bind()
    send_numbers(peer, endpoint, 1)
    await turns(5)

    task = asyncio.create_task(wait(endpoint))
    task.cancel()
    received = await numbers_received(endpoint, [task])

    if not received:  # an eager task has taken its datagram before it was cancelled
        received = [int((await endpoint.recv()).data)]
    assert received == [1]


@EVERY_WAIT
async def test_cancelled_while_it_waits(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    wait: Wait,
) -> None:
    """A call that is cancelled while it waits leaves no trace (B113)."""
    endpoint = await endpoints.bind()
    task = asyncio.create_task(wait(endpoint))
    await until_blocked(task)

    task.cancel()
    assert isinstance(await outcome(task), asyncio.CancelledError)
    send_numbers(peer, endpoint, 1, 2)

    assert (await endpoint.recv()).data == b"1"
    assert (await endpoint.recv()).data == b"2"


@EVERY_TURN
@EVERY_WAIT
async def test_cancelled_as_a_datagram_arrives(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    wait: Wait,
    turn: int,
) -> None:
    """In whatever turn it is cancelled, the datagram is returned or stays (B113)."""
    endpoint = await endpoints.bind()
    task = asyncio.create_task(wait(endpoint))
    await until_blocked(task)

    send_numbers(peer, endpoint, 1)
    await turns(turn)
    task.cancel()

    received = await numbers_received(endpoint, [task])
    if not received:
        received = [int((await endpoint.recv()).data)]
    assert received == [1]
    assert endpoint.stats().received == 1


@EVERY_TURN
@pytest.mark.parametrize("receive", [recv_many, recv_batch])
async def test_cancelled_as_a_train_arrives(
    endpoints: Endpoints, until_blocked: UntilBlocked, turn: int, receive: Any
) -> None:
    """So it is with the many datagrams of a train (B113)."""
    server, client = await endpoints.pair()
    task = asyncio.create_task(receive(server))
    await until_blocked(task)

    await client.send(b"0123456789", segment_size=1)
    await turns(turn)
    task.cancel()

    received = await numbers_received(server, [task])
    while len(received) < 10:
        received.append(int((await server.recv()).data))
    assert received == list(range(10))


@pytest.mark.pauses
@EVERY_TURN
async def test_cancelled_with_a_full_queue(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, turn: int
) -> None:
    """Cancelling while the queue is full does not keep it from going on (B113)."""
    endpoint = await endpoints.bind(queue_size=1)
    if not endpoint.transport.can_pause:
        pytest.skip("cannot: pause: the event loop's own transport cannot")
    task = asyncio.create_task(recv(endpoint))
    await until_blocked(task)

    send_numbers(peer, endpoint, *range(5))
    await turns(turn)
    task.cancel()

    received = await numbers_received(endpoint, [task])
    while len(received) < 5:
        received.append(int((await endpoint.recv()).data))
    assert received == list(range(5))


# -- several tasks


@EVERY_TURN
@EVERY_WAIT
async def test_the_turn_of_a_cancelled_task_is_the_next_ones(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    wait: Wait,
    turn: int,
) -> None:
    """What a cancelled task does not take, the one behind it gets (B113)."""
    endpoint = await endpoints.bind()
    tasks = [asyncio.create_task(each(endpoint)) for each in (wait, recv)]
    await until_blocked(*tasks)

    send_numbers(peer, endpoint, 1)
    await turns(turn)
    tasks[0].cancel()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not tasks[0].cancelled():
        send_numbers(peer, endpoint, 2)

    received = await numbers_received(endpoint, tasks)
    assert received == ([1] if tasks[0].cancelled() else [1, 2])


@pytest.mark.parametrize(
    "cancelled", [[0], [1], [4], [0, 1], [1, 3], [0, 2, 4], [1, 2, 3]], ids=str
)
async def test_cancelled_in_the_line(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    cancelled: list[int],
) -> None:
    """Those who wait keep their order when others among them are cancelled (B113)."""
    endpoint = await endpoints.bind()
    tasks = [asyncio.create_task(recv(endpoint)) for _ in range(5)]
    await until_blocked(*tasks)

    for number in cancelled:
        tasks[number].cancel()
    send_numbers(peer, endpoint, *range(5 - len(cancelled)))

    assert await numbers_received(endpoint, tasks) == list(range(5 - len(cancelled)))
    assert [task.cancelled() for task in tasks] == [
        number in cancelled for number in range(5)
    ]


@EVERY_TURN
async def test_cancelled_in_the_line_as_datagrams_arrive(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, turn: int
) -> None:
    """In whatever turn some are cancelled, the others get all, in order (B113)."""
    endpoint = await endpoints.bind()
    waits = [recv, recv_one_of_many, iterate] * 2
    tasks = [asyncio.create_task(wait(endpoint)) for wait in waits]
    await until_blocked(*tasks)

    send_numbers(peer, endpoint, *range(6))
    await turns(turn)
    for number in (0, 2, 4):
        tasks[number].cancel()
    send_numbers(peer, endpoint, *range(6, 12))

    received = await numbers_received(endpoint, tasks)
    while len(received) < 12:
        received.append(int((await endpoint.recv()).data))
    assert received == list(range(12))


# -- timeouts


async def test_a_timeout_returns_nothing(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A recv that times out raises TimeoutError; the next one is as ever (B110)."""
    endpoint = await endpoints.bind()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await endpoint.recv()
    send_numbers(peer, endpoint, 1)

    assert await endpoint.recv() == (b"1", peer.getsockname())


async def by_timeout(endpoint: aioudp.Endpoint, delay: float) -> aioudp.Datagram:
    async with asyncio.timeout(delay):
        return await endpoint.recv()


async def by_wait_for(endpoint: aioudp.Endpoint, delay: float) -> aioudp.Datagram:
    return await asyncio.wait_for(endpoint.recv(), delay)


TimedRecv = Callable[[aioudp.Endpoint, float], Awaitable[aioudp.Datagram]]
EVERY_TIMEOUT = pytest.mark.parametrize("timed_recv", [by_timeout, by_wait_for])

STORM = 1000  # datagrams


class Storm:
    """Sends numbered datagrams at odd moments around those when a timeout ends."""

    def __init__(self, sock: socket.socket, endpoint: aioudp.Endpoint) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._random = random.Random(113)
        self._next = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._send)

    def _send(self) -> None:
        burst = self._random.choice([1, 1, 1, 2, 5, 20])
        end = min(self._next + burst, STORM)
        send_numbers(self._sock, self._endpoint, *range(self._next, end))
        self._next = end
        if end < STORM:
            self._loop.call_later(self._random.uniform(0, 0.003), self._send)


@IPV4_ALONE
@EVERY_TIMEOUT
async def test_storm_of_timeouts(
    endpoints: Endpoints, peer: socket.socket, timed_recv: TimedRecv
) -> None:
    """Under timeouts of 1 ms all datagrams are received once, in order (B113)."""
    endpoint = await endpoints.bind()
    received: list[int] = []
    timeouts = 0

    Storm(peer, endpoint)
    while len(received) < STORM:
        try:
            received.append(int((await timed_recv(endpoint, 0.001)).data))
        except TimeoutError:
            timeouts += 1

    assert received == list(range(STORM))
    assert timeouts > 10
    assert endpoint.stats().received == STORM


@IPV4_ALONE
@EVERY_TIMEOUT
async def test_storm_of_timeouts_on_several_tasks(
    endpoints: Endpoints, peer: socket.socket, timed_recv: TimedRecv
) -> None:
    """So it is when several tasks receive: each datagram reaches one of them."""
    endpoint = await endpoints.bind()
    shares: list[list[int]] = [[] for _ in range(4)]

    async def receive(share: list[int]) -> None:
        while True:
            with suppress(TimeoutError):
                share.append(int((await timed_recv(endpoint, 0.001)).data))
            if sum(map(len, shares)) == STORM:
                done.set()

    done = asyncio.Event()
    Storm(peer, endpoint)
    tasks = [asyncio.create_task(receive(share)) for share in shares]
    await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert sorted(number for share in shares for number in share) == list(range(STORM))
    assert all(share == sorted(share) for share in shares)


@IPV4_ALONE
async def test_storm_of_cancellations(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """Cancelled after any number of turns, again and again, nothing is lost (B113)."""
    endpoint = await endpoints.bind()
    chance = random.Random(112)
    received: list[int] = []
    sent = 0

    while len(received) < STORM:
        way = chance.choice([recv, recv_many, recv_batch, iterate])
        task = asyncio.create_task(way(endpoint))
        for _ in range(chance.randrange(5)):
            if sent < STORM and chance.random() < 0.4:
                send_numbers(peer, endpoint, sent)
                sent += 1
            await asyncio.sleep(0)
        task.cancel()
        received += await numbers_received(endpoint, [task])

    assert received == list(range(STORM))
