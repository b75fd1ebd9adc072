"""The table of requests: what is found, what is due, and that nothing stays."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from aioudp._requests.table import Entry, Table

PEER: Final = ("192.0.2.1", 53)
OTHER: Final = ("192.0.2.2", 53)


def test_found_by_peer_and_id() -> None:
    """The same id at another peer is another request."""
    table: Table[str] = Table()
    one, two = table.add(PEER, 7, "one"), table.add(OTHER, 7, "two")

    assert table.asked(PEER) == {7: one}
    assert table.asked(OTHER) == {7: two}
    assert table.asked(("192.0.2.3", 53)) is None
    assert [entry.item for entry in table] == ["one", "two"]


def test_due_in_order_and_once() -> None:
    """Earliest first; what was due is due no more, and what was put off is later."""
    table: Table[str] = Table()
    one, two, three = (table.add(PEER, name, name) for name in ("a", "b", "c"))
    table.schedule(one, 3.0)
    table.schedule(two, 1.0)
    table.schedule(three, 2.0)
    table.schedule(three, 9.0)

    assert table.next_due() == 1.0
    assert table.due(0.5) == []
    assert table.due(5.0) == [two, one]
    assert table.due(5.0) == []
    assert table.due(9.0) == [three]
    assert table.next_due() is None


def test_what_was_answered_is_not_due() -> None:
    """Nor is it found."""
    table: Table[str] = Table()
    entry = table.add(PEER, 7, "one")
    table.schedule(entry, 1.0)

    table.remove(entry)
    table.remove(entry)

    assert len(table) == 0
    assert table.asked(PEER) is None
    assert table.due(2.0) == []


def test_an_old_entry_does_not_remove_its_successor() -> None:
    """The same peer and id may be in use again."""
    table: Table[str] = Table()
    old = table.add(PEER, 7, "old")
    table.remove(old)
    new = table.add(PEER, 7, "new")

    table.remove(old)

    assert table.asked(PEER) == {7: new}


def test_times_of_answered_requests_do_not_pile_up() -> None:
    """100,000 requests with a minute to go, answered at once, leave next to nothing."""
    table: Table[str] = Table()
    table.add(OTHER, 0, "stays out")
    for number in range(100_000):
        entry = table.add(PEER, number, "")
        table.schedule(entry, 60.0)
        table.remove(entry)
        assert table.times <= 67

    assert len(table) == 1


class Model(RuleBasedStateMachine):
    """The table beside the plainest thing that does the same: a list."""

    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.table: Table[int] = Table()
        self.out: dict[Entry[int], float | None] = {}

    @rule(target=entries, peer=st.sampled_from([PEER, OTHER]), id=st.integers(0, 9))
    def add(self, peer: Any, id: int) -> Any:
        for entry in self.out:
            if (entry.peer, entry.id) == (peer, id):
                return entry
        entry = self.table.add(peer, id, 0)
        self.out[entry] = None
        return entry

    @rule(entry=entries, due=st.integers(0, 20))
    def schedule(self, entry: Entry[int], due: int) -> None:
        if entry in self.out:
            self.table.schedule(entry, due)
            self.out[entry] = due

    @rule(entry=consumes(entries))
    def remove(self, entry: Entry[int]) -> None:
        self.table.remove(entry)
        self.out.pop(entry, None)

    @rule(now=st.integers(0, 20))
    def due(self, now: int) -> None:
        expected = {
            entry for entry, due in self.out.items() if due is not None and due <= now
        }

        found = self.table.due(now)

        assert len(found) == len(expected)
        assert set(found) == expected
        for entry in expected:
            self.out[entry] = None

    @invariant()
    def holds(self) -> None:
        assert set(self.table) == set(self.out)
        assert len(self.table) == len(self.out)
        assert self.table.times <= 2 * len(self.out) + 64
        times = [due for due in self.out.values() if due is not None]
        head = self.table.next_due()
        assert not times or (head is not None and head <= min(times))


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
