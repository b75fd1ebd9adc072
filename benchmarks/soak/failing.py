"""Scenarios: full buffers, missing descriptors, cancelled calls, forgotten objects."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aioudp

from .account import Account, numbered
from .world import NOBODY, World, anywhere, listed

_MOST = 2000
"""More than a UNIX socket takes, whose receiver doesn't read (max_dgram_qlen)."""


@listed(anywhere)
async def full_buffer(world: World, rng: random.Random) -> None:
    """A peer doesn't read: sends wait, and some of them are cancelled."""
    if sys.platform == "win32":  # which has no UNIX sockets
        return
    path = str(world.path())
    account = Account()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(path)
        async with aioudp.connect(path) as endpoint:
            sending: dict[int, asyncio.Task[None]] = {}
            filled = 0
            for number in world.numbers(_MOST):
                task = asyncio.create_task(endpoint.send(numbered(number)))
                await asyncio.sleep(0)
                sending[number] = task
                filled += not task.done()
                if filled == 5:
                    break
            for task in list(sending.values())[-5:]:
                if rng.random() < 0.5 and task.cancel():
                    world.tally.fault("cancelled sender")
            many = world.numbers(rng.randint(1, 20))
            rest = asyncio.create_task(
                endpoint.send_many([(numbered(number), None) for number in many])
            )
            world.tally.fault("send buffer full")
            while not rest.done():
                _read_all(peer, account)
                await asyncio.sleep(0)
            await asyncio.wait([rest, *sending.values()])
            await rest
            account.sent(many)
            for number, task in sending.items():
                if not task.cancelled():
                    task.result()
                    account.sent([number])
            _read_all(peer, account)
            closing = [
                asyncio.create_task(endpoint.send(numbered(number)))
                for number in world.numbers(rng.choice((0, len(sending) + 20)))
            ]
            await asyncio.sleep(0)
        if closing:
            await asyncio.wait(closing)
            for task in closing:
                if isinstance(task.exception(), aioudp.EndpointClosedError):
                    world.tally.fault("closed while a send waits")
    os.unlink(path)
    received = account.count_got
    world.tally.settle(account.balance(aioudp.Stats(received=received)), "full_buffer")


def _read_all(peer: socket.socket, account: Account) -> int:
    """Read with a plain socket; return how many there were."""
    count = 0
    while True:
        try:
            data = peer.recv(100)
        except BlockingIOError:
            return count
        account.got(data)
        count += 1


Open = Callable[[], Awaitable[Any]]


def openings(world: World) -> dict[str, Open]:
    """Return what can be opened, anywhere."""

    async def dropin() -> Any:
        transport, _ = await aioudp.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0)
        )
        return _Transport(transport)

    def serve() -> Awaitable[Any]:
        return aioudp.serve(lambda data, addr: data, ("127.0.0.1", 0))

    async def adopt() -> Any:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            return await aioudp.adopt(sock)
        except BaseException:
            sock.close()
            raise

    return {
        "bind": lambda: aioudp.bind(("127.0.0.1", 0)),
        "loop": lambda: aioudp.bind(("127.0.0.1", 0), transport="loop"),
        "icmp": lambda: aioudp.bind(("127.0.0.1", 0), icmp_errors=True),
        "connect": lambda: aioudp.connect(("127.0.0.1", NOBODY)),
        "unix": lambda: aioudp.bind(world.path()),
        "client": lambda: aioudp.open_client(("127.0.0.1", NOBODY)),
        "ports": lambda: aioudp.open_client(("127.0.0.1", NOBODY), ports=4),
        "serve": serve,
        "dropin": dropin,
        "adopt": adopt,
    }


WARNINGS: Final = {"client": 2, "ports": 5}
"""The most ResourceWarnings of those that have endpoints inside."""


class _Transport:
    """Gives a transport the method that endpoints have."""

    def __init__(self, transport: aioudp.DatagramTransport) -> None:
        self.transport_only = transport

    async def aclose(self) -> None:
        self.transport_only.abort()
        await asyncio.sleep(0)


@listed(anywhere)
async def cancelled_calls(world: World, rng: random.Random) -> None:
    """Opening, closing, draining and waiting are cancelled at any step."""
    ways = openings(world)
    for _ in range(6):
        task = asyncio.create_task(_open_and_close(ways[rng.choice([*ways])]))
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(0)
        if task.cancel():
            world.tally.fault("cancelled opening")
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
        waits: list[Callable[[], Any]] = [
            endpoint.recv,
            endpoint.recv_many,
            endpoint.recv_batch,
        ]
        tasks = [asyncio.create_task(rng.choice(waits)()) for _ in range(5)]
        await asyncio.sleep(0)
        rng.choice(tasks).cancel()
        endpoint.close() if rng.random() < 0.5 else endpoint.drain()
        await asyncio.wait(tasks)
        for waiting in tasks:
            if not waiting.cancelled():
                if not isinstance(waiting.exception(), aioudp.EndpointClosedError):
                    world.tally.surprise("a receiver wasn't told of the close")
                world.tally.fault("closed while a receive waits")


async def _open_and_close(open_: Open) -> None:
    opened = await open_()
    await opened.aclose()


@listed(anywhere)
async def forgotten(world: World, rng: random.Random) -> None:
    """What nobody closes warns when it's collected, and is closed."""
    ways = openings(world)
    del ways["serve"]  # runs on, as a task of its own
    del ways["dropin"]  # the loop holds it, as it holds asyncio's own transports
    for _ in range(3):
        name = rng.choice([*ways])
        opened = await ways[name]()
        if rng.random() < 0.3:  # only the collector can free it
            cycle: list[Any] = [opened]
            cycle.append(cycle)
            del cycle
        world.tally.forgot(WARNINGS.get(name, 1))
        del opened
        world.tally.fault("forgotten open")
    gc.collect()
    await asyncio.sleep(0)
