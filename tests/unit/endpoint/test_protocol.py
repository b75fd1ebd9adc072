"""The endpoint's protocol: the line of waiting tasks, and when reading pauses."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from aioudp._endpoint.inbox import ANY, Inbox
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._errors import EndpointClosedError
from aioudp._types import Datagram, Overflow, Received

UntilBlocked = Callable[..., Coroutine[Any, Any, None]]

REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNREACHABLE: Final = OSError(errno.EHOSTUNREACH, "No route to host")


class FakeTransport:
    """Notes what the protocol asks of it; has what the test says."""

    def __init__(self, *, can_pause: bool = True) -> None:
        self.can_pause = can_pause
        self.calls: list[str] = []
        self.polled: list[int | None] = []
        self.on_poll: Callable[[], list[Datagram]] = list

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def poll(self, max_datagrams: int | None = None) -> list[Datagram]:
        self.calls.append("poll")
        self.polled.append(max_datagrams)
        return self.on_poll()


class Line(EndpointProtocol):
    """The protocol on a fake transport, with the receive calls of an endpoint."""

    def __init__(
        self,
        capacity: int = 100,
        overflow: Overflow = "pause",
        *,
        can_pause: bool = True,
    ) -> None:
        super().__init__(asyncio.get_running_loop(), Inbox(capacity, overflow))
        self.fake = FakeTransport(can_pause=can_pause)
        self.connection_made(self.fake)

    def put(self, *numbers: int) -> None:
        """Let these datagrams arrive, in one batch."""
        self.datagrams_received(numbered(*numbers))

    def fill(self, *numbers: int) -> None:
        """Do the same, after which more is there to be read than there is room for."""
        self.put(*numbers)
        assert self.datagrams_wanted() == 0

    async def recv(self) -> int:
        await self.turn()
        return number_of(self.items.popleft())

    async def recv_many(self, max_datagrams: int | None = None) -> list[int]:
        await self.turn()
        return [number_of(datagram) for datagram in self.inbox.take(max_datagrams)]

    def recv_nowait(self) -> int:
        self.turn_nowait()
        return number_of(self.items.popleft())


def numbered(*numbers: int) -> list[Datagram]:
    return [Datagram(b"%d" % number, ("192.0.2.1", 53)) for number in numbers]


def number_of(datagram: Received) -> int:
    return int(datagram.data)


def start(*coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(coroutine) for coroutine in coroutines]


async def outcomes(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Return what each task returned or raised."""
    return await asyncio.gather(*tasks, return_exceptions=True)


# -- waiting


async def test_what_is_there_is_returned_without_waiting() -> None:
    """The event loop gets no turn in between."""
    line = Line()
    line.put(1)
    recv = line.recv()

    with pytest.raises(StopIteration) as returned:
        recv.send(None)
    assert returned.value.value == 1


async def test_a_receiver_waits_for_a_datagram(until_blocked: UntilBlocked) -> None:
    """It gets the first that arrives."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)

    line.put(1, 2)

    assert (await task, list(line.items)) == (1, numbered(2))


async def test_first_come_first_served(until_blocked: UntilBlocked) -> None:
    """The tasks get the datagrams of one batch in the order in which they called."""
    line = Line()
    tasks = start(*(line.recv() for _ in range(3)))
    await until_blocked(*tasks)

    line.put(1, 2, 3)

    assert await outcomes(*tasks) == [1, 2, 3]


async def test_only_the_first_are_served(until_blocked: UntilBlocked) -> None:
    """Those for whom there is nothing yet go on waiting."""
    line = Line()
    tasks = start(*(line.recv() for _ in range(3)))
    await until_blocked(*tasks)

    line.put(1)
    await until_blocked(*tasks)

    assert [task.done() for task in tasks] == [True, False, False]
    line.put(2, 3)
    assert await outcomes(*tasks) == [1, 2, 3]


async def test_each_arrival_serves_the_next(until_blocked: UntilBlocked) -> None:
    """Also if several arrive before anybody had a turn to run."""
    line = Line()
    tasks = start(*(line.recv() for _ in range(3)))
    await until_blocked(*tasks)

    for number in (1, 2, 3):
        line.put(number)

    assert await outcomes(*tasks) == [1, 2, 3]


async def test_nobody_overtakes(until_blocked: UntilBlocked) -> None:
    """A call that finds datagrams, but others who wait for them, goes behind those."""
    line = Line()
    (waiting,) = start(line.recv())
    await until_blocked(waiting)
    (newcomer,) = start(line.recv())
    line.put(1, 2)  # both are there when the newcomer runs, before the woken task

    await until_blocked(waiting, newcomer)

    assert [task.done() for task in (waiting, newcomer)] == [True, True]
    assert await outcomes(waiting, newcomer) == [1, 2]


async def test_a_newcomer_is_served_when_the_line_is_short(
    until_blocked: UntilBlocked,
) -> None:
    """Whoever joins while there is more than those before it take, is served too."""
    line = Line()
    waiting = start(line.recv(), line.recv())
    await until_blocked(*waiting)
    newcomers = start(line.recv_many(1), line.recv(), line.recv())
    line.put(1, 2, 3, 4)

    await until_blocked(*waiting, *newcomers)

    tasks = [*waiting, *newcomers]
    assert [task.done() for task in tasks] == [True, True, True, True, False]
    line.put(5)
    assert await outcomes(*tasks) == [1, 2, [3], 4, 5]


async def test_a_newcomer_is_not_overlooked_behind_an_error(
    until_blocked: UntilBlocked,
) -> None:
    """The woken task takes the error, the newcomer the datagram."""
    line = Line()
    (waiting,) = start(line.recv())
    await until_blocked(waiting)
    (newcomer,) = start(line.recv())
    line.error_received(REFUSED)
    line.put(1)

    await until_blocked(waiting, newcomer)

    assert [task.done() for task in (waiting, newcomer)] == [True, True]
    assert await outcomes(waiting, newcomer) == [REFUSED, 1]


async def test_a_place_is_kept_when_another_took_everything(
    until_blocked: UntilBlocked,
) -> None:
    """A task that was woken in vain is still before those who came later."""
    line = Line()
    greedy, *others = tasks = start(line.recv_many(), line.recv(), line.recv())
    await until_blocked(*tasks)
    line.put(1, 2)
    await until_blocked(*tasks)

    line.put(3)
    await until_blocked(*tasks)

    assert await greedy == [1, 2]
    assert [task.done() for task in others] == [True, False]
    line.put(4)
    assert await outcomes(*others) == [3, 4]


async def test_a_late_turn_is_not_a_turn_before_others(
    until_blocked: UntilBlocked,
) -> None:
    """Woken in vain, and late, a task leaves what arrives to the one before it."""
    line = Line()
    gone, greedy, second, third = tasks = start(
        line.recv(), line.recv_many(), line.recv(), line.recv()
    )
    await until_blocked(*tasks)
    line.put(1, 2, 3)  # wakes the first three
    gone.cancel()  # wakes the last one too, one turn of the event loop later
    await asyncio.sleep(0)  # the second has found that nothing was left for it

    line.put(4)
    await until_blocked(*tasks)

    assert await greedy == [1, 2, 3]
    assert [second.done(), third.done()] == [True, False]
    line.put(5)
    assert await outcomes(second, third) == [4, 5]


async def test_what_a_limited_call_leaves_goes_to_the_next(
    until_blocked: UntilBlocked,
) -> None:
    """The rest of the batch is shared among those behind."""
    line = Line()
    tasks = start(line.recv_many(2), line.recv_many(2), line.recv())
    await until_blocked(*tasks)

    line.put(1, 2, 3, 4, 5)

    assert await outcomes(*tasks) == [[1, 2], [3, 4], 5]


# -- cancelling


async def test_a_cancelled_task_leaves_the_line(until_blocked: UntilBlocked) -> None:
    """The datagram goes to the one behind it."""
    line = Line()
    first, second = start(line.recv(), line.recv())
    await until_blocked(first, second)
    first.cancel()
    await until_blocked(first)

    line.put(1)

    assert await second == 1
    assert first.cancelled()


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("others", [0, 1])
async def test_cancelling_loses_nothing_whenever_it_falls(
    turns: int, others: int, until_blocked: UntilBlocked
) -> None:
    """The datagram is returned by the cancelled task, or by the next call."""
    line = Line()
    first, *waiting = start(*(line.recv() for _ in range(1 + others)))
    await until_blocked(first, *waiting)

    line.put(1)
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    await until_blocked(first, *waiting)

    line.put(2)
    waiting += start(line.recv(), line.recv())
    await until_blocked(*waiting)
    returned = [] if first.cancelled() else [first.result()]
    returned += [task.result() for task in waiting if task.done()]
    assert returned == [1, 2]
    for task in waiting:
        task.cancel()
    await outcomes(*waiting)


async def test_a_turn_that_came_with_the_cancellation_is_the_next_ones(
    until_blocked: UntilBlocked,
) -> None:
    """Everybody behind a woken and cancelled task moves up."""
    line = Line()
    tasks = start(*(line.recv() for _ in range(4)))
    await until_blocked(*tasks)
    line.put(1, 2)

    tasks[0].cancel()
    tasks[1].cancel()
    await until_blocked(*tasks)

    assert [task.cancelled() for task in tasks] == [True, True, False, False]
    assert await outcomes(*tasks[2:]) == [1, 2]


async def test_a_timeout_does_not_hold_up_the_next_call(
    until_blocked: UntilBlocked,
) -> None:
    """After the only task in the line has left, the short way is open again."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)
    task.cancel()
    await until_blocked(task)

    line.put(1)

    assert line.recv_nowait() == 1
    assert not line.detour


# -- errors of the network


async def test_an_error_is_raised_by_the_next_call() -> None:
    """Once; then receiving goes on."""
    line = Line()
    line.error_received(REFUSED)

    with pytest.raises(ConnectionRefusedError) as caught:
        await line.recv()
    line.put(1)

    assert caught.value is REFUSED
    assert await line.recv() == 1


async def test_an_error_wakes_the_first_in_the_line(
    until_blocked: UntilBlocked,
) -> None:
    """And nobody else."""
    line = Line()
    tasks = start(line.recv(), line.recv())
    await until_blocked(*tasks)

    line.error_received(REFUSED)
    await until_blocked(*tasks)

    assert [task.done() for task in tasks] == [True, False]
    line.put(1)
    assert await outcomes(*tasks) == [REFUSED, 1]


async def test_an_error_comes_before_what_is_queued() -> None:
    """It is not held up by a long queue, and costs none of it."""
    line = Line()
    line.put(1)
    line.error_received(REFUSED)

    with pytest.raises(ConnectionRefusedError):
        await line.recv()
    assert await line.recv() == 1


async def test_an_error_and_a_datagram_serve_two(until_blocked: UntilBlocked) -> None:
    """The first gets the error, the second the datagram, in whichever order."""
    line = Line()
    tasks = start(line.recv(), line.recv())
    await until_blocked(*tasks)

    line.put(1)
    line.error_received(REFUSED)

    assert await outcomes(*tasks) == [REFUSED, 1]


async def test_a_newer_error_replaces_an_older_one() -> None:
    """One is kept: a flood of them is not memory, nor a series of exceptions."""
    line = Line()
    line.error_received(REFUSED)
    line.error_received(UNREACHABLE)
    line.put(1)

    with pytest.raises(OSError) as caught:
        await line.recv()
    assert caught.value is UNREACHABLE
    assert await line.recv() == 1


async def test_an_error_is_not_lost_with_a_cancelled_task(
    until_blocked: UntilBlocked,
) -> None:
    """It goes to the next."""
    line = Line()
    first, second = start(line.recv(), line.recv())
    await until_blocked(first, second)

    line.error_received(REFUSED)
    first.cancel()
    await until_blocked(first, second)

    assert first.cancelled()
    assert await outcomes(second) == [REFUSED]


# -- closing


async def test_closing_wakes_everybody(until_blocked: UntilBlocked) -> None:
    """Each receive call raises that the endpoint is closed."""
    line = Line()
    tasks = start(line.recv(), line.recv_many(), line.recv())
    await until_blocked(*tasks)

    line.close()

    results = await outcomes(*tasks)
    assert [type(result) for result in results] == [EndpointClosedError] * 3


async def test_after_closing_every_call_raises() -> None:
    """It does not wait for what cannot come."""
    line = Line()
    line.close()

    with pytest.raises(EndpointClosedError):
        await line.recv()
    with pytest.raises(EndpointClosedError):
        line.recv_nowait()


async def test_closing_discards_what_is_queued() -> None:
    """A closed endpoint returns nothing more, and keeps no memory."""
    line = Line()
    line.put(1)
    line.close()

    with pytest.raises(EndpointClosedError):
        await line.recv()
    assert not line.items


async def test_closing_outweighs_an_error() -> None:
    """What the network said no longer matters."""
    line = Line()
    line.error_received(REFUSED)
    line.close()

    with pytest.raises(EndpointClosedError):
        await line.recv()


async def test_closing_reaches_a_task_that_was_just_woken(
    until_blocked: UntilBlocked,
) -> None:
    """Its datagram is gone by the time it runs."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)

    line.put(1)
    line.close()

    with pytest.raises(EndpointClosedError):
        await task


async def test_closing_reaches_a_newcomer_too(until_blocked: UntilBlocked) -> None:
    """One that calls before the woken tasks have left the line."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)
    (newcomer,) = start(line.recv())  # runs before the woken task, where not eager

    line.close()
    late = line.recv()

    with pytest.raises(EndpointClosedError):
        late.send(None)
    assert [type(result) for result in await outcomes(task, newcomer)] == [
        EndpointClosedError
    ] * 2


async def test_closing_twice_is_closing_once(until_blocked: UntilBlocked) -> None:
    """Also while the woken tasks have not run yet."""
    line = Line()
    (task,) = start(line.recv())
    await until_blocked(task)

    line.close()
    line.close()

    with pytest.raises(EndpointClosedError):
        await task


@pytest.mark.parametrize("exc", [None, UNREACHABLE])
async def test_a_lost_connection_closes(exc: Exception | None) -> None:
    """Whoever closed the transport."""
    line = Line()

    line.connection_lost(exc)

    assert line.closed
    with pytest.raises(EndpointClosedError):
        await line.recv()


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


async def test_an_emptied_queue_resumes_the_reading(
    until_blocked: UntilBlocked,
) -> None:
    """When the next call has to wait, and not before."""
    line = Line(capacity=2)
    line.fill(1, 2)
    await line.recv()
    await line.recv()
    before = [*line.fake.calls]

    (task,) = start(line.recv())
    await until_blocked(task)

    assert (before, line.fake.calls) == ([], ["resume"])
    line.put(3)
    assert await task == 3


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
    line = Line(capacity=1)
    line.fill(1)
    line.recv_nowait()
    wanted = line.datagrams_wanted()  # a transport that did not pause asks again

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
async def test_the_transport_is_told_how_many_are_wanted(
    overflow: Overflow, wanted: int
) -> None:
    """So that a batch does not overfill the queue."""
    line = Line(capacity=5, overflow=overflow)
    line.put(1, 2)

    assert line.datagrams_wanted() == wanted
