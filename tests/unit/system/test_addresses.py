"""Addresses: their checks, their translations, their text."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, Final, NamedTuple

import pytest

from aioudp._system import addresses
from aioudp._system.addresses import (
    MAX_KNOWN,
    Destinations,
    Sources,
    destinations,
    format_address,
    host_and_port,
    is_path,
    numeric_family,
    parse_address,
    public_address,
    socket_address,
    unix_path,
)
from aioudp._types import Address

UNIX: Final = 1  # AF_UNIX, also where the system has no such sockets
INTERFACE: Final = socket.if_nameindex()[0]  # whichever comes first


# -- text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:53", ("192.0.2.1", 53)),
        ("example.org:53", ("example.org", 53)),
        ("localhost:0", ("localhost", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("localhost:00053", ("localhost", 53)),
        ("[2001:db8::1]:53", ("2001:db8::1", 53)),
        ("[::]:0", ("::", 0)),
        ("[fe80::1%eth0]:53", ("fe80::1%eth0", 53)),
        ("[fe80::1%3]:53", ("fe80::1%3", 53)),
        (":53", ("", 53)),
        ("53", ("", 53)),
        ("unix:/run/some socket", "/run/some socket"),
        ("unix:relative:53", "./relative:53"),
        (f"unix:{chr(0)}name", "\0name"),
    ],
)
def test_text_is_read_as_an_address(text: str, address: Address) -> None:
    """Names and zones are kept as they are written; nothing is looked up."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "example.org:",
        "example.org:http",
        "example.org:-1",
        "example.org:+53",
        "example.org:5 3",
        "example.org:65536",
        "example.org:99999999999999999999",
        "example.org:\u0665\u0663",  # 53, but in Arabic-Indic digits
        "[::1]",
        "[::1]53",
        "[::1:53",
        "::1]:53",
        "2001:db8::1:53",
        "unix:",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    """No port is guessed, and no service name looked up."""
    with pytest.raises(ValueError, match=r"port|path"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":53", ("127.0.0.1", 53)),
        ("53", ("127.0.0.1", 53)),
        ("192.0.2.1:53", ("192.0.2.1", 53)),
    ],
)
def test_the_default_host_stands_in_for_a_missing_one(
    text: str, address: Address
) -> None:
    """A host that is written wins."""
    assert parse_address(text, default_host="127.0.0.1") == address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 53), "192.0.2.1:53"),
        (("example.org", 53), "example.org:53"),
        (("", 53), ":53"),
        (("2001:db8::1", 53), "[2001:db8::1]:53"),
        (("2001:db8::1", 53, 0, 0), "[2001:db8::1]:53"),
        (("2001:db8::1", 53, 9, 0), "[2001:db8::1]:53"),
        (("fe80::1", 53, 0, 3), "[fe80::1%3]:53"),
        (("fe80::1%eth0", 53), "[fe80::1%eth0]:53"),
        (("fe80::1%eth0", 53, 0, 3), "[fe80::1%eth0]:53"),
        ("/run/some socket", "unix:/run/some socket"),
        (b"/run/socket", "unix:/run/socket"),
        (b"\0name", "unix:\0name"),
        ("", "unix:"),
    ],
)
def test_an_address_is_written_as_text(address: Address, text: str) -> None:
    """IPv6 stands in brackets, with its zone; a path follows ``unix:``."""
    assert format_address(address) == text


# -- what a socket takes


@pytest.mark.parametrize(
    ("address", "family", "dual_stack", "taken"),
    [
        (("192.0.2.1", 53), AF_INET, False, ("192.0.2.1", 53)),
        (("192.0.2.1", 65535), AF_INET, False, ("192.0.2.1", 65535)),
        (("::ffff:192.0.2.1", 53), AF_INET, False, ("192.0.2.1", 53)),
        (("::FFFF:c000:201", 53, 0, 0), AF_INET, False, ("192.0.2.1", 53)),
        (("<broadcast>", 53), AF_INET, False, ("255.255.255.255", 53)),
        (("2001:db8::1", 53), AF_INET6, False, ("2001:db8::1", 53, 0, 0)),
        (("2001:DB8:0:0::1", 53), AF_INET6, False, ("2001:db8::1", 53, 0, 0)),
        (("2001:db8::1", 53, 7, 9), AF_INET6, False, ("2001:db8::1", 53, 7, 9)),
        (("fe80::1%3", 53), AF_INET6, False, ("fe80::1", 53, 0, 3)),
        (("fe80::1%3", 53, 0, 9), AF_INET6, False, ("fe80::1", 53, 0, 3)),
        (("fe80::1%", 53, 0, 9), AF_INET6, False, ("fe80::1", 53, 0, 9)),
        (("fe80::1", 53, 0xFFFFF, 0xFFFFFFFF), AF_INET6, False, None),
        (("2001:db8::1", 53), AF_INET6, True, ("2001:db8::1", 53, 0, 0)),
        (("192.0.2.1", 53), AF_INET6, True, ("::ffff:192.0.2.1", 53, 0, 0)),
        (("::ffff:192.0.2.1", 53), AF_INET6, True, ("::ffff:192.0.2.1", 53, 0, 0)),
        (("<broadcast>", 53), AF_INET6, True, ("::ffff:255.255.255.255", 53, 0, 0)),
        ("/run/socket", UNIX, False, "/run/socket"),
    ],
)
def test_an_address_is_translated_for_the_socket(
    address: Any, family: int, dual_stack: bool, taken: Any
) -> None:
    """One form for each peer: canonical, the zone an index, IPv4 mapped if need be."""
    expected = address if taken is None else taken

    assert socket_address(address, family, dual_stack=dual_stack) == expected


def test_a_zone_may_be_named() -> None:
    """The system knows the index of the interface."""
    index, name = INTERFACE

    taken = socket_address((f"fe80::1%{name}", 53), AF_INET6)

    assert taken == ("fe80::1", 53, 0, index)


@pytest.mark.parametrize(
    "address",
    [
        None,
        53,
        "192.0.2.1",
        b"192.0.2.1",
        ["192.0.2.1", 53],
        (),
        ("192.0.2.1",),
        ("192.0.2.1", 53, 0, 0, 0),
        (None, 53),
        (b"192.0.2.1", 53),
        (0xC0000201, 53),
        ("192.0.2.1", "53"),
        ("192.0.2.1", None),
        ("192.0.2.1", 53.0),
        ("2001:db8::1", 53, "0", 0),
        ("2001:db8::1", 53, 0, "eth0"),
    ],
)
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_what_is_no_address_is_refused(address: object, family: int) -> None:
    """The error shows what was given."""
    with pytest.raises(TypeError, match="address") as caught:
        socket_address(address, family, dual_stack=True)
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000, 2**31, 2**32 + 53, 2**64])
@pytest.mark.parametrize(
    ("host", "family"), [("192.0.2.1", AF_INET), ("2001:db8::1", AF_INET6)]
)
def test_a_port_out_of_range_is_refused(host: str, family: int, port: int) -> None:
    """It is never cut down to a port that happens to be legal."""
    with pytest.raises(ValueError, match=f"port must be from 1 to 65535: .*{port}"):
        socket_address((host, port), family)


def test_port_0_can_be_allowed() -> None:
    """Binding to it asks the system to choose."""
    taken = socket_address(("192.0.2.1", 0), AF_INET, any_port=True)

    assert taken == ("192.0.2.1", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_any_port_is_still_a_port(port: int) -> None:
    """Only 0 is added to what is allowed."""
    with pytest.raises(ValueError, match="port must be from 0 to 65535"):
        socket_address(("192.0.2.1", port), AF_INET, any_port=True)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((-1, 0), "flowinfo"),
        ((0x100000, 0), "flowinfo"),
        ((2**64, 0), "flowinfo"),
        ((0, -1), "scope_id"),
        ((0, 2**32), "scope_id"),
        ((0, 2**64), "scope_id"),
    ],
)
def test_flowinfo_and_scope_out_of_range_are_refused(
    numbers: tuple[int, int], name: str
) -> None:
    """The error names which of the two."""
    with pytest.raises(ValueError, match=name):
        socket_address(("fe80::1", 53, *numbers), AF_INET6)


@pytest.mark.parametrize("zone", [2**32, 2**32 + 1, 2**64])
def test_a_zone_out_of_range_is_refused(zone: int) -> None:
    """The socket module would cut it down to the index of another interface."""
    with pytest.raises(ValueError, match=r"scope_id|zone|interface"):
        socket_address((f"fe80::1%{zone}", 53), AF_INET6)


@pytest.mark.parametrize("zone", ["nosuch0", "-1", "\0", "\u0661"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    """No interface has that name."""
    with pytest.raises(ValueError, match=r"interface|null"):
        socket_address((f"fe80::1%{zone}", 53), AF_INET6)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "example.org",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1.1",
        "0xc0000201",
        "192.0.2.1%eth0",
        "192.0.2.1 ",
        "192.0.2.1\0",
        "2001:db8::1::",
        "[2001:db8::1]",
        "2001:db8::g",
        "\udcff",
        "m\xfcnchen.example",
        "<any>",
    ],
)
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_a_host_name_is_refused_and_pointed_to_resolve(host: str, family: int) -> None:
    """Nothing here looks a name up, so the error says what does."""
    with pytest.raises(ValueError, match=r"not a numeric address.*aioudp\.resolve"):
        socket_address((host, 53), family)


@pytest.mark.parametrize(
    ("host", "family", "message"),
    [
        ("2001:db8::1", AF_INET, "is IPv6, the endpoint is IPv4"),
        ("192.0.2.1", AF_INET6, "is IPv4, the endpoint is IPv6"),
        ("::ffff:192.0.2.1", AF_INET6, "is IPv4, the endpoint is IPv6"),
        ("<broadcast>", AF_INET6, "is IPv4, the endpoint is IPv6"),
    ],
)
def test_the_wrong_family_is_refused(host: str, family: int, message: str) -> None:
    """The error says which family is which, and nothing is looked up to convert it."""
    with pytest.raises(ValueError, match=f"family mismatch: .*{message}"):
        socket_address((host, 53), family)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/run/socket", "/run/socket"),
        (Path("/run/socket"), os.fspath(Path("/run/socket"))),
        (b"/run/socket", b"/run/socket"),
        (b"\0name", b"\0name"),
        ("\0name", "\0name"),
    ],
)
def test_a_unix_address_is_a_path(path: object, taken: str | bytes) -> None:
    """A path or an abstract name, as text or as bytes."""
    assert unix_path(path) == taken


@pytest.mark.parametrize("path", [None, 3, ("192.0.2.1", 53), ["/run/socket"]])
def test_what_is_no_path_is_refused(path: object) -> None:
    """The error says what is wanted and shows what was given."""
    with pytest.raises(TypeError, match="is a path: ") as caught:
        unix_path(path)
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", ["relative", b"relative", Path("relative:53")])
def test_a_peer_may_have_a_relative_path(path: Any) -> None:
    """The kernel reports it by that name, so it can be sent to."""
    assert unix_path(path) == os.fspath(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9999", ("127.0.0.1", 9999)),
        (b"127.0.0.1:9999", ("127.0.0.1", 9999)),
        ("example.org:53", ("example.org", 53)),
        ("[::1]:53", ("::1", 53)),
        ("[fe80::1%eth0]:53", ("fe80::1%eth0", 53)),
        (":53", ("", 53)),
    ],
)
def test_text_that_reads_like_an_ip_address(text: Any, address: Any) -> None:
    """It is refused everywhere, and the error shows the tuple."""
    for check in (
        unix_path,
        host_and_port,
        lambda addr: socket_address(addr, AF_INET),
    ):
        with pytest.raises(ValueError, match="is not an address") as caught:
            check(text)
        assert repr(text) in str(caught.value)
        assert repr(address) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("localhost", "('localhost', port)"),
        ("[::1]", "('::1', port)"),
        ("2001:db8::1", "('2001:db8::1', port)"),
        ("9999", "('', 9999)"),
        (b"\xff", "port)"),
        ("", "empty"),
        (b"", "empty"),
    ],
)
def test_text_is_no_address_to_bind_to(text: Any, shown: str) -> None:
    """It may mean a host, a port or a file; the error shows how each is written."""
    with pytest.raises(ValueError, match=re.escape(shown)):
        host_and_port(text)


@pytest.mark.parametrize("path", ["", b""])
def test_an_empty_path_is_refused(path: str | bytes) -> None:
    """It names nobody."""
    with pytest.raises(ValueError, match="empty"):
        unix_path(path)


# -- what callers read


@pytest.mark.parametrize(
    ("reported", "read"),
    [
        (("192.0.2.1", 53), ("192.0.2.1", 53)),
        (("2001:db8::1", 53, 0, 0), ("2001:db8::1", 53, 0, 0)),
        (("fe80::1", 53, 0, 3), ("fe80::1", 53, 0, 3)),
        (("::ffff:192.0.2.1", 53, 0, 0), ("192.0.2.1", 53)),
        (("::", 53, 0, 0), ("::", 53, 0, 0)),
        ("/run/socket", "/run/socket"),
        (b"\0name", b"\0name"),
        ("", ""),
        (None, ""),
    ],
)
def test_callers_read_plain_addresses(reported: Any, read: Address) -> None:
    """IPv4 as plain IPv4, and a peer without a name as the empty path."""
    assert public_address(reported) == read


@pytest.mark.parametrize(
    "host",
    [
        "::ffff:0:102:304",  # IPv4-translated (RFC 2765), a different prefix
        "::ffff:0:0:1",
        "::ffff:1:2:3:4",
    ],
)
def test_only_mapped_addresses_are_ipv4(host: str) -> None:
    """Other IPv6 addresses may begin with the same letters."""
    address = (host, 53, 0, 0)

    assert public_address(address) == address


# -- small questions


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("192.0.2.1", socket.AF_INET),
        ("::", socket.AF_INET6),
        ("2001:db8::1", socket.AF_INET6),
        ("::ffff:192.0.2.1", socket.AF_INET),
        ("fe80::1%1", socket.AF_INET6),
        ("<broadcast>", socket.AF_INET),
    ],
)
def test_numeric_hosts_have_a_family(host: str, family: int) -> None:
    """What inet_pton(3) reads is numeric; a mapped address stands for IPv4."""
    assert numeric_family(host) == family


@pytest.mark.parametrize("host", ["", "localhost", "192.0.2", "\0"])
def test_names_are_told_from_numeric_hosts(host: str) -> None:
    """They need a look-up, which will say what is wrong with them."""
    assert numeric_family(host) == 0


@pytest.mark.parametrize("host", ["fe80::1%nosuch0", "[::1]", "::g"])
def test_no_name_has_a_colon(host: str) -> None:
    """What has one is a mistaken address, and is not looked up."""
    assert numeric_family(host) == AF_INET6


@pytest.mark.parametrize(
    ("addr", "answer"),
    [
        ("/run/socket", True),
        (b"\0name", True),
        (Path("/run/socket"), True),
        (Path("relative"), True),
        ("./relative", True),
        ("\0name", True),
        ("relative", False),
        (b"relative", False),
        ("127.0.0.1:9999", False),
        ("", False),
        (("192.0.2.1", 53), False),
        (None, False),
        (3, False),
    ],
)
def test_paths_are_told_from_other_addresses(addr: object, answer: bool) -> None:
    """Text only by a slash, or by the zero byte of an abstract name."""
    assert is_path(addr) is answer


@pytest.mark.parametrize(
    ("addr", "parts"),
    [
        (("example.org", 53), ("example.org", 53)),
        (("", 0), ("", 0)),
        ((None, 53), ("", 53)),
        (("fe80::1", 53, 0, 3), ("fe80::1", 53)),
    ],
)
def test_a_host_may_be_a_name_before_the_look_up(
    addr: object, parts: tuple[str, int]
) -> None:
    """Only the shape is checked; ``None`` is every address, as ``""`` is."""
    assert host_and_port(addr) == parts


@pytest.mark.parametrize("addr", [None, (), ("example.org",), (3, 53), ["", 0]])
def test_the_shape_is_checked_before_the_look_up(addr: object) -> None:
    """What is no address is a TypeError at once."""
    with pytest.raises(TypeError, match="address"):
        host_and_port(addr)


@pytest.mark.parametrize("port", [-1, 65536, 2**64])
def test_the_port_is_checked_before_the_look_up(port: int) -> None:
    """The resolver would cut it down."""
    with pytest.raises(ValueError, match="port must be from 0 to 65535"):
        host_and_port(("example.org", port))


# -- the tables


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
