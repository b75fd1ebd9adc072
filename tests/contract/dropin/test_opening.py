"""create_datagram_endpoint: its arguments, what it returns, and its errors."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp._system import sockets

from ..support import (
    AF_UNIX,
    descriptors,
    linux_only,
    needs_ipv6,
    plain_socket,
    unix_only,
)
from .support import Opener, Recorder, any_name

LOOPBACK = "127.0.0.1"


@pytest.fixture
def bound(host: str) -> Iterator[socket.socket]:
    """Return a bound socket to hand over; closed at the end, if it still is ours."""
    with plain_socket(host) as sock:
        yield sock


# -- the call


def test_signature() -> None:
    """Names, kinds and defaults of the parameters are those of asyncio's method."""
    method = asyncio.BaseEventLoop.create_datagram_endpoint
    _, *theirs = inspect.signature(method).parameters.values()
    ours = inspect.signature(aioudp.create_datagram_endpoint).parameters.values()

    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


async def test_result(opener: Opener, host: str) -> None:
    """A pair: an open transport, and what the factory returned."""
    mine = Recorder()

    transport, protocol = await opener.open(lambda: mine, local_addr=(host, 0))

    assert protocol is mine
    assert transport.get_protocol() is mine
    assert not transport.is_closing()


async def test_connection_made(opener: Opener, host: str) -> None:
    """It was called once, with the transport, before the call returns."""
    transport, protocol = await opener.open(local_addr=(host, 0))

    assert protocol.events == ["made"]
    assert protocol.transport is transport


async def test_positional_addresses(opener: Opener, peer: socket.socket) -> None:
    """The two addresses may be given by position, the rest by name only."""
    name = peer.getsockname()[:2]

    transport, _ = await opener.open(Recorder, (name[0], 0), name)

    assert transport.get_extra_info("peername")[:2] == name
    with pytest.raises(TypeError):
        await opener.open(Recorder, (name[0], 0), name, 0)


async def test_unknown_keyword(opener: Opener) -> None:
    """It is a TypeError."""
    with pytest.raises(TypeError):
        await opener.open(local_addr=(LOOPBACK, 0), reuse_addr=True)


async def test_what_the_transport_is(ours: Opener, host: str) -> None:
    """It is all that asyncio's is, an asyncio.Transport too, and no stream (D19)."""
    transport, _ = await ours.open(local_addr=(host, 0))

    assert isinstance(transport, asyncio.DatagramTransport)
    assert isinstance(transport, asyncio.Transport)
    with pytest.raises(NotImplementedError):
        transport.write(b"no stream")
    with pytest.raises(NotImplementedError):
        transport.can_write_eof()


# -- addresses


async def test_local_addr(opener: Opener, host: str) -> None:
    """The endpoint is bound to it; port 0 lets the system choose."""
    transport, _ = await opener.open(local_addr=(host, 0))

    name = transport.get_extra_info("sockname")
    assert name[0] == host
    assert name[1] > 0
    assert transport.get_extra_info("peername") is None


async def test_remote_addr(opener: Opener, peer: socket.socket) -> None:
    """The endpoint is connected: no address to send, and no third party is heard."""
    name = peer.getsockname()
    transport, protocol = await opener.open(remote_addr=name[:2])
    assert transport.get_extra_info("peername") == name
    mine = transport.get_extra_info("sockname")

    transport.sendto(b"question")
    assert peer.recvfrom(100) == (b"question", mine)
    with plain_socket(name[0]) as stranger:
        stranger.sendto(b"from a stranger", mine)
    peer.sendto(b"answer", mine)

    assert await protocol.received(1) == [b"answer"]


async def test_both_addresses(opener: Opener, peer: socket.socket) -> None:
    """Bound to the one, connected to the other."""
    name = peer.getsockname()

    transport, _ = await opener.open(
        local_addr=(name[0], 0), remote_addr=(name[0], name[1])
    )

    assert transport.get_extra_info("sockname")[0] == name[0]
    assert transport.get_extra_info("peername") == name


async def test_family_alone(opener: Opener, peer: socket.socket) -> None:
    """Nothing is bound until the first datagram goes out; answers come back."""
    transport, protocol = await opener.open(family=peer.family)

    transport.sendto(b"question", peer.getsockname())
    _, addr = peer.recvfrom(100)
    peer.sendto(b"answer", addr)

    assert await protocol.received(1) == [b"answer"]


async def test_family_of_a_name(opener: Opener, family: int, host: str) -> None:
    """It chooses among the addresses of a name."""
    transport, _ = await opener.open(local_addr=(host, 0), family=family)

    assert transport.get_extra_info("socket").family == family


async def test_host_name(opener: Opener) -> None:
    """It is looked up."""
    transport, _ = await opener.open(local_addr=("localhost", 0), family=socket.AF_INET)

    assert transport.get_extra_info("sockname")[0].startswith("127.")


@pytest.mark.parametrize("host", [None, "0.0.0.0"])
async def test_every_address(opener: Opener, host: str | None) -> None:
    """No host is every address, where AI_PASSIVE says so."""
    transport, _ = await opener.open(
        local_addr=(host, 0), family=socket.AF_INET, flags=socket.AI_PASSIVE
    )

    assert transport.get_extra_info("sockname")[0] == "0.0.0.0"


async def test_flags(opener: Opener) -> None:
    """They reach the look-up: this one forbids it."""
    with pytest.raises(socket.gaierror):
        await opener.open(local_addr=("localhost", 0), flags=socket.AI_NUMERICHOST)


async def test_proto(opener: Opener, host: str) -> None:
    """The protocol may be named."""
    transport, _ = await opener.open(local_addr=(host, 0), proto=socket.IPPROTO_UDP)

    assert transport.get_extra_info("sockname")[0] == host


async def test_what_is_numeric_is_not_looked_up(
    opener: Opener, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up takes a thread, and a resolver opens a socket for every question."""
    opener.leaves_out("uvloop", because="it never calls the public getaddrinfo")

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("it was looked up")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)

    transport, _ = await opener.open(local_addr=(host, 0), remote_addr=(host, 9))

    assert transport.get_extra_info("peername")[:2] == (host, 9)


# -- options


async def test_reuse_port(opener: Opener, host: str) -> None:
    """Two endpoints share a port if both ask for it."""
    first, _ = await opener.open(local_addr=(host, 0), reuse_port=True)
    addr = first.get_extra_info("sockname")[:2]

    second, _ = await opener.open(local_addr=addr, reuse_port=True)

    assert second.get_extra_info("sockname")[:2] == addr


async def test_no_reuse_port(opener: Opener, host: str) -> None:
    """Otherwise nobody shares."""
    opener.leaves_out("uvloop", because="it leaves the socket to the garbage collector")
    first, _ = await opener.open(local_addr=(host, 0))

    with pytest.raises(OSError) as caught:
        await opener.open(local_addr=first.get_extra_info("sockname")[:2])
    assert caught.value.errno == errno.EADDRINUSE


async def test_reuse_port_where_there_is_none(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a ValueError."""
    opener.leaves_out("uvloop", because="it asks when it is imported")
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    monkeypatch.setattr(sockets, "SO_REUSEPORT", None)

    with pytest.raises(ValueError):
        await opener.open(local_addr=(LOOPBACK, 0), reuse_port=True)


@pytest.mark.parametrize("allowed", [True, False])
async def test_allow_broadcast(opener: Opener, allowed: bool) -> None:
    """It is the socket's option."""
    transport, _ = await opener.open(
        local_addr=(LOOPBACK, 0), allow_broadcast=allowed or None
    )

    sock = transport.get_extra_info("socket")
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)) is allowed


async def test_broadcast_remote_addr(opener: Opener) -> None:
    """Sent to by default, but not connected: what answers has an address of its own."""
    opener.leaves_out("uvloop", because="it connects before it allows broadcasts")
    with plain_socket("0.0.0.0") as receiver:
        target = "127.255.255.255", receiver.getsockname()[1]
        transport, protocol = await opener.open(
            remote_addr=target, allow_broadcast=True
        )

        transport.sendto(b"who is there?")
        transport.sendto(b"who else?", target)
        assert receiver.recv(100) == b"who is there?"
        await asyncio.sleep(0)
        data, addr = receiver.recvfrom(100)
        receiver.sendto(b"I am", addr)

        assert data == b"who else?"
        assert await protocol.received(1) == [b"I am"]
        assert transport.get_extra_info("peername") is None
        with pytest.raises(ValueError):
            transport.sendto(b"elsewhere", receiver.getsockname())


# -- a socket of one's own


async def test_sock(opener: Opener, bound: socket.socket, peer: socket.socket) -> None:
    """A bound socket is used as it is, without blocking."""
    transport, protocol = await opener.open(sock=bound)
    peer.sendto(b"hello", bound.getsockname())

    assert await protocol.received(1) == [b"hello"]
    assert transport.get_extra_info("sockname") == bound.getsockname()
    assert transport.get_extra_info("socket").fileno() == bound.fileno()
    assert not bound.getblocking()


async def test_connected_sock(
    opener: Opener, bound: socket.socket, peer: socket.socket
) -> None:
    """Its peer needs no address."""
    bound.connect(peer.getsockname())
    transport, _ = await opener.open(sock=bound)

    transport.sendto(b"hello")

    assert peer.recv(100) == b"hello"
    assert transport.get_extra_info("peername") == peer.getsockname()


async def test_options_of_a_sock_stay(opener: Opener, bound: socket.socket) -> None:
    """Whoever made it has chosen its buffers, and whether it shares its port."""
    opener.leaves_out("uvloop", because="libuv sets SO_REUSEADDR")
    options = (socket.SO_RCVBUF, socket.SO_SNDBUF, socket.SO_REUSEADDR)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    before = [bound.getsockopt(socket.SOL_SOCKET, option) for option in options]

    await opener.open(sock=bound)

    after = [bound.getsockopt(socket.SOL_SOCKET, option) for option in options]
    assert after == before


async def test_default_buffers_of_a_sock_grow(ours: Opener) -> None:
    """Nobody has chosen them, and bursts need more room."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
        default = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    by_address, _ = await ours.open(local_addr=(LOOPBACK, 0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    transport, _ = await ours.open(sock=sock)

    sizes = [
        each.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        for each in (transport, by_address)
    ]
    assert sizes[0] == sizes[1] >= default


async def test_unbound_sock(opener: Opener, peer: socket.socket) -> None:
    """The first datagram that is sent binds it."""
    with socket.socket(peer.family, socket.SOCK_DGRAM) as sock:
        transport, protocol = await opener.open(sock=sock)

        transport.sendto(b"question", peer.getsockname())
        data, addr = peer.recvfrom(100)
        peer.sendto(b"answer", addr)

        assert data == b"question"
        assert await protocol.received(1) == [b"answer"]


# -- errors

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


# -- UNIX datagram sockets


@unix_only
async def test_unix_path(opener: Opener, tmp_path: Path) -> None:
    """A str is a path; what is bound there can be sent to."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    paths = str(tmp_path / "server"), str(tmp_path / "client")
    _, server = await opener.open(local_addr=paths[0], family=AF_UNIX)
    client, _ = await opener.open(
        local_addr=paths[1], remote_addr=paths[0], family=AF_UNIX
    )

    client.sendto(b"hello")

    await server.received(1)
    assert server.datagrams == [(b"hello", paths[1])]


@unix_only
async def test_unix_stale_socket(opener: Opener, tmp_path: Path) -> None:
    """A socket's file that was left behind is replaced; closing leaves ours behind."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    path = tmp_path / "server"
    for _ in range(2):
        transport, protocol = await opener.open(local_addr=str(path), family=AF_UNIX)
        transport.close()
        await protocol.lost()

        assert path.is_socket()


@unix_only
async def test_unix_path_of_a_file(opener: Opener, tmp_path: Path) -> None:
    """Anything else stays, and is in the way."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(OSError) as caught:
        await opener.open(local_addr=str(path), family=AF_UNIX)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


@linux_only
async def test_unix_abstract_name(opener: Opener) -> None:
    """A name that begins with a zero byte needs no file."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    name = any_name()
    _, server = await opener.open(local_addr=name, family=AF_UNIX)
    client, _ = await opener.open(remote_addr=name, family=AF_UNIX)

    client.sendto(b"hello")

    assert await server.received(1) == [b"hello"]


@unix_only
@pytest.mark.parametrize("addr", [b"path", Path("path"), ("host", 1)])
@pytest.mark.parametrize("end", ["local_addr", "remote_addr"])
async def test_unix_address_that_is_no_str(opener: Opener, end: str, addr: Any) -> None:
    """It is a TypeError."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")

    with pytest.raises(TypeError):
        await opener.open(family=AF_UNIX, **{end: addr})


@unix_only
async def test_unix_without_an_address(opener: Opener) -> None:
    """A family is enough; an empty path is no address."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")

    nothing: list[dict[str, Any]] = [{}, {"local_addr": "", "remote_addr": ""}]
    for options in nothing:
        transport, _ = await opener.open(family=AF_UNIX, **options)

        assert transport.get_extra_info("sockname") == ""


@unix_only
async def test_unix_sock(opener: Opener, tmp_path: Path) -> None:
    """A ready made socket works on every loop."""
    path = str(tmp_path / "server")
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        _, protocol = await opener.open(sock=sock)
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"hello", path)

        assert await protocol.received(1) == [b"hello"]
