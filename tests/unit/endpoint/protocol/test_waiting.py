"""The tasks that wait to receive: in a line, each woken once, free to be cancelled."""

from __future__ import annotations

import asyncio

import pytest

from .support import REFUSED, Line, UntilBlocked, numbered, outcomes, start

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
