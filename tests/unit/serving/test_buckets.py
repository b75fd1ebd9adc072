"""How often a peer may come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioudp._serving.buckets import Buckets, peer_of


def test_a_burst_and_then_the_rate() -> None:
    """Of 3 at once, and 2 a second."""
    buckets = Buckets(2.0, 3.0, peers=10)

    assert [buckets.take("peer", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [buckets.take("peer", 0.5) for _ in range(2)] == [True, False]
    assert [buckets.take("peer", 100.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("other", 100.0)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 3)), max_size=200))
def test_limits_hold(steps: list[tuple[int, float]]) -> None:
    """So many peers are kept, and none that is gets more than its rate."""
    buckets, now = Buckets(1.0, 2.0, peers=30), 0.0
    taken: dict[int, int] = {}
    for peer, pause in steps:
        now += pause
        taken[peer] = taken.get(peer, 0) + buckets.take(peer, now)
        assert taken[peer] <= 2 + now + 1e-6
        assert len(buckets) <= 30


def test_the_number_of_peers_is_limited() -> None:
    """A flood of forged senders takes no more memory than that."""
    buckets = Buckets(1.0, 1.0, peers=100)
    for peer in range(10_000):
        buckets.take(peer, 0.0)

    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff", 2, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fe80::1%lo", 1, 0, 1), ("fe80::2%lo", 1, 0, 1), False),
        (("::1", 1, 0, 0), ("::2", 1, 0, 0), False),
        ("/run/one", "/run/one", True),
        ("/run/one", "/run/other", False),
    ],
)
def test_who_is_one_peer(one: Any, other: Any, same: bool) -> None:
    """The host, and of IPv6 the network; not the port."""
    assert (peer_of(one) == peer_of(other)) is same
