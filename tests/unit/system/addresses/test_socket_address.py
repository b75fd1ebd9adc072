"""The form of an address that a socket takes, and what is no address."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, Final

import pytest

from aioudp._system.addresses import host_and_port, socket_address, unix_path

UNIX: Final = 1  # AF_UNIX, also where the system has no such sockets
INTERFACE: Final = socket.if_nameindex()[0]  # whichever comes first


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


def test_port_0_can_be_allowed() -> None:
    """Binding to it asks the system to choose."""
    taken = socket_address(("192.0.2.1", 0), AF_INET, any_port=True)

    assert taken == ("192.0.2.1", 0)


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
    with pytest.raises(TypeError, match="must be a path: ") as caught:
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
