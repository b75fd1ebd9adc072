"""The form of an address that callers read, and questions about addresses."""

from __future__ import annotations

import socket
from pathlib import Path
from socket import AF_INET6
from typing import Any

import pytest

from aioudp._system.addresses import (
    host_and_port,
    is_path,
    numeric_family,
    public_address,
)
from aioudp._types import Address

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
def test_names_are_distinguished_from_numeric_hosts(host: str) -> None:
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
def test_paths_differ_from_other_addresses(addr: object, answer: bool) -> None:
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
