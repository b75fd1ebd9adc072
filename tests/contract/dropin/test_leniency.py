"""What both asyncio and uvloop take, and programs have come to rely on."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from ..support import AF_UNIX, linux_only, plain_socket, unix_only
from .support import Opener, Recorder


class Port:
    """A number of a class of its own, as libraries for arrays have them."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


class UnhashablePort(Port):
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("as_", ["bytes", "bytearray", "index", "unhashable", "both"])
async def test_an_address_in_other_types(
    opener: Opener, peer: socket.socket, as_: str
) -> None:
    """The host may be bytes, and the port whatever has ``__index__`` (D21)."""
    if as_ in ("bytearray", "unhashable"):
        opener.leaves_out("uvloop", because="it remembers addresses, so it hashes them")
    host, port = peer.getsockname()[:2]
    addr: Any = {
        "bytes": (host.encode(), port),
        "bytearray": (bytearray(host.encode()), port),
        "index": (host, Port(port)),
        "unhashable": (host, UnhashablePort(port)),
        "both": (host.encode(), Port(port)),
    }[as_]
    if "index" in as_ or as_ == "both":
        opener.leaves_out("uvloop", because="it takes no class of its own for a port")
    transport, _ = await opener.open(local_addr=(host, 0))

    transport.sendto(b"first", addr)
    transport.sendto(b"second", addr)

    assert [peer.recv(100), await asyncio.to_thread(peer.recv, 100)] == [
        b"first",
        b"second",
    ]


@pytest.mark.parametrize("addr", [(b"\xff", 9), (b"a name", 9), (b"127.0.0.1", 9.0)])
async def test_bytes_that_are_no_host(ours: Opener, addr: Any) -> None:
    """They are refused as any other mistake is."""
    transport, _ = await ours.open(local_addr=("127.0.0.1", 0))

    with pytest.raises((TypeError, ValueError)):
        transport.sendto(b"refused", addr)


async def test_endpoints_are_strict(endpoints: Any, peer: socket.socket) -> None:
    """There is one form of an address there."""
    host, port = peer.getsockname()[:2]
    endpoint = await endpoints.bind()

    with pytest.raises(TypeError):
        await endpoint.send(b"refused", (host.encode(), port))


@linux_only
@pytest.mark.parametrize("broadcast", [True, False])
async def test_remote_port_0(opener: Opener, host: str, broadcast: bool) -> None:
    """It can be opened; only sending has nowhere to go (D22)."""
    opener.leaves_out("uvloop", because="it sends nothing, and does not say so")
    options: Any = {"allow_broadcast": True} if broadcast else {}
    transport, protocol = await opener.open(Recorder, (host, 0), (host, 0), **options)
    assert transport.get_extra_info("peername") is None

    transport.sendto(b"nowhere")

    await protocol.until(lambda: protocol.errors)
    assert [error.errno for error in protocol.errors] == [errno.EINVAL]
    transport.sendto(b"nowhere", transport_peer(host))
    await protocol.until(lambda: len(protocol.errors) == 2)
    with pytest.raises(ValueError, match="Invalid address: must be None or"):
        transport.sendto(b"refused", (host, 9))


def transport_peer(host: str) -> Any:
    return (host, 0, 0, 0) if ":" in host else (host, 0)


@linux_only
async def test_what_comes_from_a_peer_of_port_0(opener: Opener, host: str) -> None:
    """The kernel filters by host then: whatever port it comes from is heard."""
    with plain_socket(host) as peer:
        transport, protocol = await opener.open(Recorder, (host, 0), (host, 0))

        peer.sendto(b"hello", transport.get_extra_info("sockname"))

        await protocol.received(1)
        assert protocol.datagrams == [(b"hello", peer.getsockname())]


# -- the wording


async def test_the_wording_of_an_address_that_is_another(
    opener: Opener, peer: socket.socket
) -> None:
    """asyncio's, uvloop's and ours: programs look for it (D23)."""
    name = peer.getsockname()
    transport, _ = await opener.open(remote_addr=name[:2])

    with pytest.raises(ValueError, match="Invalid address: must be None or "):
        transport.sendto(b"refused", (name[0], 1, *name[2:]))


async def test_the_wording_of_a_sock_that_is_none(opener: Opener) -> None:
    """Here the newest asyncio has another word (D23)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        with pytest.raises(ValueError, match=r"A (UDP S|datagram s)ocket was expected"):
            await opener.open(sock=sock)
        if opener.ours:
            with pytest.raises(ValueError, match="A UDP Socket was expected, got "):
                await opener.open(sock=sock)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "unexpected address family"),
        ({"local_addr": "127.0.0.1"}, TypeError, "2-tuple is expected|must be a tuple"),
        (
            {"local_addr": ("127.0.0.1", 0), "sock": True},
            ValueError,
            "socket modifier keyword arguments can not be used when sock is specified",
        ),
    ],
    ids=["nothing", "str", "sock"],
)
async def test_the_wording_of_arguments(
    opener: Opener, options: Any, error: Any, message: str
) -> None:
    """It is asyncio's and uvloop's (D23)."""
    with plain_socket("127.0.0.1") as sock:
        if "sock" in options:
            options = {**options, "sock": sock}
        with pytest.raises(error, match=message):
            await opener.open(**options)


@unix_only
async def test_the_wording_of_a_path_that_is_none(opener: Opener) -> None:
    """The same (D23)."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    with pytest.raises(TypeError, match="string is expected"):
        await opener.open(local_addr=("127.0.0.1", 0), family=AF_UNIX)


@unix_only
async def test_a_unix_name_that_looks_like_an_ip_address(
    opener: Opener, tmp_path: Any
) -> None:
    """It is a name like any other to a transport, which nobody has."""
    sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "mine"))
    transport, protocol = await opener.open(sock=sock)

    transport.sendto(b"to nobody", "127.0.0.1:9999")

    await protocol.until(lambda: protocol.errors)
    assert isinstance(protocol.errors[0], FileNotFoundError)
