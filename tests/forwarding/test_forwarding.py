"""Datagrams go through the engine: all of them, once they were acknowledged."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aioudp
from aioudp._forwarding import front as front_module
from aioudp.forwarding import Forwarder, Subscription, forward, subscribe

from .conftest import NatsServer, until

HOST = "127.0.0.1"
PATIENCE = 15  # seconds for what is under way

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def front(
    engine: NatsServer,
    *,
    host: str = HOST,
    endpoint: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[aioudp.Endpoint, Forwarder]]:
    """Run a front; it is cancelled at the end."""
    async with aioudp.bind((host, 0), **endpoint or {}) as receiver:
        forwarder = forward(receiver, engine.url, stream="s", **options)
        running = asyncio.ensure_future(forwarder)
        try:
            yield receiver, forwarder
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def worker(engine: NatsServer, **options: Any) -> aioudp.Opening[Subscription]:
    return subscribe(
        engine.url, **{"stream": "s", "group": "g", "ack_wait": 1.0, **options}
    )


async def take(batches: Subscription, count: int) -> list[bytes]:
    """Consume and acknowledge *count* datagrams; return their payloads."""
    taken: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        async for batch in batches:
            taken += [data for data, _ in batch]
            await batch.ack()
            if len(taken) >= count:
                break
    return taken


def payloads(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def check_counts(forwarder: Forwarder) -> None:
    stats = forwarder.stats()
    assert stats.received == stats.published + stats.dropped + stats.waiting
    assert stats.published == stats.acknowledged + stats.refused + stats.unknown


async def test_what_is_received_is_consumed(engine: NatsServer) -> None:
    """Payloads and sources arrive, in order, and the counts add up."""
    async with (
        front(engine) as (receiver, forwarder),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send_many((data, None) for data in payloads(2000))
        received = []
        async with asyncio.timeout(PATIENCE):
            async for batch in batches:
                assert {addr for _, addr in batch} == {client.local_addr}
                received += [data for data, _ in batch]
                await batch.ack()
                if len(received) >= 2000:
                    break
        await until(lambda: forwarder.stats().acknowledged == 2000)

        assert received == payloads(2000)
        assert forwarder.stats().buffered_bytes == 0
        assert batches.stats().consumed == batches.stats().acknowledged == 2000
        check_counts(forwarder)


async def test_times_and_local_addresses_travel(engine: NatsServer) -> None:
    """With packet_info a batch has what the kernel knows; else the time of arrival."""
    before = time.time_ns()
    async with (
        front(engine, endpoint={"packet_info": True}) as (receiver, _),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        batch = await anext(batches)

        (message,) = batch.messages()
        assert message.timestamp_ns is not None
        assert before <= message.timestamp_ns <= time.time_ns()
        assert message.local_addr == receiver.local_addr
        assert message.addr == client.local_addr


async def test_a_drained_endpoint_ends_the_front(engine: NatsServer) -> None:
    """After drain, forward returns once everything is acknowledged."""
    async with (
        aioudp.bind((HOST, 0)) as receiver,
        aioudp.connect(receiver.local_addr) as client,
    ):
        running = asyncio.ensure_future(forward(receiver, engine.url, stream="s"))
        await client.send_many((data, None) for data in payloads(500))
        receiver.drain()
        async with asyncio.timeout(PATIENCE):
            stats = await running

        assert stats.acknowledged == stats.received == 500
        assert stats.unknown == 0


async def test_a_killed_engine_loses_nothing(engine: NatsServer) -> None:
    """What was not answered when the server died is published again, and comes."""
    async with (
        front(engine, answer_timeout=1.0) as (receiver, forwarder),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"before")
        assert await take(batches, 1) == [b"before"]
        engine.kill()
        for data in payloads(50):
            await client.send(data)
        await until(lambda: forwarder.stats().received == 51)
        await engine.start()
        received = set[bytes]()
        while not received.issuperset(payloads(50)):
            received.update(await take(batches, 1))
        await until(lambda: forwarder.stats().acknowledged == 51)

        # The crash may have taken the acknowledgement of the first.
        assert received - {b"before"} == set(payloads(50))
        assert forwarder.stats().reconnects >= 1
        check_counts(forwarder)


@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest", "pause"])
async def test_memory_is_bounded_while_the_engine_is_away(
    engine: NatsServer, overflow: str
) -> None:
    """Beyond *buffer* the overflow policy decides, and every datagram is counted."""
    queue_size = 10 if overflow == "pause" else 1024
    options = {"queue_size": queue_size, "overflow": overflow, "offload": False}
    async with (
        front(
            engine,
            endpoint=options,
            buffer=64 * 1024,
            batch_bytes=8 * 1024,
            linger=0.0,
        ) as (receiver, forwarder),
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"first")
        await until(lambda: forwarder.stats().acknowledged == 1)
        engine.kill()
        for _ in range(300):
            await client.send(bytes(1000))
            await asyncio.sleep(0)

        def counted() -> int:
            stats, kernel = forwarder.stats(), receiver.stats()
            dropped = kernel.dropped_queue + kernel.dropped_kernel
            queued = kernel.received - kernel.dropped_queue - stats.received
            if overflow == "pause":  # some are in the kernel's buffer, uncounted
                return 301
            return stats.received + dropped + queued

        await until(lambda: counted() == 301)
        await until(lambda: forwarder.stats().buffered_bytes > 32 * 1024)

        assert forwarder.stats().buffered_bytes <= 64 * 1024 + 2 * 8 * 1024
        if overflow != "pause":
            await until(lambda: forwarder.stats().dropped > 0)
        else:
            assert forwarder.stats().dropped == 0
        check_counts(forwarder)
        await engine.start()
        await until(
            lambda: (
                forwarder.stats().acknowledged
                == forwarder.stats().received - forwarder.stats().dropped
            )
        )


async def test_what_is_not_acknowledged_comes_again(engine: NatsServer) -> None:
    """It goes to another worker, with the same id, and says so."""
    async with (
        front(engine) as (receiver, _),
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        async with worker(engine) as first:
            batch = await anext(first)
            assert not batch.redelivered
        async with worker(engine) as second:
            async with asyncio.timeout(PATIENCE):
                again = await anext(second)

            assert again.id == batch.id
            assert again.redelivered
            assert [data for data, _ in again] == [b"x"]
            await again.ack()


async def test_a_batch_can_be_given_back(engine: NatsServer) -> None:
    """nak() gives it to somebody at once, and it counts as repeated here."""
    async with (
        front(engine) as (receiver, _),
        worker(engine, ack_wait=30.0) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await client.send(b"x")
        first = await anext(batches)
        await first.nak()
        async with asyncio.timeout(PATIENCE):
            again = await anext(batches)

        assert again.id == first.id
        assert batches.stats().consumed == batches.stats().repeated == 1


async def test_workers_share_and_a_slow_one_holds_back_nobody(
    engine: NatsServer,
) -> None:
    """Two workers share; one that stands still keeps its few batches, no more."""
    async with (
        front(engine, batch_bytes=1024, linger=0.0) as (receiver, _),
        worker(engine, ack_wait=60.0, prefetch=2) as slow,
        worker(engine, ack_wait=60.0, prefetch=2) as quick,
        aioudp.connect(receiver.local_addr) as client,
    ):
        held = []
        for number in range(100):
            await client.send(b"%d" % number)
            await asyncio.sleep(0.002)  # so that there are many batches
            if number == 0:
                held = [await anext(slow)] if number % 2 else []
        taken: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            async for batch in quick:
                taken += [data for data, _ in batch]
                await batch.ack()
                if len(taken) >= 60:
                    break
        held.append(await anext(slow))

        assert len(held[0]) < 40


async def test_a_worker_that_joins_takes_its_part(engine: NatsServer) -> None:
    """Two workers share the load; a third gets batches within two seconds."""
    got = {"first": 0, "second": 0, "third": 0}

    async def consume(name: str, batches: Subscription) -> None:
        async for batch in batches:
            got[name] += 1
            await batch.ack()

    async def load(client: aioudp.Endpoint) -> None:
        while True:
            await client.send(bytes(64))
            await asyncio.sleep(0.002)

    async with (
        front(engine, linger=0.0) as (receiver, _),
        worker(engine) as first,
        worker(engine) as second,
        aioudp.connect(receiver.local_addr) as client,
    ):
        tasks = [
            asyncio.create_task(load(client)),
            asyncio.create_task(consume("first", first)),
            asyncio.create_task(consume("second", second)),
        ]
        await until(lambda: got["first"] > 10 and got["second"] > 10)
        async with worker(engine) as third:
            joined = asyncio.get_running_loop().time()
            tasks.append(asyncio.create_task(consume("third", third)))
            await until(lambda: got["third"] > 10)
            waited = asyncio.get_running_loop().time() - joined
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert waited < 2.0


async def test_each_source_in_order(engine: NatsServer) -> None:
    """partition="source": the datagrams of a source are consumed in their order."""
    options: Any = {"partition": "source", "partitions": 4}
    async with (
        front(engine, linger=0.0, batch_bytes=1024, **options) as (receiver, _),
        worker(engine, **options) as one,
        worker(engine, **options) as two,
        aioudp.connect(receiver.local_addr) as first,
        aioudp.connect(receiver.local_addr) as second,
        aioudp.connect(receiver.local_addr) as third,
    ):
        clients = [first, second, third]
        seen: dict[Any, list[bytes]] = {client.local_addr: [] for client in clients}

        async def consume(batches: Subscription) -> None:
            async for batch in batches:
                for data, addr in batch:
                    seen[addr].append(data)
                await batch.ack()

        tasks = [asyncio.create_task(consume(batches)) for batches in (one, two)]
        for data in payloads(200):
            for client in clients:
                await client.send(data)
            await asyncio.sleep(0)
        await until(lambda: sum(map(len, seen.values())) == 600)
        for task in tasks:
            task.cancel()

        assert all(found == payloads(200) for found in seen.values())


async def test_a_reply_leaves_from_the_address_that_was_asked(
    engine: NatsServer,
) -> None:
    """A worker answers through the front, which has the socket."""
    async with front(engine, host="0.0.0.0", endpoint={"packet_info": True}) as (
        receiver,
        _,
    ):
        asked = ("127.0.0.5", int(receiver.local_addr[1]))
        async with worker(engine) as batches, aioudp.bind((HOST, 0)) as client:
            await client.send(b"question", asked)
            batch = await anext(batches)
            await batch.reply([(0, b"answer " + bytes(batch[0].data))])
            async with asyncio.timeout(PATIENCE):
                data, addr = await client.recv()

        assert (data, addr) == (b"answer question", asked)


async def test_what_is_no_batch_is_discarded(engine: NatsServer) -> None:
    """A damaged message is counted, and never comes again."""
    async with (
        front(engine) as (receiver, forwarder),
        worker(engine) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        await until(lambda: forwarder._engine.client is not None)
        publish = forwarder._engine.client.publish
        await publish("aioudp.s.in.0", b"no batch at all")
        await client.send(b"good")

        assert await take(batches, 1) == [b"good"]
        assert batches.stats().damaged == 1


async def test_cancelling_anext_loses_nothing(engine: NatsServer) -> None:
    """A batch that arrives while nobody waits is there for the next call."""
    async with (
        front(engine) as (receiver, _),
        worker(engine, ack_wait=60.0) as batches,
        aioudp.connect(receiver.local_addr) as client,
    ):
        for delay in (0.0, 0.001, 0.01, 0.02, 0.05):
            await client.send(b"x")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(delay):
                    await asyncio.gather(anext(batches), asyncio.Event().wait())
        # Those that gather had taken are gone with it; none came twice.
        assert batches.stats().repeated == 0


async def test_a_full_stream_makes_the_front_wait(engine: NatsServer) -> None:
    """The engine refuses what it has no room for; it goes again when there is."""
    async with (
        front(engine, stream_bytes=20_000, batch_bytes=2048, linger=0.0) as (
            receiver,
            forwarder,
        ),
        aioudp.connect(receiver.local_addr) as client,
    ):
        for _ in range(40):
            await client.send(bytes(1000))
            await asyncio.sleep(0)
        await until(lambda: forwarder.stats().republished > 0)
        async with worker(engine) as batches:
            assert len(await take(batches, 40)) == 40
        await until(lambda: forwarder.stats().acknowledged == 40)

        assert forwarder.stats().refused == 0


async def test_no_server(tmp_path: Any) -> None:
    """Where nobody listens, that is said at once, without the password."""
    async with aioudp.bind((HOST, 0)) as receiver:
        with pytest.raises(ConnectionError, match=r"connecting to nats://127.0.0.1:1:"):
            await forward(receiver, "nats://user:secret@127.0.0.1:1", stream="s")


async def test_a_server_without_jetstream(tmp_path: Any) -> None:
    """It is named as what it lacks."""
    server = NatsServer(tmp_path, "-m", "-1")
    await server.start()
    try:
        async with aioudp.bind((HOST, 0)) as receiver:
            with pytest.raises(ConnectionError, match="no JetStream"):
                await forward(receiver, server.url, stream="s")
    finally:
        server.kill()


async def test_a_server_that_is_too_old() -> None:
    """One that may lose whole streams is refused."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576}\r\n'
        writer.write(info)
        while await reader.readline():
            writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aioudp.bind((HOST, 0)) as receiver:
        with pytest.raises(RuntimeError, match=r"2\.9\.10 is too old"):
            await forward(receiver, f"nats://{HOST}:{port}", stream="s")


def test_without_the_extra() -> None:
    """One line says what to install, and nothing of it is imported before."""
    script = """if True:
        import sys
        import aioudp
        assert "nats" not in sys.modules
        sys.modules["nats"] = None
        try:
            aioudp.subscribe("nats://127.0.0.1", stream="s", group="g")
        except ModuleNotFoundError as exc:
            print(exc)
    """
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert "pip install 'aioudp-endpoint[nats]'" in printed.stdout


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"stream": "a.b"}, ValueError, "a.b"),
        ({"stream": 7}, TypeError, "7"),
        ({"linger": -1}, ValueError, "linger"),
        ({"partition": "port"}, ValueError, "port"),
        ({"partition": "source", "partitions": 0}, ValueError, "partitions"),
        ({"overflow": "wait"}, ValueError, "wait"),
    ],
)
async def test_bad_arguments(options: Any, error: type[Exception], said: str) -> None:
    """They are refused by the call itself, and named."""
    async with aioudp.bind((HOST, 0)) as receiver:
        with pytest.raises(error, match=said):
            forward(receiver, "nats://127.0.0.1", **{"stream": "s", **options})


def test_the_constants_agree_with_the_format() -> None:
    """The front writes two fields of a packed batch in place."""
    from aioudp._forwarding import wire

    empty = bytearray(wire.HEADER.size)
    front_module._SEQUENCE.pack_into(empty, front_module._SEQUENCE_AT, 5)
    front_module._SEQUENCE.pack_into(empty, front_module._DROPPED_AT, 6)
    fields = wire.HEADER.unpack(empty)

    assert (fields[5], fields[13]) == (5, 6)
