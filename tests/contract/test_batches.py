"""Batches: ``recv_batch``, sending them, and protocols that take them.

What ``recv_batch`` shares with ``recv_many`` is tested with it: receiving, cancelling,
closing, errors, limits, truncation and the queue. The file is long because it covers
receiving into columns, sending from them, and reading ahead.
"""

from __future__ import annotations

import array
import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp._system import sockets

from ..conftest import Endpoints, UntilBlocked
from .support import EITHER_WAY, WAYS_TO_RECEIVE, turns_until

with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


async def receive(
    endpoint: aioudp.Endpoint[Any],
    count: int,
    into: aioudp.DatagramBatch | None = None,
) -> list[aioudp.Datagram[Any]]:
    """Return the next *count* datagrams, by batches."""
    received: list[aioudp.Datagram[Any]] = []
    while len(received) < count:
        received += await endpoint.recv_batch(into=into)
    return received


async def test_trains_singles_and_empty_ones(endpoints: Endpoints) -> None:
    """Everything arrives once, whole and in order, whatever stands beside it."""
    server, client = await endpoints.pair()
    expected: list[bytes] = []
    for length, size in (5000, 100), (1, 1), (0, 1), (9000, 1200), (60_000, 1400):
        data = bytes(n % 251 for n in range(length))
        await client.send(data, segment_size=size)
        expected += [data[at : at + size] for at in range(0, max(length, 1), size)]

    received = await receive(server, len(expected))

    assert received == [(data, client.local_addr) for data in expected]
    stats = server.stats()
    assert (stats.received, stats.received_bytes) == (len(expected), 74_001)


async def test_a_batch_that_waited(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """What arrives while somebody waits goes into the batch."""
    server, client = await endpoints.pair()
    waiting = asyncio.create_task(server.recv_batch())
    await until_blocked(waiting)

    await client.send(b"aabbc", segment_size=2)

    batch = await waiting
    received = [*batch, *(await receive(server, 3 - len(batch)))]
    assert [data for data, _ in received] == [b"aa", b"bb", b"c"]


async def test_sources_are_distinct(endpoints: Endpoints) -> None:
    """Each sender is named once, and each datagram says which it is from."""
    server = await endpoints.bind()
    clients = [await endpoints.connect(server.local_addr) for _ in range(3)]
    order = [0, 1, 0, 2, 2, 1]
    for number in order:
        await clients[number].send(b"%d" % number)
    await turns_until(lambda: server.stats().received == len(order))

    batch = await server.recv_batch()

    assert sorted(batch.sources) == sorted(one.local_addr for one in clients)
    assert [batch.sources[n] for n in batch.source_index] == [
        clients[number].local_addr for number in order
    ]


async def test_recycled_batches_hold_the_new_datagrams_only(
    endpoints: Endpoints,
) -> None:
    """Whatever the earlier ones were like."""
    server, client = await endpoints.pair()
    batch = aioudp.DatagramBatch()
    for length, size in (60_000, 1000), (3, 1), (9000, 9000), (640, 64), (1, 1):
        data = bytes(n % 251 for n in range(length))
        await client.send(data, segment_size=size)

        received = await receive(server, -(-length // size), batch)

        assert b"".join(data for data, _ in received) == data
        assert {len(one.data) for one in received[:-1]} <= {size}


async def test_a_batch_that_is_viewed_is_not_recycled(endpoints: Endpoints) -> None:
    """A BufferError, at once, and neither the batch nor the datagram is touched."""
    server, client = await endpoints.pair()
    await client.send(b"first")
    batch = await server.recv_batch()
    view = batch.data
    await client.send(b"second")

    with pytest.raises(BufferError):
        await server.recv_batch(into=batch)

    assert (bytes(view), list(batch)) == (b"first", [(b"first", client.local_addr)])
    view.release()
    assert await server.recv_batch(into=batch) is batch
    assert [data for data, _ in batch] == [b"second"]


async def test_what_is_no_batch(endpoints: Endpoints) -> None:
    """It is refused by name."""
    endpoint = await endpoints.bind()
    wrong: Any = bytearray(5)

    with pytest.raises(TypeError, match="bytearray"):
        await endpoint.recv_batch(into=wrong)


async def test_cancelled_with_others_behind(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """What was read for the cancelled task is the others', in order, in every turn."""
    for turns in range(6):
        server, client = await endpoints.pair()
        first = asyncio.create_task(server.recv_batch())
        await until_blocked(first)
        await client.send(b"abc", segment_size=1)
        for _ in range(turns):
            await asyncio.sleep(0)
        others = [asyncio.create_task(server.recv()) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        received: list[aioudp.Datagram] = []
        try:
            received += await first
        except asyncio.CancelledError:
            pass
        await client.send(b"defghi", segment_size=1)
        received += await asyncio.gather(*others)
        assert b"".join(data for data, _ in received) == b"abcdef"[: len(received)]


async def test_closed_with_a_batch_at_hand(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """Each of its datagrams is counted as discarded, or returned."""
    for turns in range(5):
        server, client = await endpoints.pair()
        waiting = asyncio.create_task(server.recv_batch())
        await until_blocked(waiting)
        await client.send(b"abcde", segment_size=1)
        for _ in range(turns):
            await asyncio.sleep(0)
        server.close()
        returned = 0
        try:
            returned = len(await waiting)
        except aioudp.EndpointClosedError:
            pass
        stats = server.stats()
        assert stats.dropped_close + returned == stats.received


async def test_packet_information(endpoints: Endpoints) -> None:
    """The columns say what messages would."""
    server, client = await endpoints.pair(packet_info=True)
    for tos in 0, 4, 8:
        await client.send(bytes([tos]) * 10, segment_size=3, tos=tos)
    await turns_until(lambda: server.stats().received == 12)
    messages = await server.recv_messages()
    for tos in 0, 4, 8:
        await client.send(bytes([tos]) * 10, segment_size=3, tos=tos)

    rows: list[Any] = []
    while len(rows) < 12:
        batch = await server.recv_batch()
        assert batch.local_addrs is not None
        columns = [
            batch.tos,
            batch.hop_limit,
            batch.interfaces,
            batch.timestamps_ns,
            [batch.local_addrs[n] for n in batch.local_addr_index or ()],
        ]
        rows += zip(*map(list, columns), strict=True)  # type: ignore[arg-type]

    expected = [
        (one.tos or 0, one.hop_limit or 0, one.interface or 0, one.local_addr)
        for one in messages
    ]
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == expected
    known = [one.timestamp_ns is not None for one in messages]
    assert [row[3] > 0 for row in rows] == known


# -- out


async def test_back_to_the_sources(endpoints: Endpoints) -> None:
    """Each datagram of a batch goes to the one who sent it."""
    server = await endpoints.bind()
    clients = [await endpoints.connect(server.local_addr) for _ in range(3)]
    for number in 0, 1, 1, 2, 0:
        await clients[number].send(b"%d" % number * 10)
    await turns_until(lambda: server.stats().received == 5)

    await server.send_many(await server.recv_batch())

    for number, client in enumerate(clients):
        for _ in range([2, 2, 1][number]):
            assert (await client.recv()).data == b"%d" % number * 10
    assert server.stats().sent == 5


@pytest.mark.parametrize("connected", [False, True])
async def test_a_relay(endpoints: Endpoints, connected: bool) -> None:
    """Everything goes on to one peer, as it came."""
    relay, client = await endpoints.pair()
    sink = await endpoints.bind()
    out = await endpoints.connect(sink.local_addr) if connected else relay
    sizes = [(30_000, 1000), (1, 1), (0, 1), (4000, 64), (20, 3)]
    expected = []
    for length, size in sizes:
        data = bytes(n % 251 for n in range(length))
        await client.send(data, segment_size=size)
        expected += [data[at : at + size] for at in range(0, max(length, 1), size)]

    relayed = 0
    batch = None
    while relayed < len(expected):
        batch = await relay.recv_batch(into=batch)
        await out.send_many(batch, addr=sink.local_addr)
        relayed += len(batch)

    assert [data for data, _ in await receive(sink, len(expected))] == expected
    assert out.stats().sent == len(expected)


async def test_each_to_its_own(endpoints: Endpoints) -> None:
    """A column of destinations, one for each datagram."""
    server, client = await endpoints.pair()
    sinks = [await endpoints.bind() for _ in range(2)]
    await client.send(b"abcd", segment_size=1)
    await turns_until(lambda: server.stats().received == 4)
    batch = await server.recv_batch()
    addrs = [sinks[n % 2].local_addr for n in range(4)]

    await server.send_many(batch, addrs=addrs)

    assert [data for data, _ in await receive(sinks[0], 2)] == [b"a", b"c"]
    assert [data for data, _ in await receive(sinks[1], 2)] == [b"b", b"d"]
    with pytest.raises(ValueError, match="as many as the datagrams, 4, got 3"):
        await server.send_many(batch, addrs=addrs[:3])
    with pytest.raises(ValueError, match="exclude each other"):
        await server.send_many(batch, addr=addrs[0], addrs=addrs)
    with pytest.raises(ValueError, match="are for a DatagramBatch"):
        await server.send_many([], addr=addrs[0])


async def test_a_batch_with_options(endpoints: Endpoints) -> None:
    """They hold for each of its datagrams."""
    server, client = await endpoints.pair()
    sink = await endpoints.bind(packet_info=True)
    await client.send(b"abcd", segment_size=1)
    await turns_until(lambda: server.stats().received == 4)

    await server.send_many(await server.recv_batch(), addr=sink.local_addr, tos=8)

    received = [await sink.recv_message() for _ in range(4)]
    assert [one.data for one in received] == [b"a", b"b", b"c", b"d"]
    assert {one.tos for one in received} <= {8, None}


async def test_refused_rows_are_reported_by_index(
    transport: aioudp.TransportKind,
) -> None:
    """All the others are out."""
    async with (
        aioudp.bind(("127.0.0.1", 0), transport=transport) as server,
        aioudp.connect(server.local_addr) as client,
    ):
        for data in b"abc":
            await client.send(bytes([data]))
        await turns_until(lambda: server.stats().received == 3)
        batch = await server.recv_batch()
        # Broadcast, which was not asked for, is the kernel's to refuse.
        addrs: list[Any] = [client.local_addr, ("255.255.255.255", 9)] * 2

        with pytest.raises(aioudp.SendManyError) as caught:
            await server.send_many(batch, addrs=addrs[:3])

        assert list(caught.value.errors) == [1]
        assert [data for data, _ in await receive(client, 2)] == [b"a", b"c"]


async def test_one_payload_to_many(endpoints: Endpoints) -> None:
    """Everyone gets it, once for each time that is named."""
    endpoint = await endpoints.bind()
    sinks = [await endpoints.bind() for _ in range(5)]
    addrs = [sink.local_addr for sink in sinks]

    await endpoint.send_to_all(bytearray(b"all"), [*addrs, addrs[0]])

    for sink in sinks:
        assert (await sink.recv()) == (b"all", endpoint.local_addr)
    assert (await sinks[0].recv()).data == b"all"
    await endpoint.send_to_all(b"nobody", [])
    with pytest.raises(TypeError, match="bytes-like"):
        await endpoint.send_to_all("text", addrs)  # type: ignore[arg-type]


# -- the rest of the matrix


@with_unix_sockets
async def test_unix(tmp_path: Path) -> None:
    """Paths are sources like any other."""
    async with (
        aioudp.bind(tmp_path / "server") as server,
        aioudp.bind(tmp_path / "client") as client,
    ):
        await client.send_many([(b"1", server.local_addr), (b"", server.local_addr)])

        received = await receive(server, 2)
        await server.send_many(aioudp.DatagramBatch._of(received))

        assert received == [(b"1", client.local_addr), (b"", client.local_addr)]
        assert [data for data, _ in await receive(client, 2)] == [b"1", b""]


async def test_dual_stack() -> None:
    """IPv4 peers are plain IPv4, in both directions."""
    async with aioudp.bind(("", 0)) as server:
        port: Any = server.local_addr[1]
        async with aioudp.connect(("127.0.0.1", port)) as client:
            await client.send(b"abc", segment_size=1)
            batch = await server.recv_batch()
            assert batch.sources == (client.local_addr,)
            await server.send_many(batch)
            assert (await client.recv()).data == b"a"


async def test_a_protocol_that_takes_batches(host: str) -> None:
    """It gets batches, on any transport, and can keep them."""
    loop = asyncio.get_running_loop()
    batches: list[aioudp.DatagramBatch] = []

    class Protocol(asyncio.DatagramProtocol):
        def datagram_batch_received(self, batch: aioudp.DatagramBatch) -> None:
            batches.append(batch)

        def datagram_received(self, data: bytes, addr: Any) -> None:
            raise AssertionError("it takes batches")

    transport, _ = await aioudp.create_datagram_endpoint(Protocol, local_addr=(host, 0))
    try:
        async with aioudp.connect(transport.get_extra_info("sockname")) as client:
            await client.send(b"aabbc", segment_size=2)
            await turns_until(lambda: sum(map(len, batches)) == 3)
            addr = client.local_addr
    finally:
        transport.close()
        await asyncio.sleep(0)

    received = [one for batch in batches for one in batch]
    assert [data for data, _ in received] == [b"aa", b"bb", b"c"]
    assert {one.addr[:2] for one in received} == {addr[:2]}
    assert loop is asyncio.get_running_loop()


async def test_columns_without_a_copy(endpoints: Endpoints) -> None:
    """An array of the standard library, or of numpy, is made of the column itself."""
    server, client = await endpoints.pair()
    await client.send(bytes(range(64)), segment_size=8)
    await turns_until(lambda: server.stats().received == 8)
    batch = await server.recv_batch()

    assert array.array("i", batch.offsets) == array.array("i", range(0, 65, 8))
    numpy = pytest.importorskip("numpy", reason="cannot: numpy: it is not installed")
    table = numpy.frombuffer(batch.data, "u1").reshape(-1, batch.segment_size)
    assert table.sum(axis=1).tolist() == [28 + 64 * n for n in range(8)]
    assert numpy.asarray(batch.offsets).dtype == numpy.int32
    with pytest.raises(BufferError):
        await server.recv_batch(into=batch)


async def test_recycling_allocates_nothing_per_batch(host: str) -> None:
    """What a batch takes, it has from the one before."""
    tracemalloc = pytest.importorskip(
        "tracemalloc", reason="cannot: tracemalloc: this Python has none"
    )
    async with (
        aioudp.bind((host, 0)) as server,
        aioudp.connect(server.local_addr) as client,
    ):
        data = memoryview(bytes(50_000))

        async def rounds(count: int, batch: aioudp.DatagramBatch) -> None:
            for _ in range(count):
                client.transport.try_send_segments(data, 1000)
                received = 0
                while received < 50:
                    received += len(await server.recv_batch(into=batch))

        batch = aioudp.DatagramBatch()
        await rounds(20, batch)
        gc.collect()
        tracemalloc.start()
        try:
            await rounds(5, batch)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await rounds(20, batch)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert after - before < 4096
    assert peak - before < 40_000  # not one payload, though 1 MB went through


# -- reading ahead, between two calls


async def test_what_arrives_between_two_calls(endpoints: Endpoints) -> None:
    """It's the next batch, with everything in order, and the queue stays bounded."""
    server, client = await endpoints.pair(queue_size=100)
    batch = aioudp.DatagramBatch()
    received: list[bytes] = []
    sent = 0
    for count in (1, 30, 70, 300, 2, 90):
        for _ in range(count):
            await client.send(b"%d" % sent)
            sent += 1
            if sent % 50 == 0:
                await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        await server.recv_batch(into=batch)
        received += [data for data, _ in batch]
    while len(received) < server.stats().received - server.stats().dropped_queue:
        received += [data for data, _ in await server.recv_batch()]

    numbers = list(map(int, received))
    assert numbers == sorted(set(numbers))
    stats = server.stats()
    assert len(numbers) + stats.dropped_queue == stats.received


@pytest.mark.parametrize("way", ["recv", "recv_many", "recv_nowait", "iteration"])
async def test_other_calls_take_what_was_read_ahead(
    endpoints: Endpoints, way: str
) -> None:
    """As datagrams, in order, and nothing is read ahead for them."""
    server, client = await endpoints.pair()
    await client.send(b"first")
    await server.recv_batch()
    await client.send(b"0123456789", segment_size=1)
    await turns_until(lambda: server.stats().received == 11)

    received = await WAYS_TO_RECEIVE[way](server, 4)
    await client.send(b"a")
    received += await WAYS_TO_RECEIVE[way](server, 7)

    assert b"".join(data for data, _ in received) == b"0123456789a"


async def test_a_limit_on_what_was_read_ahead(endpoints: Endpoints) -> None:
    """The rest stays queued, before what comes later."""
    server, client = await endpoints.pair()
    await client.send(b"first")
    await server.recv_batch()
    await client.send(b"0123456789", segment_size=1)
    await turns_until(lambda: server.stats().received == 11)

    parts = [list(await server.recv_batch(limit)) for limit in (3, 4)]
    await client.send(b"a")
    parts += [await receive(server, 4)]

    assert [b"".join(data for data, _ in part) for part in parts] == [
        b"012",
        b"3456",
        b"789a",
    ]


async def test_closed_with_something_read_ahead(endpoints: Endpoints) -> None:
    """It's discarded, and each datagram is counted."""
    server, client = await endpoints.pair()
    await client.send(b"first")
    await server.recv_batch()
    await client.send(b"0123456789", segment_size=1)
    await turns_until(lambda: server.stats().received == 11)

    server.close()

    assert server.stats().dropped_close == 10


async def test_drained_with_something_read_ahead(endpoints: Endpoints) -> None:
    """It's handed over, before the end."""
    server, client = await endpoints.pair()
    await client.send(b"first")
    await server.recv_batch()
    await client.send(b"0123", segment_size=1)
    await turns_until(lambda: server.stats().received == 5)

    server.drain()
    received = await receive(server, 4)

    assert b"".join(data for data, _ in received) == b"0123"
    with pytest.raises(aioudp.EndpointClosedError):
        await server.recv_batch()


async def test_a_pause_while_a_batch_stands_in_the_queue(endpoints: Endpoints) -> None:
    """Reading goes on once it's taken, by whatever call."""
    for way in ("recv", "recv_batch"):
        server, client = await endpoints.pair()
        await client.send(b"first")
        await server.recv_batch()
        for number in range(10):
            await client.send(b"%d" % number)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        received = await WAYS_TO_RECEIVE[way](server, 10)

        assert b"".join(data for data, _ in received) == b"0123456789"
