"""A fuzz target: addresses as text, from command lines and settings.

Text is an address or a ``ValueError``; an address formatted and parsed is itself; and
what is made of it for the system fits into the system's fields.
"""

from __future__ import annotations

import random
from socket import AF_INET6

from aioudp._system import addresses
from tests.fuzz import driver

TEXTS = (
    *("192.0.2.1:9", "[2001:db8::1]:9", "[fe80::1%3]:9", ":9", "9", "host.example:9"),
    *("unix:/run/a.sock", "unix:a", "unix:@abstract", "[::ffff:192.0.2.1]:9"),
    *("[fe80::1%lo]:9", "[fe80::1%99999999999999999999]:9", "[]:9", "unix:"),
    *("[unix]:9", "[[a]:9", "[::1]:65536", "192.0.2.1:99999"),
)


def test_one_input(data: bytes) -> None:
    """Parse it as UTF-8 text, and look at what comes out."""
    text = data.decode(errors="surrogateescape")
    try:
        addr = addresses.parse_address(text)
    except ValueError:
        return
    assert addresses.parse_address(addresses.format_address(addr)) == addr
    if isinstance(addr, tuple):
        assert 0 <= addr[1] <= 0xFFFF
        try:
            raw = addresses.socket_address(addr, AF_INET6, dual_stack=True)
        except (TypeError, ValueError):
            return
        assert isinstance(raw, tuple)
        assert len(raw) == 2 or 0 <= raw[3] < 2**32, raw


def mutated(rng: random.Random) -> bytes:
    """Return an address that is right but for a little."""
    return driver.damaged(rng, rng.choice(TEXTS).encode())


if __name__ == "__main__":
    driver.main(test_one_input, mutated, addresses)
