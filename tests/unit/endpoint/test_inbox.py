"""The bounded queue and its overflow policies."""

from __future__ import annotations

import pytest

from aioudp._endpoint.inbox import ANY, Inbox
from aioudp._types import Datagram, Overflow


def numbered(*numbers: int) -> list[Datagram]:
    return [Datagram(b"%d" % number, ("192.0.2.1", 53)) for number in numbers]


def filled(overflow: Overflow, capacity: int, *batches: list[Datagram]) -> Inbox:
    inbox = Inbox(capacity, overflow)
    for batch in batches:
        inbox.put(batch)
    return inbox


POLICIES: list[Overflow] = ["pause", "drop-oldest", "drop-newest"]


@pytest.mark.parametrize("overflow", POLICIES)
def test_a_new_inbox_is_empty(overflow: Overflow) -> None:
    """It holds nothing, and nothing was discarded."""
    inbox = Inbox(3, overflow)

    assert (list(inbox.items), inbox.dropped) == ([], 0)


@pytest.mark.parametrize("overflow", POLICIES)
def test_what_fits_is_kept_in_order(overflow: Overflow) -> None:
    """Up to its capacity an inbox is the same queue under every policy."""
    inbox = filled(overflow, 3, numbered(1), numbered(2, 3))

    assert (list(inbox.items), inbox.dropped) == (numbered(1, 2, 3), 0)


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [
        ("pause", [1, 2, 3, 4, 5], 0),
        ("drop-oldest", [3, 4, 5], 2),
        ("drop-newest", [1, 2, 3], 2),
    ],
)
def test_the_policy_decides_over_the_excess(
    overflow: Overflow, kept: list[int], dropped: int
) -> None:
    """Only the drop policies discard, each at its end, and what they discard counts."""
    inbox = filled(overflow, 3, numbered(1, 2), numbered(3, 4, 5))

    assert (list(inbox.items), inbox.dropped) == (numbered(*kept), dropped)


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop-oldest", [8, 9]), ("drop-newest", [1, 2])]
)
def test_one_batch_may_be_longer_than_the_inbox(
    overflow: Overflow, kept: list[int]
) -> None:
    """A drop policy keeps as many of it as it has room for."""
    inbox = filled(overflow, 2, numbered(*range(1, 10)))

    assert (list(inbox.items), inbox.dropped) == (numbered(*kept), 7)


def test_drops_add_up() -> None:
    """The count is of all that was ever discarded."""
    inbox = filled("drop-newest", 1, numbered(1, 2), numbered(3), numbered(4, 5))

    assert inbox.dropped == 4


@pytest.mark.parametrize("overflow", POLICIES)
def test_an_empty_batch_changes_nothing(overflow: Overflow) -> None:
    """Putting nothing into a full inbox discards nothing."""
    inbox = filled(overflow, 1, numbered(1), [])

    assert (list(inbox.items), inbox.dropped) == (numbered(1), 0)


def test_the_room_of_a_pausing_inbox_is_what_is_free() -> None:
    """Its capacity, less what waits."""
    assert filled("pause", 3, numbered(1, 2)).room() == 1


def test_an_overfull_inbox_has_no_room() -> None:
    """A train kept whole beyond the capacity leaves no room, not less than none."""
    assert filled("pause", 2, numbered(1, 2, 3)).room() == 0


@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest"])
def test_a_dropping_inbox_always_wants_more(overflow: Overflow) -> None:
    """What arrives is taken from the kernel even when it will be discarded."""
    assert filled(overflow, 1, numbered(1)).room() == ANY


def test_take_gives_all_there_is() -> None:
    """Without a limit the inbox is empty afterwards."""
    inbox = filled("pause", 3, numbered(1, 2, 3))

    assert (inbox.take(), list(inbox.items)) == (numbered(1, 2, 3), [])


@pytest.mark.parametrize(
    ("limit", "taken", "left"),
    [(1, [1], [2, 3]), (2, [1, 2], [3]), (3, [1, 2, 3], []), (9, [1, 2, 3], [])],
)
def test_take_keeps_to_its_limit(limit: int, taken: list[int], left: list[int]) -> None:
    """The oldest are taken; the rest stays in order."""
    inbox = filled("pause", 3, numbered(1, 2, 3))

    assert (inbox.take(limit), list(inbox.items)) == (
        numbered(*taken),
        numbered(*left),
    )


def test_taking_makes_room() -> None:
    """What was taken no longer counts against the capacity."""
    inbox = filled("pause", 3, numbered(1, 2, 3))

    inbox.take(2)

    assert inbox.room() == 2


def test_the_queue_stays_the_same_object() -> None:
    """Others hold on to ``items``, so taking everything must not replace it."""
    inbox = filled("pause", 3, numbered(1))
    items = inbox.items

    inbox.take()
    inbox.put(numbered(2))

    assert list(items) == numbered(2)


def test_what_take_returned_is_the_callers() -> None:
    """Later arrivals do not show up in it."""
    inbox = filled("pause", 3, numbered(1))
    taken = inbox.take()

    inbox.put(numbered(2))

    assert taken == numbered(1)


def test_a_read_brings_no_more_than_is_wanted_at_once() -> None:
    """A consumer may want less than there is room for, and never gets more."""
    inbox = filled("pause", 10, numbered(1, 2, 3))

    inbox.at_once = 5
    assert inbox.room() == 5
    inbox.put(numbered(*range(5)))
    assert inbox.room() == 2


def test_what_is_wanted_at_once_is_unchanged_by_dropping() -> None:
    """A policy that drops accepts all, but not all at once."""
    inbox = filled("drop-oldest", 3, numbered(1, 2, 3))

    assert inbox.room() == ANY
    inbox.at_once = 5
    assert inbox.room() == 5
