"""Scenarios: servers and clients, with requests that get lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aioudp

from .account import numbered
from .standing import IDS
from .world import NOBODY, World, anywhere, lasting, listed, until


def _id(data: bytes) -> bytes:
    return data[:8]


def _handler(world: World, rng: random.Random) -> Callable[..., Any]:
    """Return a handler that doesn't always answer."""

    def answer(data: bytes, addr: Any) -> bytes | None:
        chance = rng.random()
        if chance < 0.15:
            world.tally.fault("a request that isn't answered")
            return None
        if chance < 0.2:
            world.tally.fault("a handler that fails")
            raise ZeroDivisionError
        return data

    async def answer_later(data: bytes, addr: Any) -> bytes | None:
        await asyncio.sleep(rng.choice((0, 0, 0.002)))
        return answer(data, addr)

    return answer_later if rng.random() < 0.5 else answer


@listed(anywhere)
async def requests(world: World, rng: random.Random) -> None:
    """Requests are repeated until they're answered, given up or cancelled."""
    host = rng.choice(world.hosts)
    options: dict[str, Any] = {
        "concurrency": rng.choice((1, 4, 100)),
        "when_busy": rng.choice(("drop-newest", "drop-oldest", "wait")),
    }
    if rng.random() < 0.3:
        options["dedupe"] = _id
    if rng.random() < 0.3:
        options["accept"] = aioudp.RateLimit(1000, 30)
    if rng.random() < 0.3:
        options["amplification"] = 3.0
    handler = _handler(world, rng)
    keyed = rng.random() < 0.7
    async with aioudp.serve(handler, (host, 0), offload=False, **options) as server:
        world.tally.did("serve")
        async with aioudp.open_client(
            server.local_addr if rng.random() < 0.5 else None,
            key=_id if keyed else None,
            timeout=0.02,
            retries=3,
            backoff=1.5,
            ports=rng.choice((1, 1, 4)) if keyed else 1,
            offload=False,
        ) as client:
            world.tally.did("open_client")
            asking = [
                asyncio.create_task(_ask(world, rng, client, server.local_addr))
                for _ in range(rng.choice((1, 5, 20)) if keyed else 3)
            ]
            if rng.random() < 0.3:
                await asyncio.sleep(0.01 * rng.random())
                for task in asking:
                    if rng.random() < 0.5 and task.cancel():
                        world.tally.fault("cancelled request")
            await asyncio.wait(asking)
            for task in asking:
                if not task.cancelled():
                    task.result()
            asked = client.stats().endpoint
            await until(lambda: _read(server.stats().endpoint) >= asked.sent)
            if not await server.drain(20.0):
                world.tally.surprise("a server didn't drain")
            served = server.stats()
            if keyed:
                await until(
                    lambda: _read(client.stats().endpoint) >= served.endpoint.sent
                )
    _balance(world, client.stats(), served, keyed=keyed)


async def _ask(
    world: World, rng: random.Random, client: aioudp.Client, addr: Any
) -> None:
    (number,) = world.numbers(1)
    data = numbered(number, rng.choice((8, 100, 1000)))
    try:
        answer = await client.request(data, addr)
    except aioudp.RequestTimeoutError:
        world.tally.fault("a request that timed out")
    else:
        world.tally.did("request")
        if answer.data != data:
            world.tally.surprise("a wrong answer")


def _read(stats: aioudp.Stats) -> int:
    return stats.received + stats.dropped_kernel


def _balance(
    world: World,
    asked: aioudp.ClientStats,
    served: aioudp.ServerStats,
    *,
    keyed: bool,
) -> None:
    """Account for the requests and for the replies."""
    there = served.endpoint
    handled = served.requests + served.rejected + served.duplicates
    handled += there.dropped_queue + there.dropped_close
    where = f"requests: {asked} {served}"
    world.tally.flow(asked.endpoint.sent, there.received, there.dropped_kernel, where)
    world.tally.differ(there.received, handled, f"handled, {where}")
    if not keyed:
        return  # a late answer finds its port closed, and nobody counts it
    back = asked.endpoint
    world.tally.flow(there.sent, back.received, back.dropped_kernel, f"to {where}")
    known = asked.answered + asked.malformed + asked.unmatched + asked.strangers
    # An answer that comes together with the cancellation is nobody's.
    if not 0 <= back.received - known <= asked.cancelled:
        world.tally.differ(back.received, known, f"known, {where}")


@listed(anywhere)
async def closed_server(world: World, rng: random.Random) -> None:
    """A server is closed while its handlers run and requests wait."""
    host = rng.choice(world.hosts)
    started = 0

    async def never(data: bytes, addr: Any) -> None:
        nonlocal started
        started += 1
        await asyncio.get_running_loop().create_future()

    sent = rng.randint(1, 40)
    async with aioudp.bind((host, 0)) as sender:
        server = await aioudp.serve(
            never,
            (host, 0),
            offload=False,
            concurrency=rng.choice((1, 5)),
            when_busy=rng.choice(("drop-newest", "drop-oldest", "wait")),
        )
        await sender.send_many([(b"x" * 8, server.local_addr)] * sent)
        await until(lambda: started > 0)
        ended = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        if rng.random() < 0.5:
            ended.cancel()
        await server.aclose()
        await asyncio.wait([ended])
        stats = server.stats()
        there = stats.endpoint
        world.tally.differ(
            there.received,
            stats.requests + there.dropped_queue + there.dropped_close,
            f"closed_server: {stats}",
        )
        world.tally.fault("a server closed with running handlers")
        world.tally.did("serve")


@listed(anywhere)
async def refused(world: World, rng: random.Random) -> None:
    """Nobody listens: ICMP errors reach whoever asked for them."""
    host = rng.choice(world.hosts)
    addr = host, NOBODY
    count = rng.choice((1, 5, 30))
    async with aioudp.bind((host, 0), icmp_errors=True) as endpoint:
        for _ in range(count):
            await endpoint.send(b"anybody?", addr)
        await until(lambda: endpoint.stats().receive_errors >= count)
        stats = endpoint.stats()
        for _ in range(min(count, stats.receive_errors - stats.dropped_errors)):
            error = await endpoint.recv_error()
            if not isinstance(error.error, ConnectionRefusedError):
                world.tally.surprise(f"not a refusal: {error}")
        world.tally.flow(count, 0, stats.receive_errors, f"refused: {stats}")
        world.tally.fault("icmp error", stats.receive_errors)
    async with aioudp.connect(addr) as connected:
        world.tally.did("connect")
        for _ in range(3):
            await connected.send(b"anybody?")
            try:
                async with asyncio.timeout(20):
                    await connected.recv()
            except ConnectionRefusedError:
                world.tally.fault("icmp error")
    async with aioudp.open_client(addr) as client:
        try:
            await client.request(b"anybody?")
        except ConnectionRefusedError:
            world.tally.fault("icmp error")


@listed(lasting)
async def old_server(world: World, rng: random.Random) -> None:
    """A server and a client that stay open exchange a few requests, some repeated."""
    client, server, lock = world.standing["server"]
    async with lock:
        before = client.stats(), server.stats()
        asking = [
            # Few ids: the table of recent requests stays small.
            client.request(numbered(rng.randrange(IDS), 64), server.local_addr)
            for _ in range(rng.choice((1, 5, 20)))
        ]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, aioudp.RequestTimeoutError):
                world.tally.fault("a request that timed out")
            elif isinstance(answer, BaseException):
                world.tally.surprise("old_server", answer)
        await until(
            lambda: (
                _read((server.stats() - before[1]).endpoint)
                >= (client.stats() - before[0]).endpoint.sent
                and _read((client.stats() - before[0]).endpoint)
                >= (server.stats() - before[1]).endpoint.sent
            )
        )
        asked, served = client.stats() - before[0], server.stats() - before[1]
        world.tally.did("request of a standing client", len(answers))
        _balance(world, asked, served, keyed=True)
