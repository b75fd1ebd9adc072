"""Addresses as text: what is read, what is refused, what is written."""

from __future__ import annotations

import pytest

from aioudp._system.addresses import format_address, parse_address
from aioudp._types import Address


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
