"""The endpoint's receiving in batches: what is queued, and what else has arrived.

On a fake transport; what an endpoint promises on real ones is in ``contract/``.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import pytest

from aioudp._endpoint.endpoint import Endpoint
from aioudp._endpoint.inbox import Inbox
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._types import Datagram, Overflow

UntilBlocked = Callable[..., Coroutine[Any, Any, None]]

REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def numbered(*numbers: int) -> list[Datagram]:
    return [Datagram(b"%d" % number, ("192.0.2.1", 53)) for number in numbers]


class FakeTransport:
    """A transport that gives one batch for each poll, as the test says."""

    can_pause = True
    try_send = None  # an endpoint takes hold of it; nothing is sent here

    def __init__(self) -> None:
        self.protocol: Any = None
        self.polled: list[int | None] = []  # how many were wanted, each time
        self.incoming: deque[list[Datagram] | OSError] = deque()
        self.resumed = 0

    def poll(self, max_datagrams: int | None = None) -> list[Datagram]:
        self.polled.append(max_datagrams)
        batch = self.incoming.popleft() if self.incoming else []
        if isinstance(batch, OSError):
            self.protocol.error_received(batch)
            return []
        return batch

    def resume_reading(self) -> None:
        self.resumed += 1

    def abort(self) -> None:
        pass


class Bench:
    """An endpoint on a fake transport."""

    def __init__(self, capacity: int = 100, overflow: Overflow = "pause") -> None:
        self.transport = FakeTransport()
        transport: Any = self.transport
        loop = asyncio.get_running_loop()
        self.protocol = EndpointProtocol(loop, Inbox(capacity, overflow))
        self.protocol.connection_made(transport)
        self.transport.protocol = self.protocol
        self.endpoint = Endpoint(transport, self.protocol)

    def put(self, *numbers: int) -> None:
        """Let these datagrams be delivered, in one batch."""
        self.protocol.datagrams_received(numbered(*numbers))

    def arrive(self, *batches: list[Datagram] | OSError) -> None:
        """Let these be there for whoever polls."""
        self.transport.incoming.extend(batches)


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    """Make endpoints; the end closes them."""
    made: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield make
    for bench in made:
        bench.endpoint.close()


async def waiting(
    bench: Bench, until_blocked: UntilBlocked, max_datagrams: int | None = None
) -> asyncio.Task[list[Datagram]]:
    """Return a task that waits in ``recv_many``."""
    task = asyncio.create_task(bench.endpoint.recv_many(max_datagrams))
    await until_blocked(task)
    return task


# -- what is queued


@pytest.mark.parametrize("limit", [None, 1, 2, 9])
async def test_what_is_queued_is_returned_at_once(
    limit: int | None, make_bench: MakeBench
) -> None:
    """Nobody had to be woken for it, so the transport is not asked for more."""
    bench = make_bench()
    bench.put(1, 2)
    bench.arrive(numbered(3))

    recv_many = bench.endpoint.recv_many(limit)
    with pytest.raises(StopIteration) as returned:
        recv_many.send(None)

    assert returned.value.value == numbered(1, 2)[:limit]
    assert bench.transport.polled == []


# -- what else has arrived


async def test_who_waited_gets_what_has_just_arrived(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """The rest of a burst need not wait for the next turn of the event loop."""
    bench = make_bench()
    task = await waiting(bench, until_blocked)
    bench.arrive(numbered(2, 3), numbered(4))

    bench.put(1)

    assert await task == numbered(1, 2, 3, 4)
    assert list(bench.protocol.items) == []


async def test_it_is_asked_for_until_there_is_no_more(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """One question is enough where nothing else has arrived."""
    bench = make_bench()
    task = await waiting(bench, until_blocked)

    bench.put(1)

    assert await task == numbered(1)
    assert bench.transport.polled == [None]


async def test_a_flood_does_not_keep_the_caller(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """There is always more of it: after a few batches the call returns."""
    bench = make_bench()
    task = await waiting(bench, until_blocked)
    bench.arrive(*(numbered(number) for number in range(2, 100)))

    bench.put(1)
    received = await task

    assert 2 <= len(received) <= 10
    assert received == numbered(*range(1, len(received) + 1))


async def test_what_bypasses_the_queue_needs_no_room_in_it(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """Nothing of it is discarded: it is the caller's at once."""
    bench = make_bench(capacity=1, overflow="drop-newest")
    task = await waiting(bench, until_blocked)
    bench.arrive(numbered(2, 3, 4))

    bench.put(1)

    assert await task == numbered(1, 2, 3, 4)
    assert bench.protocol.inbox.dropped == 0


@pytest.mark.parametrize("limit", [None, 9])
async def test_an_error_that_is_met_is_the_next_calls(
    limit: int | None, make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """It costs none of the datagrams that were there before it."""
    bench = make_bench()
    task = await waiting(bench, until_blocked, limit)
    bench.arrive(REFUSED)

    bench.put(1)

    assert await task == numbered(1)
    with pytest.raises(ConnectionRefusedError):
        await bench.endpoint.recv_many()


@pytest.mark.parametrize("limit", [None, 9])
async def test_others_who_wait_are_not_served_twice(
    limit: int | None, make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """What the first took is gone; the second waits for what comes later."""
    bench = make_bench()
    first = await waiting(bench, until_blocked, limit)
    second = await waiting(bench, until_blocked, limit)
    bench.arrive(numbered(2))

    bench.put(1)
    await until_blocked(first, second)

    assert await first == numbered(1, 2)
    assert not second.done()
    bench.put(3)
    assert await second == numbered(3)


# -- with a limit


@pytest.mark.parametrize("limit", [1, 2])
async def test_who_has_enough_asks_for_no_more(
    limit: int, make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """The rest stays where it is."""
    bench = make_bench()
    task = await waiting(bench, until_blocked, limit)

    bench.put(1, 2)

    assert await task == numbered(1, 2)[:limit]
    assert bench.transport.polled == []
    assert list(bench.protocol.items) == numbered(1, 2)[limit:]


async def test_who_has_a_limit_asks_for_what_is_missing(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """And for no more: what there is no use for stays in the kernel."""
    bench = make_bench()
    task = await waiting(bench, until_blocked, 5)
    bench.arrive(numbered(3, 4))

    bench.put(1, 2)

    assert await task == numbered(1, 2, 3, 4)
    assert bench.transport.polled == [3]


async def test_the_end_of_a_train_waits_in_the_queue(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """A train is read whole; the limit holds all the same."""
    bench = make_bench()
    task = await waiting(bench, until_blocked, 2)
    bench.arrive(numbered(2, 3, 4))

    bench.put(1)

    assert await task == numbered(1, 2)
    assert list(bench.protocol.items) == numbered(3, 4)


async def test_the_end_of_a_train_is_subject_to_the_policy(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """It is in the queue as anything else."""
    bench = make_bench(capacity=1, overflow="drop-oldest")
    task = await waiting(bench, until_blocked, 2)
    bench.arrive(numbered(2, 3, 4))

    bench.put(1)

    assert await task == numbered(1, 2)
    assert list(bench.protocol.items) == numbered(4)
    assert bench.protocol.inbox.dropped == 1


async def test_the_end_of_a_train_goes_to_the_next_in_the_line(
    make_bench: MakeBench, until_blocked: UntilBlocked
) -> None:
    """Who waits for it does not wait for another arrival."""
    bench = make_bench()
    first = await waiting(bench, until_blocked, 2)
    second = await waiting(bench, until_blocked, 2)
    bench.arrive(numbered(2, 3))

    bench.put(1)

    async with asyncio.timeout(10):
        assert await first == numbered(1, 2)
        assert await second == numbered(3)


# -- back-pressure


@pytest.mark.parametrize("limit", [None, 2, 9])
async def test_an_emptied_queue_lets_the_transport_read_again(
    limit: int | None, make_bench: MakeBench
) -> None:
    """At once: the next call need not wait for that."""
    bench = make_bench(capacity=2)
    bench.put(1, 2)
    assert bench.protocol.datagrams_wanted() == 0

    await bench.endpoint.recv_many(limit)

    assert bench.transport.resumed == 1


async def test_a_rest_in_the_queue_keeps_the_transport_paused(
    make_bench: MakeBench,
) -> None:
    """Until it is taken too."""
    bench = make_bench(capacity=2)
    bench.put(1, 2)
    assert bench.protocol.datagrams_wanted() == 0

    await bench.endpoint.recv_many(1)
    before = bench.transport.resumed
    await bench.endpoint.recv_many(1)

    assert (before, bench.transport.resumed) == (0, 1)
