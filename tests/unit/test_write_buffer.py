"""The buffer behind ``sendto``, and asyncio's water marks."""

from __future__ import annotations

import pytest

from aioudp._transports._write_buffer import DEFAULT_HIGH, HEADER_SIZE, WriteBuffer


def test_a_new_buffer_is_empty() -> None:
    """No datagram, no byte, nobody paused."""
    buffer = WriteBuffer()

    assert (len(buffer), buffer.size, buffer.paused) == (0, 0, False)


def test_datagrams_leave_in_the_order_they_came() -> None:
    """First in, first out."""
    buffer = WriteBuffer()
    buffer.append(b"first", ("192.0.2.1", 1))
    buffer.append(b"second", None)

    buffer.remove_first()

    assert buffer.first() == (b"second", None)


def test_looking_at_the_first_does_not_remove_it() -> None:
    """A datagram that the kernel refuses for now stays at the head."""
    buffer = WriteBuffer()
    buffer.append(b"first", None)

    buffer.first()

    assert buffer.first() == (b"first", None)


def test_the_size_counts_payloads_and_headers() -> None:
    """Empty datagrams take memory too, so they count as well."""
    buffer = WriteBuffer()

    buffer.append(b"12345", None)
    buffer.append(b"", None)

    assert buffer.size == 5 + 2 * HEADER_SIZE


def test_the_size_is_zero_again_when_all_are_out() -> None:
    """The accounting adds up: nothing is left behind by what has left."""
    buffer = WriteBuffer()
    for size in (0, 1, 1000):
        buffer.append(bytes(size), None)

    while buffer:
        buffer.remove_first()

    assert buffer.size == 0


def test_clearing_forgets_datagrams_and_bytes() -> None:
    """An aborted transport has nothing left to send."""
    buffer = WriteBuffer()
    buffer.append(b"12345", None)

    buffer.clear()

    assert (len(buffer), buffer.size) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "low", "high"),
    [
        ({}, DEFAULT_HIGH // 4, DEFAULT_HIGH),
        ({"high": 1000}, 250, 1000),
        ({"low": 1000}, 1000, 4000),
        ({"high": 1000, "low": 10}, 10, 1000),
        ({"high": 10, "low": 10}, 10, 10),
        ({"high": 0}, 0, 0),
        ({"low": 0}, 0, 0),
    ],
)
def test_the_limit_that_is_left_out_follows_from_the_other(
    limits: dict[str, int], low: int, high: int
) -> None:
    """A quarter of the high mark, or four times the low one, as in asyncio."""
    buffer = WriteBuffer()

    buffer.set_limits(**limits)

    assert (buffer.low, buffer.high) == (low, high)


@pytest.mark.parametrize(
    "limits", [{"high": -1}, {"low": -1}, {"high": 1, "low": 2}, {"high": 5, "low": -1}]
)
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    """A low mark above the high one, or a negative one, would never resume."""
    with pytest.raises(ValueError, match="low <= high"):
        WriteBuffer().set_limits(**limits)


def test_refused_limits_change_nothing() -> None:
    """The marks in force stay."""
    buffer = WriteBuffer()

    with pytest.raises(ValueError, match="low <= high"):
        buffer.set_limits(high=1, low=2)

    assert (buffer.low, buffer.high) == (DEFAULT_HIGH // 4, DEFAULT_HIGH)
