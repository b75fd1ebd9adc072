"""The tables of translated addresses: each once, and never too many."""

from __future__ import annotations

from socket import AF_INET, AF_INET6
from typing import Any, Final, NamedTuple

import pytest

from aioudp._system import addresses
from aioudp._system.addresses import MAX_KNOWN, Destinations, Sources, destinations

UNIX: Final = 1  # AF_UNIX, also where the system has no such sockets


def test_a_destination_is_translated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time it costs a look into a dictionary."""
    table = Destinations(AF_INET6, dual_stack=True)
    first = table["192.0.2.1", 53]
    monkeypatch.delattr(addresses, "socket_address")

    assert table["192.0.2.1", 53] is first


def test_a_destination_is_translated_for_the_kind_of_socket() -> None:
    """The table knows the family, and whether IPv4 has to be mapped."""
    address = "192.0.2.1", 53

    assert Destinations(AF_INET, dual_stack=False)[address] == address
    assert Destinations(AF_INET6, dual_stack=True)[address] == (
        "::ffff:192.0.2.1",
        53,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("address", "family"),
    [
        (("192.0.2.1", 53), AF_INET),
        (("2001:db8::1", 53, 0, 0), AF_INET6),
        (("2001:db8::1", 53, 5, 7), AF_INET6),
    ],
)
def test_a_destination_that_needs_no_translation_is_the_callers_own(
    address: Any, family: int
) -> None:
    """Whoever compares by identity knows it at a glance."""
    assert Destinations(family, dual_stack=False)[address] is address


def test_a_destination_of_a_class_of_its_own_is_translated() -> None:
    """What the socket gets is a plain tuple, whatever the caller made of it."""

    class Peer(NamedTuple):
        host: str
        port: int

    known = Destinations(AF_INET, dual_stack=False)[Peer("192.0.2.1", 53)]

    assert (type(known), known) == (tuple, ("192.0.2.1", 53))


def test_a_refused_destination_is_not_remembered() -> None:
    """Wrong addresses take no memory."""
    table = Destinations(AF_INET, dual_stack=False)

    with pytest.raises(ValueError, match="numeric"):
        table["localhost", 53]
    assert len(table) == 0


def test_a_zone_is_asked_for_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface may go away and come back under another index."""
    table = Destinations(AF_INET6, dual_stack=False)
    indices = iter([3, 4])
    monkeypatch.setattr(addresses, "if_nametoindex", lambda _: next(indices))

    taken = [table["fe80::1%eth0", 53] for _ in range(2)]

    assert taken == [("fe80::1", 53, 0, 3), ("fe80::1", 53, 0, 4)]


def test_a_zone_is_never_remembered() -> None:
    """Nor is one that is written as a number."""
    table = Destinations(AF_INET6, dual_stack=False)

    table["fe80::1%3", 53]

    assert len(table) == 0


def test_a_path_is_not_remembered() -> None:
    """It needs no translation."""
    table = Destinations(UNIX, dual_stack=False)

    assert (table["/run/socket"], len(table)) == ("/run/socket", 0)


def test_destinations_are_bounded() -> None:
    """However many peers there are, the table never holds more than its limit."""
    table = Destinations(AF_INET, dual_stack=False)
    sizes = set()

    for port in range(1, MAX_KNOWN + 3):
        table["192.0.2.1", port]
        sizes.add(len(table))

    assert max(sizes) == MAX_KNOWN


def test_a_full_table_of_destinations_still_translates() -> None:
    """What was forgotten is translated again."""
    table = Destinations(AF_INET, dual_stack=False)
    for port in range(1, MAX_KNOWN + 2):
        table["192.0.2.1", port]

    assert table["192.0.2.1", 1] == ("192.0.2.1", 1)


@pytest.mark.parametrize("address", [["192.0.2.1", 53], (["192.0.2.1"], 53), {}])
def test_an_unhashable_destination_is_a_type_error(address: Any) -> None:
    """It cannot be looked up, and the check says that it is no address."""
    table = Destinations(AF_INET, dual_stack=False)

    with pytest.raises(TypeError, match="unhashable"):
        table[address]
    with pytest.raises(TypeError, match="address"):
        table.__missing__(address)


def test_sockets_of_a_kind_share_their_table() -> None:
    """Ten thousand endpoints do not keep ten thousand copies."""
    assert destinations(AF_INET, dual_stack=False) is destinations(
        AF_INET, dual_stack=False
    )


def test_sockets_of_different_kinds_do_not() -> None:
    """The translation differs."""
    tables = [
        destinations(AF_INET, dual_stack=False),
        destinations(AF_INET6, dual_stack=False),
        destinations(AF_INET6, dual_stack=True),
    ]

    assert len({id(table) for table in tables}) == 3


def test_a_source_is_translated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second datagram of a peer costs a look into a dictionary."""
    table = Sources()
    first = table["::ffff:192.0.2.1", 53, 0, 0]
    monkeypatch.delattr(addresses, "public_address")

    assert first == ("192.0.2.1", 53)
    assert table["::ffff:192.0.2.1", 53, 0, 0] is first


def test_sources_are_bounded() -> None:
    """A flood of spoofed senders does not fill the memory."""
    table = Sources()
    sizes = set()

    for port in range(1, MAX_KNOWN + 3):
        table["::1", port, 0, 0]
        sizes.add(len(table))

    assert max(sizes) == MAX_KNOWN
