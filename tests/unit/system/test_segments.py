"""Trains: cutting them up, and finding what can be sent as one."""

from __future__ import annotations

from typing import Final

import pytest

from aioudp._system.segments import (
    MAX_TRAIN_BYTES,
    cut_off,
    run_end,
    split_train,
    train_length,
)
from aioudp._types import Datagram, Message, Received

HERE: Final = ("192.0.2.1", 1)
THERE: Final = ("192.0.2.2", 2)


@pytest.mark.parametrize(
    ("train", "segment_size", "datagrams"),
    [
        (b"aabbcc", 2, [b"aa", b"bb", b"cc"]),
        (b"aabbc", 2, [b"aa", b"bb", b"c"]),
        (b"abc", 1, [b"a", b"b", b"c"]),
        (b"abc", 3, [b"abc"]),
        (b"abc", 4, [b"abc"]),
        (b"abc", 65535, [b"abc"]),
        (b"", 1000, []),
        (bytes(2500), 1000, [bytes(1000), bytes(1000), bytes(500)]),
        (bytes(65535), 1472, [bytes(1472)] * 44 + [bytes(767)]),
    ],
)
def test_a_train_is_cut_every_segment_size_bytes(
    train: bytes, segment_size: int, datagrams: list[bytes]
) -> None:
    """All the datagrams have the segment size, but for a shorter one at the end."""
    assert split_train(train, segment_size) == datagrams


def test_a_train_is_cut_into_bytes() -> None:
    """The pieces own their memory, so they outlive the buffer they were cut from."""
    assert {type(piece) for piece in split_train(b"aab", 2)} == {bytes}


def test_the_limit_leaves_room_for_the_headers() -> None:
    """Ethernet, IPv6 and UDP headers and the longest train make 64 KiB together."""
    assert MAX_TRAIN_BYTES + 14 + 40 + 8 == 65536


@pytest.mark.parametrize(
    ("segment_size", "max_segments", "length"),
    [
        (64, 128, 64 * 128),  # as many as the kernel takes
        (64, 64, 64 * 64),
        (1, 128, 128),
        (1472, 128, 1472 * 44),  # as many as are within 64 KiB
        (MAX_TRAIN_BYTES // 2, 128, MAX_TRAIN_BYTES // 2 * 2),
        (MAX_TRAIN_BYTES // 2 + 1, 128, MAX_TRAIN_BYTES // 2 + 1),
        (MAX_TRAIN_BYTES, 128, MAX_TRAIN_BYTES),
        (MAX_TRAIN_BYTES + 1, 128, MAX_TRAIN_BYTES + 1),  # goes alone
        (65507, 128, 65507),
        (1200, 1, 1200),  # without offload everything goes alone
    ],
)
def test_a_train_keeps_both_limits(
    segment_size: int, max_segments: int, length: int
) -> None:
    """It has no more datagrams than the kernel takes, and no more bytes than 64 KiB."""
    assert train_length(segment_size, max_segments) == length


@pytest.mark.parametrize(
    ("sizes", "end"),
    [
        pytest.param([5], 1, id="the only one"),
        pytest.param([5, 5, 5], 3, id="equal sizes"),
        pytest.param([5, 5, 3], 3, id="a shorter one ends it"),
        pytest.param([5, 3, 3], 2, id="nothing follows a shorter one"),
        pytest.param([5, 3, 5], 2, id="nothing follows a shorter one, even if equal"),
        pytest.param([5, 6], 1, id="a longer one begins the next"),
        pytest.param([5, 5, 6], 2, id="a longer one begins the next, after two"),
        pytest.param([5, 0, 5], 1, id="an empty one is not part of it"),
        pytest.param([0, 0], 1, id="empty ones go alone"),
        pytest.param([0, 5], 1, id="an empty one goes alone, whatever follows"),
    ],
)
def test_a_run_is_what_one_train_can_carry(sizes: list[int], end: int) -> None:
    """Equal sizes, of which the last may be shorter; never an empty datagram."""
    datagrams = [(bytes(size), HERE) for size in sizes]

    assert run_end(datagrams, 0, 128) == end


def test_a_run_ends_where_the_peer_changes() -> None:
    """One train goes to one peer."""
    datagrams = [(b"a", HERE), (b"a", HERE), (b"a", THERE), (b"a", HERE)]

    assert run_end(datagrams, 0, 128) == 2


def test_a_run_starts_at_an_index() -> None:
    """What stands before the start is looked at no more."""
    datagrams = [(b"a", HERE), (b"bb", THERE), (b"bb", THERE), (b"c", HERE)]

    assert run_end(datagrams, 1, 128) == 3


def test_a_run_to_the_connected_peer_has_no_address() -> None:
    """``None`` is a peer like any other."""
    assert run_end([(b"a", None), (b"a", None), (b"a", HERE)], 0, 128) == 2


def test_equal_addresses_are_one_peer() -> None:
    """Two tuples with the same host and port need not be the same object."""
    datagrams: list[tuple[bytes, object]] = [
        (b"a", (host, 1)) for host in ("192.0.2.1", "192.0.2." + "1")
    ]

    assert run_end(datagrams, 0, 128) == 2


@pytest.mark.parametrize(
    ("size", "max_segments", "end"),
    [
        (10, 128, 128),
        (10, 64, 64),
        (1472, 128, 44),
        (40000, 128, 1),
        (10, 1, 1),
    ],
)
def test_a_run_keeps_the_limits_of_a_train(
    size: int, max_segments: int, end: int
) -> None:
    """It is cut off where a train is full, by number or by bytes."""
    assert run_end([(bytes(size), HERE)] * 200, 0, max_segments) == end


# -- what is too long


def test_only_what_is_too_long_is_cut_off() -> None:
    """The others stay what they are; of a message everything else is kept."""
    addr = ("192.0.2.1", 9)
    kept: list[Received] = [Datagram(b"12345", addr), Message(b"", addr, tos=1)]
    long: list[Received] = [
        Datagram(b"123456", addr),
        Message(b"1234567", addr, tos=2),
    ]

    items, truncated = cut_off([kept[0], long[0], kept[1], long[1]], 5)

    assert truncated == 2
    assert items[0] is kept[0]
    assert items[2] is kept[1]
    assert items[1] == Message(b"12345", addr, truncated=True, full_length=6)
    assert items[3] == Message(b"12345", addr, tos=2, truncated=True, full_length=7)
    assert cut_off([], 1) == ([], 0)
