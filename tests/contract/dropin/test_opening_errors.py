"""Opening: what is refused, with the error of the loop's own method."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ..support import descriptors, needs_ipv6, plain_socket
from .support import Opener

LOOPBACK = "127.0.0.1"


@pytest.fixture
def bound(host: str) -> Iterator[socket.socket]:
    """Return a bound socket to hand over; closed at the end, if it still is ours."""
    with plain_socket(host) as sock:
        yield sock


WRONG: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "nothing": ({}, ValueError),
    "no addresses but falsy ones": ({"local_addr": None, "proto": 17}, ValueError),
    "a str": ({"local_addr": LOOPBACK}, TypeError),
    "a host alone": ({"local_addr": (LOOPBACK,)}, TypeError),
    "three parts": ({"local_addr": (LOOPBACK, 0, 0)}, TypeError),
    "four parts": ({"local_addr": ("::1", 0, 0, 0)}, TypeError),
    "an int": ({"local_addr": 9999}, TypeError),
    "a remote str": ({"remote_addr": LOOPBACK}, TypeError),
    "a remote host alone": ({"remote_addr": (LOOPBACK,)}, TypeError),
    "a foreign address": ({"local_addr": ("192.0.2.1", 0)}, OSError),
    "a remote broadcast address": ({"remote_addr": ("255.255.255.255", 9)}, OSError),
    "no such interface": ({"local_addr": ("fe80::1%no-such-0", 0)}, OSError),
    "another family": (
        {"local_addr": (LOOPBACK, 0), "family": socket.AF_INET6},
        socket.gaierror,
    ),
    "no such port": ({"local_addr": (LOOPBACK, "no such service")}, socket.gaierror),
}


@pytest.mark.parametrize("case", WRONG)
async def test_error(opener: Opener, case: str) -> None:
    """Each mistake has its type of error, and leaves nothing open."""
    options, error = WRONG[case]
    if error is OSError:
        opener.leaves_out(
            "uvloop", because="it leaves the socket to the garbage collector"
        )
    before = descriptors()

    with pytest.raises(error):
        await opener.open(**options)
    assert descriptors() == before


async def test_families_of_the_addresses_differ(opener: Opener) -> None:
    """No socket can have both: a ValueError."""
    opener.leaves_out("uvloop", because="it is an OSError there")
    before = descriptors()

    with pytest.raises(ValueError):
        await opener.open(local_addr=(LOOPBACK, 0), remote_addr=("::1", 9))
    assert descriptors() == before


async def test_port_out_of_range(opener: Opener) -> None:
    """It is the OverflowError that binding raises; nothing is left open."""
    opener.leaves_out("uvloop", because="it takes the port modulo 65536")
    before = descriptors()

    with pytest.raises(OverflowError):
        await opener.open(local_addr=(LOOPBACK, 70000))
    assert descriptors() == before


@pytest.mark.parametrize(
    "option",
    [
        {"local_addr": (LOOPBACK, 0)},
        {"remote_addr": (LOOPBACK, 9)},
        {"family": socket.AF_INET},
        {"proto": socket.IPPROTO_UDP},
        {"flags": socket.AI_PASSIVE},
        {"reuse_port": True},
        {"allow_broadcast": True},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_sock_and_an_option(opener: Opener, option: dict[str, Any]) -> None:
    """The socket has decided it: a ValueError, and the socket stays the caller's."""
    with plain_socket(LOOPBACK) as sock:
        with pytest.raises(ValueError, match=next(iter(option))):
            await opener.open(sock=sock, **option)
        assert sock.getsockname()[1]


async def test_sock_and_falsy_options(opener: Opener, bound: socket.socket) -> None:
    """What says nothing is no contradiction."""
    transport, _ = await opener.open(
        sock=bound, local_addr=None, family=0, reuse_port=False, allow_broadcast=False
    )

    assert transport.get_extra_info("sockname") == bound.getsockname()


async def test_stream_sock(opener: Opener) -> None:
    """It is a ValueError, and the socket stays the caller's."""
    with socket.socket() as sock:
        with pytest.raises(ValueError):
            await opener.open(sock=sock)
        assert sock.fileno() >= 0


async def test_factory_that_raises(opener: Opener, host: str) -> None:
    """Its error comes out, and nothing is left open."""
    opener.leaves_out(because="it leaves the socket to the garbage collector")
    before = descriptors()

    def factory() -> Any:
        raise LookupError("no protocol today")

    with pytest.raises(LookupError):
        await opener.open(factory, local_addr=(host, 0))
    assert descriptors() == before


async def test_factory_that_raises_with_a_sock(
    opener: Opener, bound: socket.socket, peer: socket.socket
) -> None:
    """The socket is still the caller's, and works."""
    opener.leaves_out("uvloop", because="it has taken the socket by then")

    def factory() -> Any:
        raise LookupError("no protocol today")

    with pytest.raises(LookupError):
        await opener.open(factory, sock=bound)
    bound.sendto(b"still open", peer.getsockname())
    assert peer.recv(100) == b"still open"


async def test_cancelled_while_it_looks_up(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at once, and nothing is left open."""
    opener.leaves_out("uvloop", because="it never calls the public getaddrinfo")
    looking_up = asyncio.Event()

    async def hang(*args: Any, **kwargs: Any) -> Any:
        looking_up.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    before = descriptors()
    opening = asyncio.ensure_future(
        opener.open(local_addr=(LOOPBACK, 0), remote_addr=("peer.example", 9))
    )
    await looking_up.wait()

    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    assert descriptors() == before


async def test_look_up_that_finds_nothing(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an OSError."""
    opener.leaves_out("uvloop", because="it never calls the public getaddrinfo")

    async def nothing(*args: Any, **kwargs: Any) -> list[Any]:
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)

    with pytest.raises(OSError):
        await opener.open(remote_addr=("peer.example", 9))


@needs_ipv6
async def test_second_family_of_a_name(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first address of a name cannot be bound, the next one is tried."""
    opener.leaves_out("uvloop", because="it never calls the public getaddrinfo")

    async def both(*args: Any, **kwargs: Any) -> list[Any]:
        udp = socket.SOCK_DGRAM, socket.IPPROTO_UDP, ""
        return [
            (socket.AF_INET, *udp, ("192.0.2.1", 0)),
            (socket.AF_INET6, *udp, ("::1", 0, 0, 0)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)

    transport, _ = await opener.open(local_addr=("both.example", 0))

    assert transport.get_extra_info("sockname")[0] == "::1"


async def test_sock_that_is_taken(
    ours: Opener, bound: socket.socket, peer: socket.socket
) -> None:
    """The first transport on it goes on. The loops' own methods would make it deaf."""
    _, protocol = await ours.open(sock=bound)

    with pytest.raises(ValueError, match="already"):
        await ours.open(sock=bound)

    peer.sendto(b"payload", bound.getsockname())
    assert await protocol.received(1) == [b"payload"]
