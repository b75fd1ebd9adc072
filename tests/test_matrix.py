"""The cells that a run takes: each set of parameters, each value of each axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from .matrix import Case, Value, choose

AXES: Final = (
    (("loop", 0), ("loop", 1), ("loop", 2)),
    (("transport", 0), ("transport", 1)),
    (("family", 0), ("family", 1)),
)


def product(axes: Sequence[Sequence[Value]], sets: int) -> list[Case]:
    """Return every case of a function with so many sets of parameters of its own."""
    return [
        Case(frozenset({("own", number)}), frozenset(cell))
        for number in range(sets)
        for cell in itertools.product(*axes)
    ]


def lacking(cases: list[Case], *values: Value) -> list[Case]:
    """Return the cases of a machine that lacks these values."""
    return [case._replace(skips=not case.cell.isdisjoint(values)) for case in cases]


def values_of(cases: Sequence[Case], positions: set[int]) -> set[Value]:
    return {value for position in positions for value in cases[position].cell}


# Some of the axes; how many sets of parameters; the word.
functions = given(
    axes=st.lists(st.sampled_from(AXES), unique=True),
    sets=st.integers(1, 30),
    word=st.text(),
)


@functions
def test_each_set_of_parameters_is_taken(
    axes: list[Sequence[Value]], sets: int, word: str
) -> None:
    """No parameters are left out."""
    cases = product(axes, sets)

    taken = choose(cases, word)

    assert {cases[x].parameters for x in taken} == {x.parameters for x in cases}


@functions
def test_each_value_of_each_axis_is_taken(
    axes: list[Sequence[Value]], sets: int, word: str
) -> None:
    """A function meets every value, with no more cases than that takes."""
    cases = product(axes, sets)

    taken = choose(cases, word)

    assert values_of(cases, taken) == set(itertools.chain(*axes))
    assert len(taken) <= max(sets, *map(len, axes), 1)


@given(sets=st.integers(1, 30), word=st.text())
def test_where_no_axis_matters_each_set_has_one_cell(sets: int, word: str) -> None:
    """Of cases that differ in nothing that matters, one is enough."""
    cases = [case._replace(cell=frozenset()) for case in product(AXES, sets)]

    assert len(choose(cases, word)) == sets


@given(word=st.text())
def test_several_sets_meet_all_pairs(word: str) -> None:
    """Six sets of parameters meet each of the 3 x 2 + 3 x 2 + 2 x 2 pairs."""
    cases = product(AXES, 6)

    taken = choose(cases, word)

    cells = [sorted(cases[position].cell) for position in taken]
    pairs = {pair for cell in cells for pair in itertools.combinations(cell, 2)}
    assert len(pairs) == 16


def test_the_choice_is_repeatable() -> None:
    """The same word gives the same cells."""
    cases = product(AXES, 5)

    assert choose(cases, "word") == choose(cases, "word")


def test_words_rotate_through_all_cells() -> None:
    """Each case has its turn: 300 words meet every one."""
    cases = product(AXES, 3)
    words = map(str, range(300))

    met = set[int]().union(*(choose(cases, word) for word in words))

    assert met == set(range(len(cases)))


@given(sets=st.integers(1, 10), word=st.text())
def test_what_the_machine_lacks_costs_no_set_of_parameters(
    sets: int, word: str
) -> None:
    """Each set still runs; what is lacking is taken too, so that its skip is seen."""
    cases = lacking(product(AXES, sets), ("loop", 1), ("family", 1))

    taken = choose(cases, word)

    running = {x for x in taken if not cases[x].skips}
    assert {cases[x].parameters for x in running} == {x.parameters for x in cases}
    assert values_of(cases, running) == {*AXES[0][::2], *AXES[1], AXES[2][0]}
    assert values_of(cases, taken) == set(itertools.chain(*AXES))


def test_parameters_that_cannot_run_at_all_are_taken_to_be_reported() -> None:
    """A set of which each cell is lacking is skipped, with its reason."""
    cases = lacking(product([AXES[0]], 1), *AXES[0])

    assert choose(cases, "word")
