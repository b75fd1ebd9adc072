"""The outgoing interface of a broadcast on each system, and its addresses."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from aioudp._system import broadcasts
from aioudp._system.broadcasts import addresses_of, leaving_by, serves
from aioudp._system.interfaces import Interface


class FakeSocket:
    """Records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def setsockopt(self, *arguments: Any) -> None:
        self.calls.append(arguments)


@pytest.mark.parametrize(
    ("unicast_if", "bound_if", "expected"),
    [
        (50, None, [(50, b"\0\0\0\7"), (50, b"\0\0\0\0")]),  # Linux, big-endian
        (None, 25, [(25, 7), (25, 0)]),  # macOS
        (None, None, []),  # the other BSDs
    ],
)
def test_the_way_out_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, unicast_if: Any, bound_if: Any, expected: Any
) -> None:
    """Also after an error."""
    monkeypatch.setattr(broadcasts, "_IP_UNICAST_IF", unicast_if)
    monkeypatch.setattr(broadcasts, "_IP_BOUND_IF", bound_if)
    sock: Any = FakeSocket()

    with pytest.raises(ZeroDivisionError), leaving_by(sock, 7):
        raise ZeroDivisionError

    assert sock.calls == [(socket.IPPROTO_IP, *option) for option in expected]


def interface(
    *addresses: str, broadcast: tuple[str, ...] = (), flags: str = "up broadcast"
) -> Interface:
    return Interface("eth0", 2, addresses, broadcast, frozenset(flags.split()))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (interface("192.0.2.1", broadcast=("192.0.2.255",)), ["192.0.2.255"]),
        (interface("192.0.2.1", broadcast=("192.0.2.255",) * 2), ["192.0.2.255"]),
        (interface("192.0.2.1"), ["255.255.255.255"]),
        (interface(), ["255.255.255.255"]),
        (interface("::1", "127.0.0.1"), ["127.255.255.255"]),
        (interface("::1"), ["255.255.255.255"]),
    ],
)
def test_addresses(link: Interface, expected: list[str]) -> None:
    """Those of the networks, each once; else everybody's."""
    assert addresses_of(link) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (interface("192.0.2.1"), True),
        (interface("192.0.2.1", flags="up"), False),  # a tunnel
        (interface("192.0.2.1", flags="broadcast"), False),
        (interface("2001:db8::1"), False),
        (interface(), False),
    ],
)
def test_which_interfaces_serve(link: Interface, expected: bool) -> None:
    """Those that are up, know broadcast and have an IPv4 address."""
    assert serves(link) is expected
