"""Errors of the network, and closing: who waits, and who comes later."""

from __future__ import annotations

import pytest

from aioudp._errors import EndpointClosedError

from .support import REFUSED, UNREACHABLE, Line, UntilBlocked, outcomes, start

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
