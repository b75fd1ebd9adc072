"""What a front holds: every batch in one state, every datagram counted once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aioudp._forwarding.ledger import Batch, Ledger

CAPACITY, UNANSWERED = 100, 3


class Model(RuleBasedStateMachine):
    """Anything may happen in any order; the counts add up after each step."""

    policy: Any = "pause"
    ordered = False

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(CAPACITY, UNANSWERED, self.policy, ordered=self.ordered)
        self.received = self.stored = self.refused = 0
        self.added: list[Batch] = []
        self.out: dict[tuple[int, int], Batch] = {}
        """Published and unanswered."""
        self.again: dict[tuple[int, int], Batch] = {}
        """To be published again."""
        self.now = 0.0

    @rule(size=st.integers(1, 250), datagrams=st.integers(1, 9), part=st.integers(0, 2))
    def add(self, size: int, datagrams: int, part: int) -> None:
        batch = Batch(bytearray(size), datagrams, part if self.ordered else 0)
        self.received += datagrams
        self.added.append(batch)
        self.ledger.add(batch)

    @rule()
    def publish(self) -> None:
        batch = self.ledger.next(self.now + 5)
        if batch is None:
            return
        key = batch.partition, batch.sequence
        assert key not in self.out
        if self.ordered:
            assert all(partition != batch.partition for partition, _ in self.out)
        # What waits to be published again goes first, the earliest of them.
        earlier = [other for other in self.again if other[0] == batch.partition]
        assert not earlier or key == min(earlier)
        self.again.pop(key, None)
        self.out[key] = batch

    def key(self, data: Any) -> tuple[int, int]:
        known = [*self.out, *self.again, (0, 10**6), (9, 1)]
        return data.draw(st.sampled_from(known))  # type: ignore[no-any-return]

    @rule(data=st.data(), stored=st.booleans())
    def answer(self, data: Any, stored: bool) -> None:
        key = self.key(data)
        batch = self.out.pop(key, None) or self.again.pop(key, None)
        assert self.ledger.answer(*key, stored=stored) is (batch is not None)
        assert not self.ledger.answer(*key, stored=stored)  # the second time
        if batch is not None and stored:
            self.stored += batch.datagrams
        elif batch is not None:
            self.refused += batch.datagrams

    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        key = self.key(data)
        if key in self.out:
            self.again[key] = self.out.pop(key)
        self.ledger.retry(*key)

    @precondition(lambda self: self.out)
    @rule(seconds=st.integers(0, 6))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        late = [key for key, batch in self.out.items() if batch.deadline <= self.now]
        assert self.ledger.expire(self.now) == len(late)
        for key in late:
            self.again[key] = self.out.pop(key)

    @rule()
    def disconnect(self) -> None:
        self.ledger.disconnect()
        self.again.update(self.out)
        self.out.clear()

    @invariant()
    def counts_add_up(self) -> None:
        ledger = self.ledger
        assert self.received == ledger.published + ledger.dropped + ledger.waiting
        unknown = [*self.out.values(), *self.again.values()]
        assert ledger.published == (
            self.stored + self.refused + sum(batch.datagrams for batch in unknown)
        )
        assert (ledger.acknowledged, ledger.refused) == (self.stored, self.refused)
        assert ledger.batches == sum(bool(batch.sequence) for batch in self.added)

    @invariant()
    def memory_is_bounded(self) -> None:
        ledger = self.ledger
        if not len(ledger):
            assert ledger.size == 0
        if self.policy == "drop-newest":  # one batch more than there is room for
            assert ledger.size < CAPACITY + 250
        if self.policy == "drop-oldest":  # besides what may be in the engine already
            held = sum(
                len(batch.message)
                for batch in (*self.out.values(), *self.again.values())
            )
            assert ledger.size <= max(CAPACITY, held + 250)
        if self.policy == "pause":
            assert ledger.dropped == 0


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("policy", ["pause", "drop-oldest", "drop-newest"])
def test_anything_in_any_order(policy: str, ordered: bool) -> None:
    """Nothing is lost from the counts, and what comes again comes in order."""
    case: Any = type("Case", (Model,), {"policy": policy, "ordered": ordered})
    case = case.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    case().runTest()


def test_a_full_engine_gets_the_batches_in_order_again() -> None:
    """Each was refused for want of room; the first one goes first again."""
    ledger = Ledger(CAPACITY, UNANSWERED, "pause")
    for _ in range(3):
        ledger.add(Batch(bytearray(1), 1))
    published = [ledger.next(1.0) for _ in range(3)]
    for batch in published:
        assert batch is not None
        ledger.retry(0, batch.sequence)

    assert [ledger.next(1.0) for _ in range(3)] == published
