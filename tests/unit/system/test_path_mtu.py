"""The path MTU: which option each system is given, and what a refusal says."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any, Final

import pytest

from aioudp._system import path_mtu
from aioudp._system.path_mtu import advice_on, forbid_fragments

MTU_ADVICE: Final = "; the path MTU is 1500 bytes, headers included"
IPV4_ADVICE: Final = "; over IPv4, a datagram carries at most 65507 bytes"
IPV6_ADVICE: Final = "; over IPv6, a datagram carries at most 65527 bytes"
TOO_LONG: Final = OSError(errno.EMSGSIZE, "Message too long")


class FakeSocket:
    """A socket that notes its options. *dual_stack*: it serves IPv4 as well."""

    def __init__(self, family: int, *, dual_stack: bool = False) -> None:
        self.family = family
        self.dual_stack = dual_stack
        self.set: list[tuple[int, int, int]] = []

    def setsockopt(self, *option: int) -> None:
        self.set.append((option[0], option[1], option[2]))

    def getsockopt(self, level: int, option: int) -> int:
        assert option == socket.IPV6_V6ONLY
        return not self.dual_stack

    def getsockname(self) -> Any:
        return ("::", 1, 0, 0)


# The values of each system's headers: level 0 is IP, 41 is IPv6.
@pytest.mark.parametrize(
    ("platform", "ipv4", "ipv6"),
    [
        ("linux", (0, 10, 2), (41, 23, 2)),
        ("darwin", (0, 28, 1), (41, 62, 1)),
        ("win32", (0, 14, 1), (41, 14, 1)),
    ],
)
def test_the_option_of_each_system(
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    ipv4: tuple[int, int, int],
    ipv6: tuple[int, int, int],
) -> None:
    """On a socket that serves both IP versions, both."""
    monkeypatch.setattr(sys, "platform", platform)
    only_ipv4: Any = FakeSocket(socket.AF_INET)
    only_ipv6: Any = FakeSocket(socket.AF_INET6)
    both: Any = FakeSocket(socket.AF_INET6, dual_stack=True)

    for sock in (only_ipv4, only_ipv6, both):
        forbid_fragments(sock)

    assert only_ipv4.set == [ipv4]
    assert only_ipv6.set == [ipv6]
    assert both.set == [ipv6, ipv4]


@pytest.mark.parametrize(
    ("size", "peer", "advice"),
    [
        (65507, ("192.0.2.1", 9), MTU_ADVICE),
        (65508, ("192.0.2.1", 9), IPV4_ADVICE),
        (65507, ("::ffff:192.0.2.1", 9, 0, 0), MTU_ADVICE),
        (65508, ("::ffff:192.0.2.1", 9, 0, 0), IPV4_ADVICE),
        (65527, ("2001:db8::1", 9, 0, 0), MTU_ADVICE),
        (65528, ("2001:db8::1", 9, 0, 0), IPV6_ADVICE),
        (1473, None, ""),
    ],
)
def test_the_limit_that_was_exceeded_is_named(
    monkeypatch: pytest.MonkeyPatch, size: int, peer: Any, advice: str
) -> None:
    """What is longer than any datagram does not fit any path."""
    monkeypatch.setattr(path_mtu, "known_mtu", lambda sock, peer: 1500)
    sock: Any = FakeSocket(socket.AF_INET6)

    assert advice_on(sock, TOO_LONG, size, peer) == advice


@pytest.mark.parametrize("error", [OSError(errno.ENETUNREACH, "no way"), None])
def test_an_mtu_that_is_unknown_is_not_named(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    """The refusal is raised anyway."""

    def known_mtu(sock: object, peer: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(path_mtu, "known_mtu", known_mtu)
    sock: Any = FakeSocket(socket.AF_INET)

    assert advice_on(sock, TOO_LONG, 1473, ("192.0.2.1", 9)) == ""


def test_other_errors_have_nothing_to_do_with_it() -> None:
    """Nothing is asked, nothing is said."""
    sock: Any = FakeSocket(socket.AF_INET)
    refused = OSError(errno.EACCES, "Permission denied")

    assert advice_on(sock, refused, 1473, ("192.0.2.1", 9)) == ""


@pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: other systems lack it"
)
def test_a_connected_socket_that_has_lost_its_route() -> None:
    """The way is looked up anew, as the next send would do."""

    class Lost(FakeSocket):
        def getsockopt(self, level: int, option: int) -> int:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

        def getsockname(self) -> Any:
            return ("127.0.0.1", 1)

        def getpeername(self) -> Any:
            return ("127.0.0.1", 9)

    lost: Any = Lost(socket.AF_INET)

    assert (path_mtu.known_mtu(lost, None) or 0) >= 1280
