"""When a request is sent again: the waits, and what is no schedule."""

from __future__ import annotations

import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioudp._requests.schedule import MAX_WAIT, Schedule

DEFAULTS: Final[dict[str, Any]] = {
    "timeout": 1.0,
    "retries": 3,
    "backoff": 2.0,
    "jitter": 0.1,
}


def test_waits_double() -> None:
    """Without luck they are 1, 2, 4 and 8 seconds."""
    schedule = Schedule(**DEFAULTS)

    assert [schedule.wait(number, 0.0) for number in range(4)] == [1, 2, 4, 8]


def test_jitter_only_adds() -> None:
    """No wait is shorter than what was asked for, none longer by more than a tenth."""
    schedule = Schedule(**DEFAULTS)

    assert schedule.wait(1, 0.5) == pytest.approx(2.1)
    assert schedule.wait(1, 1.0) == pytest.approx(2.2)


@given(
    st.floats(1e-6, 1e6),
    st.floats(1, 1e9),
    st.floats(0, 1),
    st.integers(0, 10**6),
    st.floats(0, 1),
)
def test_waits_are_bounded_and_grow(
    timeout: float, backoff: float, jitter: float, number: int, random: float
) -> None:
    """Whatever the numbers, a wait ends, and the next one is at least as long."""
    schedule = Schedule(timeout, 2, backoff, jitter)

    wait = schedule.wait(number, random)

    assert min(timeout, MAX_WAIT) <= wait <= MAX_WAIT
    assert schedule.wait(number + 1, random) >= wait


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "1"),
        ("timeout", True),
        ("timeout", None),
        ("retries", 1.0),
        ("retries", False),
        ("backoff", "2"),
        ("jitter", None),
    ],
)
def test_wrong_types(name: str, value: object) -> None:
    """TypeError, with the name and the value."""
    with pytest.raises(TypeError, match=rf"{name} .*{value!r}"):
        Schedule(**DEFAULTS | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", math.inf),
        ("timeout", math.nan),
        ("retries", -1),
        ("backoff", 0.5),
        ("backoff", math.nan),
        ("jitter", -0.1),
        ("jitter", math.inf),
    ],
)
def test_wrong_values(name: str, value: object) -> None:
    """ValueError, with the name and the value."""
    with pytest.raises(ValueError, match=rf"{name} .*{value}"):
        Schedule(**DEFAULTS | {name: value})
