"""What goes wrong on the way, and must not cost more than it has to."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp._forwarding import consumer, wire
from aioudp._forwarding.batch import ForwardedBatch
from aioudp._forwarding.consumer import Subscription
from aioudp._forwarding.engine import Engine, ask
from aioudp._forwarding.settings import SubscribeSettings
from aioudp._forwarding.status import Overview
from aioudp.forwarding import forward

from .conftest import NatsServer, until
from .test_forwarding import HOST, PATIENCE, check_counts, front, take, worker

pytestmark = pytest.mark.timeout(60)


async def nothing(client: Any) -> None:
    """Do nothing about a new connection."""


async def test_a_senseless_server_does_not_end_the_reconnecting(
    engine: NatsServer,
) -> None:
    """Whatever answers at the port meanwhile, the next attempt is made."""
    asked = 0

    async def senseless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(b"INFO {what?\r\n")
        writer.close()

    connection = Engine(engine.url, name="test", connected=nothing)
    await connection.start()
    try:
        engine.kill()
        other = await asyncio.start_server(senseless, HOST, engine.port)
        await until(lambda: asked >= 2)
        other.close()
        await other.wait_closed()
        await engine.start()
        await until(lambda: connection.reconnects == 1)
    finally:
        await connection.aclose()


async def test_a_password_is_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when a connection is lost nor when it is made again."""
    server = NatsServer(
        tmp_path, "-js", "-sd", str(tmp_path), "--user", "me", "--pass", "hidden"
    )
    await server.start()
    url = server.url.replace("://", "://me:hidden@")
    connection = Engine(url, name="test", connected=nothing)
    caplog.set_level(logging.DEBUG, "aioudp")
    await connection.start()
    try:
        server.kill()
        await until(lambda: connection.client is None)
        await server.start()
        await until(lambda: connection.reconnects == 1)
    finally:
        await connection.aclose()
        server.kill()

    assert "connected again" in caplog.text
    assert "hidden" not in caplog.text


async def test_a_worker_waits_for_its_stream_as_long_as_it_says(
    engine: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience is no part of the time for connecting."""
    monkeypatch.setattr("aioudp._forwarding.engine.CONNECT_TIMEOUT", 0.5)
    with pytest.raises(RuntimeError, match="stream not found"):
        await worker(engine, patience=1.5)


@pytest.mark.parametrize("batch_bytes", [1024 * 1024, 4096])
async def test_a_source_for_each_datagram(engine: NatsServer, batch_bytes: int) -> None:
    """The addresses count, too: no message is longer than the engine takes."""
    async with front(engine, batch_bytes=batch_bytes) as (_, forwarder):
        await until(lambda: forwarder._engine.client is not None)
        count = 60_000
        forwarder._received += count
        forwarder._take(
            wire.Columns(
                b"",
                [0] * (count + 1),
                [("2001:db8::1", port + 1, 0, 0) for port in range(count)],
                range(count),
                [1] * count,
            )
        )
        await until(lambda: forwarder.stats().unknown + forwarder.stats().waiting == 0)

        assert forwarder.stats().acknowledged == count
        assert forwarder.stats().reconnects == 0
        check_counts(forwarder)


async def test_a_datagram_as_long_as_a_message(tmp_path: Path) -> None:
    """The engine counts the headers, too; one that is too long costs itself alone."""
    config = tmp_path / "config"
    config.write_text(
        f"max_payload: 2048\njetstream {{ store_dir: {json.dumps(str(tmp_path))} }}\n"
    )
    server = NatsServer(tmp_path, "-c", str(config))
    await server.start()
    try:
        async with (
            front(server, answer_timeout=0.5) as (receiver, forwarder),
            aioudp.connect(receiver.local_addr) as client,
        ):
            for size in range(1800, 2050, 10):
                await client.send(bytes(size))
            await client.send(b"last")
            await until(lambda: forwarder.stats().received == 26)
            await until(
                lambda: forwarder.stats().unknown + forwarder.stats().waiting == 0
            )

            assert forwarder.stats().dropped > 0
            assert forwarder.stats().acknowledged > 1
            assert forwarder.stats().reconnects == 0
            check_counts(forwarder)
    finally:
        server.kill()


@pytest.mark.parametrize("end", ["close", "drain"])
async def test_the_end_of_a_front_that_waits_for_room(
    engine: NatsServer, end: str
) -> None:
    """It ends even when the engine doesn't come back."""
    async with (
        aioudp.bind((HOST, 0)) as receiver,
        aioudp.connect(receiver.local_addr) as client,
    ):
        forwarder = forward(
            receiver,
            engine.url,
            stream="s",
            buffer=1024,
            overflow="pause",
            drain=0.5,
        )
        running = asyncio.ensure_future(forwarder)
        try:
            await until(lambda: forwarder._engine.client is not None)
            engine.kill()
            await until(lambda: forwarder._engine.client is None)
            await client.send(bytes(2000))
            await until(lambda: forwarder._ledger.full)
            await client.send(bytes(2000))
            if end == "close":
                receiver.close()
            else:
                receiver.drain()
            async with asyncio.timeout(PATIENCE):
                stats = await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        assert stats.waiting >= 1
        check_counts(forwarder)


async def test_a_batch_of_a_closed_subscription(engine: NatsServer) -> None:
    """Acknowledging it is an error at once."""
    async with (
        front(engine) as (receiver, _),
        worker(engine, ack_wait=30.0) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        batch = await anext(batches)
        await batches.aclose()
        async with asyncio.timeout(5):
            with pytest.raises(aioudp.EndpointClosedError):
                await batch.ack()


async def test_closing_ends_an_acknowledgement_that_waits(engine: NatsServer) -> None:
    """Without a connection it would wait for a new one."""
    async with (
        front(engine) as (receiver, _),
        worker(engine, ack_wait=30.0) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        batch = await anext(batches)
        engine.kill()
        await until(lambda: not batches._ready.is_set())
        acknowledging = asyncio.create_task(batch.ack())
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await batches.aclose()
            with pytest.raises(aioudp.EndpointClosedError):
                await acknowledging


async def test_a_subscription_is_closed_twice_at_once(engine: NatsServer) -> None:
    """Both return soon, and what was fetched goes to another worker soon."""
    async with (
        front(engine, linger=0.0) as (receiver, _),
        aioudp.connect(receiver.local_addr) as client,
        worker(engine, ack_wait=30.0) as batches,
    ):
        held = batches._batches
        for data in (b"0", b"1", b"2"):
            before = len(held)
            await client.send(data)
            await until(partial(lambda count: len(held) > count, before))
        async with asyncio.timeout(5):
            await asyncio.gather(batches.aclose(), batches.aclose())
        async with worker(engine, ack_wait=30.0) as others:
            assert sorted(await take(others, 3)) == [b"0", b"1", b"2"]


async def test_a_cancelled_iteration_passes_its_batch_on(monkeypatch: Any) -> None:
    """One that is cancelled at the very moment leaves the batch to who waits beside."""
    batches = Subscription("nats://127.0.0.1:1", "s", "g", SubscribeSettings())
    message = wire.pack(
        [wire.Columns(b"x", [0, 1], [("127.0.0.1", 1)], [0], [1])],
        front=1,
        sequence=1,
        began_ns=0,
    )

    class Arrived:
        subject = "inbox.0"
        headers = None
        data = message
        reply = "$JS.ACK.s.g.1.1.1.1.0"

    first, second = (
        asyncio.create_task(anext(batches)),
        asyncio.create_task(anext(batches)),
    )
    for _ in range(3):
        await asyncio.sleep(0)
    await batches._on_message(Arrived())
    first.cancel()
    async with asyncio.timeout(5):
        batch = await second

    assert isinstance(batch, ForwardedBatch)
    assert first.cancelled()


async def test_a_reply_on_a_connection_that_ended(engine: NatsServer) -> None:
    """It is a ConnectionError, whether or not the end was noticed already."""
    async with (
        front(engine) as (receiver, _),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        batch = await anext(batches)
        await batches._engine.client.close()
        with pytest.raises(ConnectionError):
            await batch.reply([(0, b"y")])


async def test_draining_a_server_that_serves_forever(engine: NatsServer) -> None:
    """The handlers in hand finish, and serve_forever returns after them."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def handler(data: bytes, addr: aioudp.Address) -> bytes:
        begun.set()
        await release.wait()
        return b"done"

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(handler, engine.url, stream="s", group="g") as server,
        aioudp.connect(receiver.local_addr) as client,
    ):
        forever = asyncio.create_task(server.serve_forever())
        await client.send(b"x")
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            draining = asyncio.create_task(server.drain())
            for _ in range(10):
                await asyncio.sleep(0)
            release.set()
            assert await draining
            await forever
            assert (await client.recv()).data == b"done"
        assert server.stats().aborted == 0


async def test_a_server_closed_while_handlers_wait_for_a_place(
    engine: NatsServer,
) -> None:
    """Each call is counted, and none is left that was never awaited."""
    begun = asyncio.Event()

    async def handler(data: bytes, addr: aioudp.Address) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with (
        front(engine) as (receiver, _),
        aioudp.serve(
            handler, engine.url, stream="s", group="g", concurrency=1
        ) as server,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send_many((b"x", None) for _ in range(3))
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            await until(lambda: server.stats().requests == 2)
            await server.aclose()

        assert server.stats().aborted == 2


async def test_a_reply_that_makes_no_sense_is_counted(engine: NatsServer) -> None:
    """One for another family of addresses than the endpoint's costs nothing else."""
    async with (
        front(engine) as (receiver, forwarder),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        batch = await anext(batches)
        batch._sources[0] = "/a/path"  # type: ignore[call-overload]
        await batch.reply([(0, b"y")])
        await until(lambda: forwarder.stats().replies_failed == 1)


async def test_the_first_worker_of_a_group_decides_the_time(engine: NatsServer) -> None:
    """A later one with another ack_wait changes nothing, and knows it."""
    async with (
        front(engine),
        worker(engine, ack_wait=30.0) as first,
        worker(engine, ack_wait=7.0) as second,
    ):
        found = await ask(first._engine.client, "CONSUMER.INFO.s.g", {})

        assert found["config"]["ack_wait"] == 30e9
        assert first.ack_wait == second.ack_wait == 30.0


async def test_workers_that_share_remember_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What each has is full of gaps; still it's counted, and seen to be complete."""
    monkeypatch.setattr(consumer, "_MAX_KNOWN", 64)
    overview = Overview()
    for worker_number in range(2):
        batches = Subscription("nats://127.0.0.1:1", "s", "g", SubscribeSettings())
        for sequence in range(1 + worker_number, 2001, 2):
            message = wire.pack(
                [wire.Columns(b"x", [0, 1], [("127.0.0.1", 1)], [0], [1])],
                front=1,
                sequence=sequence,
                began_ns=0,
            )
            batches._note(ForwardedBatch(batches, wire.unpack(message), ""))
        assert batches._known[1, 0].count <= 64
        overview.add({"kind": "worker", "id": worker_number, **batches._status()})

    assert overview.had(f"{1:016x}") == 2000


async def test_cancelling_at_any_turn_of_connecting(engine: NatsServer) -> None:
    """It ends, and leaves no task."""
    before = asyncio.all_tasks()
    for turns in range(40):
        connection = Engine(engine.url, name="test", connected=nothing)
        starting = asyncio.create_task(connection.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        if starting.done():  # it is connected
            await connection.aclose()
            continue
        starting.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await starting
        assert connection.client is None
    await until(lambda: asyncio.all_tasks() == before)
