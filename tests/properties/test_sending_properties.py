"""What is sent arrives exactly, with the kernel's help and without."""

from __future__ import annotations

import asyncio
import errno
from contextlib import AsyncExitStack
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

import aioudp
from aioudp._system.segments import split_train

LOOPBACK: Final = ("127.0.0.1", 0)
TOO_LONG: Final = bytes(65508)  # one byte more than IPv4 can carry

# Bounded, so that everything fits into the receive buffer that any system grants.
filling = bytes(range(256)) * 12
payloads = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b"", b"aa", b"bb", filling[:100], filling[:1472], filling]),
)
receivers = st.integers(0, 1)
mixed = st.lists(st.tuples(payloads, receivers), max_size=40)
# Trains are rare in the lists above; here most of a list is one.
trains = st.builds(
    lambda size, length, receiver, rest: (
        [(bytes([number]) * size, receiver) for number in range(length)] + rest
    ),
    st.integers(1, 1500),
    st.integers(1, 40),
    receivers,
    mixed,
)


async def receive(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    """Return what arrives, as soon as it is so many datagrams, and no more come."""
    received: list[aioudp.Datagram] = []
    async with asyncio.timeout(10):
        while len(received) < count:
            received += await endpoint.recv_many()
    try:
        while True:
            received.append(endpoint.recv_nowait())
    except BlockingIOError:
        return received


async def exchange(
    batch: list[tuple[bytes, int]], *, offload: bool
) -> tuple[list[list[aioudp.Datagram]], dict[int, int | None]]:
    """Send the batch; return what each receiver got, and which were refused."""
    async with AsyncExitStack() as stack:

        async def bind(port: int = 0) -> aioudp.Endpoint:
            opening = aioudp.bind((LOOPBACK[0], port), offload=offload)
            return await stack.enter_async_context(opening)

        ends = [await bind(), await bind()]
        sender = await bind()
        refused: dict[int, int | None] = {}
        try:
            await sender.send_many((data, ends[to].local_addr) for data, to in batch)
        except aioudp.SendManyError as exc:
            refused = {index: error.errno for index, error in exc.errors.items()}
        counts = [
            sum(to == number and data != TOO_LONG for data, to in batch)
            for number in range(2)
        ]
        received = [
            await receive(end, count) for end, count in zip(ends, counts, strict=True)
        ]
        sent = sender.stats()
        assert sent.sent == sum(counts)
        assert sent.send_errors == len(refused)
        assert sum(end.stats().received for end in ends) == sum(counts)
        assert all(addr == sender.local_addr for got in received for _, addr in got)
        return received, refused


def of(receiver: int, batch: list[tuple[bytes, int]]) -> list[bytes]:
    return [data for data, to in batch if to == receiver and data != TOO_LONG]


@given(mixed | trains)
@example([])
@example([(b"", 0)] * 3)
async def test_send_many_arrives_exactly(batch: list[tuple[bytes, int]]) -> None:
    """Each peer gets its own, once and in order; offload changes nothing of it."""
    for offload in (False, True):
        received, refused = await exchange(batch, offload=offload)

        assert refused == {}
        for receiver, datagrams in enumerate(received):
            assert [data for data, _ in datagrams] == of(receiver, batch)


@given(mixed | trains, st.lists(st.tuples(st.integers(0, 80), receivers), max_size=5))
@example([], [(0, 0), (1, 1)])
@example([(b"aa", 0)] * 10, [(5, 0)])
async def test_a_refused_datagram_stops_no_other(
    batch: list[tuple[bytes, int]], places: list[tuple[int, int]]
) -> None:
    """Those that are too long are reported by index; all the others arrive."""
    batch = [*batch]
    for place, receiver in places:
        batch.insert(place, (TOO_LONG, receiver))
    too_long = {
        index: errno.EMSGSIZE
        for index, (data, _) in enumerate(batch)
        if data == TOO_LONG
    }

    for offload in (False, True):
        received, refused = await exchange(batch, offload=offload)

        assert refused == too_long
        for receiver, datagrams in enumerate(received):
            assert [data for data, _ in datagrams] == of(receiver, batch)


@given(st.binary(min_size=1, max_size=3), st.integers(1, 30_000), st.integers(1, 3000))
@example(b"x", 129, 1)
@example(b"x", 30_000, 250)
async def test_segments_arrive_exactly(
    pattern: bytes, length: int, segment_size: int
) -> None:
    """One buffer arrives as the datagrams it was to be cut into."""
    data: Any = (pattern * length)[:length]
    segment_size = max(segment_size, length // 100)  # bounded in number

    for offload in (False, True):
        async with (
            aioudp.bind(LOOPBACK, offload=offload) as receiver,
            aioudp.connect(receiver.local_addr, offload=offload) as sender,
        ):
            await sender.send(data, segment_size=segment_size)

            expected = split_train(data, segment_size)
            received = await receive(receiver, len(expected))
            assert [payload for payload, _ in received] == expected
