"""Sets of sequence numbers as ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aioudp._forwarding.ranges import Ranges

numbers = st.integers(1, 40)


@given(st.lists(numbers))
def test_it_is_a_set(added: list[int]) -> None:
    """It holds what was added, and says each time whether that is new."""
    ranges, model = Ranges(), set[int]()
    for number in added:
        assert ranges.add(number) is (number not in model)
        model.add(number)

    assert len(ranges) == len(model)
    assert {number for number in range(1, 42) if number in ranges} == model
    assert ranges.missing() == (max(model) - len(model) if model else 0)


@given(st.lists(st.tuples(numbers, st.integers(0, 10))))
def test_ranges_are_joined(added: list[tuple[int, int]]) -> None:
    """Ranges that touch or overlap are one; a gap lies between any two."""
    ranges = Ranges((start, start + more) for start, more in added)
    pairs = ranges.pairs()

    assert all(start <= end for start, end in pairs)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(pairs))
    model = {n for start, more in added for n in range(start, start + more + 1)}
    assert len(ranges) == len(model)


def test_equality_and_text() -> None:
    """Equal sets are equal, however they came about."""
    assert Ranges([(1, 2), (3, 4)]) == Ranges([(1, 4)])
    assert repr(Ranges([(1, 4)])) == "Ranges([(1, 4)])"
