"""The buffer behind ``sendto``, and asyncio's water marks."""

from __future__ import annotations

from typing import Any

import pytest

from aioudp._transports.write_buffer import DEFAULT_HIGH, HEADER_SIZE, WriteBuffer


def left(buffer: WriteBuffer) -> list[tuple[bytes, Any]]:
    """Return what is still to be sent, as the transport reads it."""
    return buffer.waiting[buffer.done :]


def test_a_new_buffer_is_empty() -> None:
    """No datagram, no byte, nobody paused."""
    buffer = WriteBuffer()

    assert (len(buffer), buffer.size, buffer.paused) == (0, 0, False)


def test_datagrams_leave_in_the_order_they_came() -> None:
    """First in, first out."""
    buffer = WriteBuffer()
    buffer.append(b"first", ("192.0.2.1", 1))
    buffer.append(b"second", None)

    before = left(buffer)
    buffer.remove(1)

    assert before == [(b"first", ("192.0.2.1", 1)), (b"second", None)]
    assert left(buffer) == [(b"second", None)]


def test_looking_at_what_waits_does_not_remove_it() -> None:
    """A datagram that the kernel refuses for now stays at the head."""
    buffer = WriteBuffer()
    buffer.append(b"first", None)

    left(buffer)

    assert (left(buffer), len(buffer)) == ([(b"first", None)], 1)


@pytest.mark.parametrize("count", range(5))
def test_as_many_leave_as_were_sent(count: int) -> None:
    """One system call may take any number of them; the rest keeps its order."""
    buffer = WriteBuffer()
    for size in range(4):
        buffer.append(bytes(size), None)

    buffer.remove(count)

    assert left(buffer) == [(bytes(size), None) for size in range(count, 4)]
    assert len(buffer) == 4 - count
    assert buffer.size == sum(size + HEADER_SIZE for size in range(count, 4))


def test_the_size_follows_what_leaves_little_by_little() -> None:
    """Each datagram is taken off once."""
    buffer = WriteBuffer()
    for size in (1, 10, 100, 1000):
        buffer.append(bytes(size), None)
    sizes = []

    for _ in range(4):
        buffer.remove(1)
        sizes.append(buffer.size)

    assert sizes == [
        1110 + 3 * HEADER_SIZE,
        1100 + 2 * HEADER_SIZE,
        1000 + HEADER_SIZE,
        0,
    ]


def test_what_is_added_goes_behind_what_waits() -> None:
    """Also after some have left, and after all have."""
    buffer = WriteBuffer()
    for data in (b"1", b"2"):
        buffer.append(data, None)
    buffer.remove(1)
    buffer.append(b"3", None)
    before = left(buffer)
    buffer.remove(2)
    buffer.append(b"4", None)

    assert before == [(b"2", None), (b"3", None)]
    assert left(buffer) == [(b"4", None)]


def test_what_is_out_is_not_kept() -> None:
    """Once all are out, the memory of them is free."""
    buffer = WriteBuffer()
    for _ in range(3):
        buffer.append(b"payload", None)

    buffer.remove(2)
    buffer.remove(1)

    assert (buffer.waiting, buffer.done) == ([], 0)


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
        buffer.remove(1)

    assert buffer.size == 0


def test_clearing_forgets_datagrams_and_bytes() -> None:
    """An aborted transport has nothing left to send."""
    buffer = WriteBuffer()
    buffer.append(b"12345", None)

    buffer.clear()

    assert (len(buffer), buffer.size, left(buffer)) == (0, 0, [])


def test_clearing_forgets_what_is_out_as_well() -> None:
    """What is added afterwards is the first again."""
    buffer = WriteBuffer()
    for data in (b"1", b"2", b"3"):
        buffer.append(data, None)
    buffer.remove(2)

    buffer.clear()
    buffer.append(b"4", None)

    assert (len(buffer), left(buffer)) == (1, [(b"4", None)])


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


def test_a_buffer_that_never_runs_empty_forgets_what_is_out() -> None:
    """It keeps no more than twice of what waits, however much has passed through."""
    buffer = WriteBuffer()
    for _ in range(10):
        buffer.append(b"payload", None)

    longest = 0
    for _ in range(1000):
        buffer.append(b"payload", None)
        buffer.remove(1)
        longest = max(longest, len(buffer.waiting))

    assert (len(buffer), buffer.size) == (10, 10 * (7 + HEADER_SIZE))
    assert longest <= 21
