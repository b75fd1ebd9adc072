"""Trains: cutting them up, and finding what can be sent as one."""

from __future__ import annotations

from typing import Final

from aioudp._system.segments import (
    MAX_TRAIN_BYTES,
    cut_off,
    run_end,
    split_train,
)
from aioudp._types import Datagram, Message, Received

HERE: Final = ("192.0.2.1", 1)
THERE: Final = ("192.0.2.2", 2)


def test_a_train_is_cut_into_bytes() -> None:
    """The pieces own their memory, so they outlive the buffer they were cut from."""
    assert {type(piece) for piece in split_train(b"aab", 2)} == {bytes}


def test_the_limit_leaves_room_for_the_headers() -> None:
    """Ethernet, IPv6 and UDP headers and the longest train make 64 KiB together."""
    assert MAX_TRAIN_BYTES + 14 + 40 + 8 == 65536


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
