"""How much may be sent to whom."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aioudp._serving.amplification import Budgets


def test_three_times_what_came() -> None:
    """Every byte counts, also of what was answered before."""
    budgets = Budgets(3.0)
    peer = ("192.0.2.1", 9)
    assert budgets.spend(peer, 10) == 0

    budgets.receive(peer, 100)
    budgets.receive(peer, 1)

    assert budgets.spend(peer, 200) == 200
    assert budgets.spend(peer, 200) == 103
    assert budgets.spend(peer, 200) == 0


def test_a_proof_lifts_the_limit() -> None:
    """For that address alone, and until it is forgotten."""
    budgets = Budgets(1.0, peers=2)
    one, two, three = (("192.0.2.1", port) for port in (1, 2, 3))
    budgets.validate(one)
    budgets.receive(one, 1)
    assert budgets.spend(one, 10**6) == 10**6
    assert budgets.spend(two, 1) == 0

    budgets.receive(two, 1)
    budgets.receive(three, 1)

    assert budgets.spend(one, 1) == 0
    assert len(budgets) == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 2000), st.integers(0, 9000)),
        max_size=100,
    )
)
def test_nobody_is_sent_more_than_the_factor(steps: list[tuple[int, int, int]]) -> None:
    """Also if more addresses are forged than are kept."""
    budgets = Budgets(3.0, peers=4)
    came: Counter[int] = Counter()
    went: Counter[int] = Counter()
    for port, size, reply in steps:
        budgets.receive(("192.0.2.1", port), size)
        came[port] += size
        went[port] += budgets.spend(("192.0.2.1", port), reply)
        assert went[port] <= 3 * came[port]
        assert len(budgets) <= 4
