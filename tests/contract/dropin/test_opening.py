"""Opening: the same signature and the same results as the loop's own method."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import aioudp
from aioudp._system import sockets

from ..support import plain_socket
from .support import Opener, Recorder

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
