"""The errors that wait for somebody to ask, and the tasks that wait for errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aioudp._endpoint.error_inbox import ErrorInbox
from aioudp._errors import EndpointClosedError

if TYPE_CHECKING:
    from tests.conftest import UntilBlocked


@pytest.fixture
async def inbox() -> ErrorInbox:
    """Return an inbox with room for three."""
    return ErrorInbox(3)


def put(inbox: ErrorInbox, *errors: Any) -> None:
    """Put these in; that they are no errors makes no difference here."""
    for error in errors:
        inbox.put(error)


async def take(inbox: ErrorInbox) -> Any:
    """Take one out, whatever it is."""
    return await inbox.take()


async def test_the_oldest_comes_first(inbox: ErrorInbox) -> None:
    """And is there only once."""
    put(inbox, "a", "b")

    assert [await take(inbox), await take(inbox)] == ["a", "b"]


async def test_the_newest_are_kept(inbox: ErrorInbox) -> None:
    """What makes room for them is counted."""
    put(inbox, *"abcde")

    assert [await take(inbox) for _ in range(3)] == ["c", "d", "e"]
    assert inbox.dropped == 2


async def test_nobody_overtakes(inbox: ErrorInbox, until_blocked: UntilBlocked) -> None:
    """Who asks now gets in line behind those who have been waiting."""
    first = asyncio.create_task(take(inbox))
    await until_blocked(first)
    put(inbox, "a", "b")

    assert await take(inbox) == "b"
    assert await first == "a"


async def test_the_turn_of_a_cancelled_task_is_the_next_ones(
    inbox: ErrorInbox, until_blocked: UntilBlocked
) -> None:
    """Also if it comes together with the cancellation."""
    first = asyncio.create_task(take(inbox))
    second = asyncio.create_task(take(inbox))
    await until_blocked(first, second)
    put(inbox, "a")
    first.cancel()

    async with asyncio.timeout(5):
        assert await second == "a"
    assert first.cancelled()


async def test_closing(inbox: ErrorInbox, until_blocked: UntilBlocked) -> None:
    """It wakes everybody, and nothing is handed out any more."""
    waiting = [asyncio.create_task(take(inbox)) for _ in range(3)]
    await until_blocked(*waiting)

    inbox.close()
    put(inbox, "a")

    for task in [*waiting, asyncio.create_task(take(inbox))]:
        with pytest.raises(EndpointClosedError):
            await task
