"""Reading: polled without waiting, paused above the limit, resumed below it."""

from __future__ import annotations

import pytest

from aioudp._endpoint.inbox import ANY
from aioudp._types import Datagram, Overflow

from .support import REFUSED, Line, UntilBlocked, numbered, outcomes, start

# -- receiving without waiting


async def test_recv_nowait_returns_what_is_there() -> None:
    """Without a question to the transport."""
    line = Line()
    line.put(1, 2)

    assert (line.recv_nowait(), line.fake.calls) == (1, [])


async def test_recv_nowait_raises_if_nothing_is_there() -> None:
    """After it has looked whether something arrived."""
    line = Line()

    with pytest.raises(BlockingIOError, match="no datagram"):
        line.recv_nowait()
    assert line.fake.calls == ["poll"]


async def test_recv_nowait_finds_what_has_just_arrived() -> None:
    """The event loop need not have turned."""
    line = Line()
    line.fake.on_poll = lambda: numbered(1, 2)

    assert line.recv_nowait() == 1
    assert list(line.items) == numbered(2)


@pytest.mark.parametrize(("overflow", "wanted"), [("pause", 3), ("drop-newest", ANY)])
async def test_recv_nowait_looks_for_no_more_than_there_is_room_for(
    overflow: Overflow, wanted: int
) -> None:
    """What it does not return has to wait in the queue."""
    line = Line(capacity=3, overflow=overflow)
    line.fake.on_poll = lambda: numbered(1)

    line.recv_nowait()

    assert line.fake.polled == [wanted]


async def test_what_recv_nowait_finds_is_subject_to_the_policy() -> None:
    """As what the transport delivers by itself."""
    line = Line(capacity=2, overflow="drop-oldest")
    line.fake.on_poll = lambda: numbered(1, 2, 3)

    assert line.recv_nowait() == 2
    assert line.inbox.dropped == 1


async def test_recv_nowait_raises_the_error_that_was_pending() -> None:
    """As any other receive call."""
    line = Line()
    line.error_received(REFUSED)

    with pytest.raises(ConnectionRefusedError):
        line.recv_nowait()
    with pytest.raises(BlockingIOError):
        line.recv_nowait()


async def test_recv_nowait_raises_the_error_that_has_just_arrived() -> None:
    """It is found by looking, as a datagram would be."""
    line = Line()

    def fail() -> list[Datagram]:
        line.error_received(REFUSED)
        return []

    line.fake.on_poll = fail

    with pytest.raises(ConnectionRefusedError):
        line.recv_nowait()


async def test_recv_nowait_does_not_overtake(until_blocked: UntilBlocked) -> None:
    """What is there belongs to the tasks that wait for it."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)
    line.put(1)

    with pytest.raises(BlockingIOError, match="other tasks"):
        line.recv_nowait()
    assert await task == 1


# -- back-pressure


async def test_a_full_queue_wants_nothing() -> None:
    """The transport pauses for it, and the kernel keeps what arrives from then on."""
    line = Line(capacity=2)

    line.put(1)
    before = line.datagrams_wanted()
    line.put(2)

    assert (before, line.datagrams_wanted()) == (1, 0)
    assert line.fake.calls == []


async def test_a_full_queue_that_is_emptied_in_time_never_pauses(
    until_blocked: UntilBlocked,
) -> None:
    """Nothing more had arrived meanwhile, so nothing has to be switched on again."""
    line = Line(capacity=2)
    line.put(1, 2)
    await line.recv_many()

    (task,) = start(line.recv())
    await until_blocked(task)

    assert (line.datagrams_wanted(), line.fake.calls) == (2, [])
    line.put(3)
    assert await task == 3


async def test_an_emptied_queue_resumes_the_reading() -> None:
    """When its last datagram is taken, and not before or only with the next call."""
    line = Line(capacity=2)
    line.fill(1, 2)

    await line.recv()
    before = [*line.fake.calls]
    await line.recv()

    assert (before, line.fake.calls) == ([], ["resume"])


@pytest.mark.parametrize("capacity", [1, 2])
async def test_reading_resumes_for_those_who_still_wait(
    capacity: int, until_blocked: UntilBlocked
) -> None:
    """The last of a queue full goes to one task, and others are in the line."""
    line = Line(capacity=capacity)
    tasks = start(*(line.recv() for _ in range(capacity + 1)))
    await until_blocked(*tasks)

    line.fill(*range(capacity))
    await until_blocked(*tasks)

    assert line.fake.calls == ["resume"]
    line.put(capacity)
    assert await outcomes(*tasks) == list(range(capacity + 1))


async def test_a_half_empty_queue_stays_paused() -> None:
    """Switching costs more than a datagram, so it happens once per queue full."""
    line = Line(capacity=2)
    line.fill(1, 2)

    await line.recv()
    line.resume_if_empty()

    assert line.fake.calls == []


async def test_reading_resumes_before_recv_nowait_looks() -> None:
    """A paused transport would find nothing."""
    line = Line(capacity=1)
    line.fill(1)
    line.recv_nowait()

    with pytest.raises(BlockingIOError):
        line.recv_nowait()

    assert line.fake.calls == ["resume", "poll"]


async def test_reading_resumes_once() -> None:
    """Nothing is switched on that was not off."""
    line = Line(capacity=1)
    line.fill(1)
    line.recv_nowait()

    line.resume_if_empty()
    line.resume_if_empty()

    assert line.fake.calls == ["resume"]


async def test_a_pause_lasts_while_it_is_wanted() -> None:
    """One that was asked again, and had room, does not resume what never stopped."""
    line = Line(capacity=2)
    line.fill(1, 2)
    line.recv_nowait()
    wanted = line.datagrams_wanted()  # a transport that did not pause asks again
    line.recv_nowait()

    line.resume_if_empty()

    assert (wanted, line.fake.calls) == (1, [])


async def test_a_closed_endpoint_does_not_resume() -> None:
    """Its transport has stopped reading for good."""
    line = Line(capacity=1)
    line.fill(1)
    line.close()

    line.resume_if_empty()

    assert line.fake.calls == []


@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest"])
async def test_a_dropping_queue_never_pauses(overflow: Overflow) -> None:
    """It reads on, and counts what it discards."""
    line = Line(capacity=2, overflow=overflow)

    line.put(1, 2, 3, 4)

    assert line.datagrams_wanted() == ANY
    assert (line.fake.calls, line.inbox.dropped) == ([], 2)


async def test_a_transport_that_cannot_pause_drops_the_newest() -> None:
    """As the kernel would, with which the queue would otherwise be left."""
    line = Line(capacity=2, can_pause=False)

    line.put(1, 2, 3)

    assert (list(line.items), line.inbox.dropped) == (numbered(1, 2), 1)
    assert (line.datagrams_wanted(), line.fake.calls) == (ANY, [])


async def test_a_chosen_policy_stays_where_the_transport_cannot_pause() -> None:
    """Only ``"pause"`` has to be given up."""
    line = Line(capacity=2, overflow="drop-oldest", can_pause=False)

    line.put(1, 2, 3)

    assert list(line.items) == numbered(2, 3)


@pytest.mark.parametrize(("overflow", "wanted"), [("pause", 3), ("drop-newest", ANY)])
async def test_the_transport_asks_how_many_are_wanted(
    overflow: Overflow, wanted: int
) -> None:
    """So that a batch does not overfill the queue."""
    line = Line(capacity=5, overflow=overflow)
    line.put(1, 2)

    assert line.datagrams_wanted() == wanted
