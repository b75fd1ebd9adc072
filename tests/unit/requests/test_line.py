"""Waiting in line: the order, cancelling, closing, and that nothing stays."""

from __future__ import annotations

import asyncio

import pytest

from aioudp import EndpointClosedError
from aioudp._requests.line import Line, Turns

from ...conftest import UntilBlocked


async def test_places_go_in_order(until_blocked: UntilBlocked) -> None:
    """First come, first served."""
    line, served = Line(2), []

    async def enter(number: int) -> None:
        await line.enter()
        served.append(number)

    tasks = [asyncio.create_task(enter(number)) for number in range(5)]
    await until_blocked(*tasks)
    assert (served, line.taken, line.waiting) == ([0, 1], 2, 3)

    for _ in range(3):
        line.leave()
        await until_blocked(*tasks)
    assert served == [0, 1, 2, 3, 4]
    line.leave()
    line.leave()
    assert (line.taken, line.waiting) == (0, 0)


async def test_nobody_overtakes(until_blocked: UntilBlocked) -> None:
    """A place that is given up is the first waiter's, also before it runs."""
    line = Line(1)
    await line.enter()
    first = asyncio.create_task(line.enter())
    await until_blocked(first)

    line.leave()

    assert not line.enter_nowait()
    await first


@pytest.mark.parametrize("late", [False, True], ids=["before", "with the turn"])
async def test_cancelled_in_the_line(late: bool, until_blocked: UntilBlocked) -> None:
    """A turn that comes with the cancellation is the next one's."""
    turns = Turns()
    await turns.take("key")
    first = asyncio.create_task(turns.take("key"))
    second = asyncio.create_task(turns.take("key"))
    await until_blocked(first, second)

    if late:
        turns.give("key")
    first.cancel()
    await asyncio.wait([first])
    if not late:
        turns.give("key")

    await second
    turns.give("key")
    assert (len(turns), turns.waiting) == (0, 0)


@pytest.mark.parametrize("late", [False, True], ids=["before", "with the turn"])
async def test_the_last_one_cancelled_leaves_nothing(
    late: bool, until_blocked: UntilBlocked
) -> None:
    """A key at which nobody is any more is forgotten."""
    turns = Turns()
    await turns.take("key")
    waiting = asyncio.create_task(turns.take("key"))
    await until_blocked(waiting)

    if late:
        turns.give("key")
    waiting.cancel()
    await asyncio.wait([waiting])
    if not late:
        turns.give("key")

    assert len(turns) == 0
    assert turns.take_nowait("key")


async def test_closed_in_the_line(until_blocked: UntilBlocked) -> None:
    """Everybody who waits learns of it, and so does whoever comes later."""
    line, turns = Line(1), Turns()
    await line.enter()
    await turns.take("key")
    await turns.take("nobody waits here")
    tasks = [asyncio.create_task(one) for one in (line.enter(), turns.take("key"))]
    await until_blocked(*tasks)

    line.close()
    turns.close()

    for task in tasks:
        with pytest.raises(EndpointClosedError):
            await task
    with pytest.raises(EndpointClosedError):
        await line.enter()


async def test_closed_and_cancelled_at_once(until_blocked: UntilBlocked) -> None:
    """Nothing is left that would be reported as never looked at."""
    line = Line(1)
    await line.enter()
    task = asyncio.create_task(line.enter())
    await until_blocked(task)

    line.close()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
