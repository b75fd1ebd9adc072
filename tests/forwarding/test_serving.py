"""serve() with a URL: the handler of one machine, on many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aioudp

from .conftest import NatsServer, until
from .test_forwarding import front

pytestmark = pytest.mark.timeout(60)

STREAM: Any = {"stream": "s", "group": "g", "ack_wait": 2.0}


async def ask(client: aioudp.Endpoint, *questions: bytes) -> list[bytes]:
    await client.send_many((question, None) for question in questions)
    async with asyncio.timeout(20):
        return sorted([(await client.recv()).data for _ in questions])


async def test_a_handler_runs_unchanged(engine: NatsServer) -> None:
    """Its replies reach the client from the address that was asked."""

    def handler(data: bytes, addr: aioudp.Address) -> bytes:
        return data.upper()

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, **STREAM) as server,
        aioudp.connect(receiver.local_addr) as client,  # hears nobody else
    ):
        assert await ask(client, b"a", b"b") == [b"A", b"B"]
        assert server.stats().requests == server.stats().replies == 2


async def test_async_handlers_run_side_by_side(engine: NatsServer) -> None:
    """As many at once as *concurrency* says, and no more."""
    running = most = 0
    release = asyncio.Event()

    async def handler(data: bytes, addr: aioudp.Address) -> list[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return [data, data]

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, concurrency=3, **STREAM),
        aioudp.connect(receiver.local_addr) as client,
    ):
        asking = asyncio.create_task(ask(client, *(b"%d" % n for n in range(8))))
        await until(lambda: running == 3)
        release.set()
        await asking

        assert most == 3


async def test_a_handler_that_raises_costs_its_datagram(engine: NatsServer) -> None:
    """It's counted; the batch is acknowledged, and the others are answered."""

    def handler(data: bytes, addr: aioudp.Address) -> bytes:
        if data == b"bad":
            raise RuntimeError(data)
        return data

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, **STREAM) as server,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"bad")
        assert await ask(client, b"good") == [b"good"]
        assert server.stats().failed == 1


async def test_draining_finishes_what_is_in_hand(engine: NatsServer) -> None:
    """A drained server answers what it has begun, then it's closed."""
    begun = asyncio.Event()
    release = asyncio.Event()

    async def handler(data: bytes, addr: aioudp.Address) -> bytes:
        begun.set()
        await release.wait()
        return data

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, **STREAM) as server,
        aioudp.connect(receiver.local_addr) as client,
    ):
        asking = asyncio.create_task(ask(client, b"x"))
        await begun.wait()
        draining = asyncio.create_task(server.drain(10))
        await asyncio.sleep(0)
        release.set()

        assert await draining
        assert server.closed
        assert await asking == [b"x"]


async def test_a_slow_handler_keeps_its_batch(engine: NatsServer) -> None:
    """While a batch is in hand, nobody else gets it, however long that takes."""
    calls = 0
    release = asyncio.Event()

    async def handler(data: bytes, addr: aioudp.Address) -> bytes:
        nonlocal calls
        calls += 1
        await release.wait()
        return data

    options = {**STREAM, "ack_wait": 0.6}
    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, **options),
        aioudp.serve(handler, engine.url, **options),
        aioudp.connect(receiver.local_addr) as client,
    ):
        asking = asyncio.create_task(ask(client, b"x"))
        await until(lambda: calls == 1)
        # Nothing happens when it isn't delivered again, so only time can show it.
        await asyncio.sleep(2.0)
        release.set()
        await asking

        assert calls == 1


@pytest.mark.parametrize(
    ("url", "options", "error", "said"),
    [
        ("http://127.0.0.1", {}, ValueError, "nats://"),
        ("nats://127.0.0.1", {"stream": "s"}, TypeError, "group"),
        ("nats://127.0.0.1", {**STREAM, "dedupe": bytes}, ValueError, "dedupe"),
        ("nats://127.0.0.1", {**STREAM, "queue_size": 7}, TypeError, "queue_size"),
        ("nats://127.0.0.1", {**STREAM, "concurrency": 0}, ValueError, "concurrency"),
    ],
)
def test_bad_arguments(
    url: str, options: Any, error: type[Exception], said: str
) -> None:
    """They are refused by the call itself, and named."""
    with pytest.raises(error, match=said):
        aioudp.serve(lambda data, addr: data, url, **options)
