"""Several tasks that receive: each has its turn, and nobody overtakes."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, plain_socket, turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked


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


async def test_first_come_first_served(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """Tasks that wait are served in the order in which they came (B111)."""
    endpoint = await endpoints.bind()
    order: list[tuple[int, bytes]] = []

    async def receive(number: int) -> None:
        data, _ = await endpoint.recv()
        order.append((number, data))

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(receive(number)))
        await until_blocked(*tasks)
    send_all(peer, endpoint, *(b"%d" % number for number in range(5)))
    await asyncio.gather(*tasks)

    assert order == [(number, b"%d" % number) for number in range(5)]


async def test_one_datagram_serves_one(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """One datagram serves the task that came first; the others go on waiting (B111)."""
    endpoint = await endpoints.bind()
    tasks = [asyncio.create_task(endpoint.recv()) for _ in range(3)]
    await until_blocked(*tasks)

    for task in tasks:
        send_all(peer, endpoint, b"hello")
        await task
        await until_blocked(*tasks)

        done = [other.done() for other in tasks]
        assert done == sorted(done, reverse=True)
        assert sum(done) == tasks.index(task) + 1


async def test_every_way_to_wait_has_its_place(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """Tasks in recv, recv_many and iteration wait in one line (B111)."""
    endpoint = await endpoints.bind()
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(endpoint.recv()),
        asyncio.create_task(endpoint.recv_many(1)),
        asyncio.create_task(anext(endpoint)),
        asyncio.create_task(endpoint.recv_batch(1)),
        asyncio.create_task(endpoint.recv()),
    ]
    await until_blocked(*tasks)

    send_all(peer, endpoint, *(b"%d" % number for number in range(5)))

    datagrams = [(b"%d" % number, peer.getsockname()) for number in range(len(tasks))]
    assert await asyncio.gather(*tasks) == [
        datagrams[0],
        [datagrams[1]],
        datagrams[2],
        [datagrams[3]],
        datagrams[4],
    ]


@pytest.mark.parametrize("way", ["recv_many", "recv_batch"])
async def test_recv_many_leaves_others_their_place(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, way: str
) -> None:
    """Those behind a recv_many that takes all are next, and in order (B111) (B114)."""
    endpoint = await endpoints.bind()
    many = asyncio.create_task(getattr(endpoint, way)())
    behind = [asyncio.create_task(endpoint.recv()) for _ in range(2)]
    await until_blocked(many, *behind)
    send_all(peer, endpoint, b"0", b"1", b"2")
    taken = await many
    rest = 2 - (3 - len(taken))  # how many are still waiting

    send_all(peer, endpoint, *(b"%d" % number for number in range(3, 3 + rest)))

    received = payloads_of([*taken, *await asyncio.gather(*behind)])
    assert received == [b"%d" % number for number in range(3 + rest)]


@pytest.mark.parametrize("turn", range(5))
async def test_nobody_overtakes(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    turn: int,
) -> None:
    """Whoever comes while others wait goes behind them, in whatever turn (B111)."""
    endpoint = await endpoints.bind()
    order: list[str] = []

    async def receive(name: str) -> None:
        await endpoint.recv()
        order.append(name)

    early = [asyncio.create_task(receive(name)) for name in ("first", "second")]
    await until_blocked(*early)

    send_all(peer, endpoint, b"one")
    await turns(turn)
    late = asyncio.create_task(receive("late"))
    send_all(peer, endpoint, b"two", b"three")
    await asyncio.gather(*early, late)

    assert order == ["first", "second", "late"]


@pytest.mark.parametrize("turn", range(5))
async def test_recv_nowait_does_not_overtake(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    turn: int,
) -> None:
    """While a task waits, recv_nowait gets nothing, in whatever turn (B111)."""
    endpoint = await endpoints.bind()
    waiting = [asyncio.create_task(endpoint.recv()) for _ in range(2)]
    await until_blocked(*waiting)
    send_all(peer, endpoint, b"hello")
    await turns(turn)

    with pytest.raises(BlockingIOError, match="waiting"):
        endpoint.recv_nowait()

    assert await waiting[0] == (b"hello", peer.getsockname())
    waiting[1].cancel()


async def test_two_endpoints_on_one_socket(
    transport: aioudp.TransportKind, host: str, peer: socket.socket
) -> None:
    """What one reader took from a shared socket the other just misses (B105) (B114)."""
    received: list[bytes] = []

    async def receive(endpoint: aioudp.Endpoint) -> None:
        async for data, _ in endpoint:
            received.append(data)

    with plain_socket(host) as shared:
        copies = shared.dup(), shared.dup()
    async with (
        aioudp.adopt(copies[0], transport=transport) as one,
        aioudp.adopt(copies[1], transport=transport) as another,
    ):
        tasks = [asyncio.create_task(receive(each)) for each in (one, another)]
        for number in range(40):
            send_all(peer, one, b"%d" % number)
            await turns_until(lambda: len(received) > number)  # noqa: B023

        assert received == [b"%d" % number for number in range(40)]
        assert not any(task.done() for task in tasks)
        assert one.stats().received + another.stats().received == 40


async def test_one_task_sends_and_one_receives(endpoints: Endpoints) -> None:
    """One task sends on an endpoint while another receives on it (B124)."""
    server, client = await endpoints.pair()
    payloads = [b"%d" % number for number in range(200)]

    async def echo() -> None:
        async for data, addr in server:
            await server.send(data, addr)

    async def send() -> None:
        for payload in payloads:
            await client.send(payload)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        echoing = tasks.create_task(echo())
        sending = tasks.create_task(send())
        received = [await client.recv() for _ in payloads]
        await sending
        echoing.cancel()

    assert payloads_of(received) == payloads


async def test_a_thread_sends_and_the_loop_receives(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A thread sends through the loop while a task receives (B125)."""
    endpoint = await endpoints.bind()
    loop = asyncio.get_running_loop()

    def send_from_a_thread() -> None:
        for number in range(20):
            sending = endpoint.send(b"%d" % number, endpoint.local_addr)
            asyncio.run_coroutine_threadsafe(sending, loop).result(10)

    thread = threading.Thread(target=send_from_a_thread)
    thread.start()
    received = [await endpoint.recv() for _ in range(20)]
    await asyncio.to_thread(thread.join)

    assert payloads_of(received) == [b"%d" % number for number in range(20)]
