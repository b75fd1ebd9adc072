"""Addresses as asyncio writes them: those of the kernel, untranslated."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from ..support import AF_UNIX, needs_ipv6, plain_socket, unix_only
from .support import Opener, Recorder


async def test_sender(opener: Opener, peer: socket.socket, host: str) -> None:
    """A tuple with as many parts as the family has, host first, then the port."""
    transport, protocol = await opener.open(local_addr=(host, 0))
    peer.sendto(b"hello", transport.get_extra_info("sockname"))

    await protocol.received(1)

    ((data, addr),) = protocol.datagrams
    assert type(data) is bytes
    assert type(addr) is tuple
    assert addr == peer.getsockname()


@needs_ipv6
@pytest.mark.parametrize("parts", [2, 3, 4])
async def test_parts_of_an_ipv6_address(opener: Opener, parts: int) -> None:
    """Flow label and scope may be left out."""
    if parts == 3:
        opener.leaves_out("uvloop", because="it takes two parts or four")
    with plain_socket("::1") as peer:
        transport, _ = await opener.open(local_addr=("::1", 0))

        transport.sendto(b"hello", peer.getsockname()[:parts])

        assert peer.recv(100) == b"hello"


@needs_ipv6
async def test_ipv4_peer_of_a_dual_stack_socket(opener: Opener) -> None:
    """It is reported as ``::ffff:127.0.0.1``, and can be answered as that."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
        plain_socket("127.0.0.1") as peer,
    ):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        transport, protocol = await opener.open(sock=sock)
        peer.sendto(b"question", ("127.0.0.1", sock.getsockname()[1]))
        await protocol.received(1)

        addr = protocol.datagrams[0][1]
        transport.sendto(b"answer", addr)

        assert addr == ("::ffff:127.0.0.1", peer.getsockname()[1], 0, 0)
        assert peer.recv(100) == b"answer"


@needs_ipv6
async def test_every_address_of_both_families(opener: Opener) -> None:
    """``::`` serves IPv4, too, as far as the system is set so."""
    transport, protocol = await opener.open(local_addr=("::", 0))
    sock = transport.get_extra_info("socket")
    if sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        pytest.skip("cannot: dual-stack: the system separates the families")
    with plain_socket("127.0.0.1") as peer:
        peer.sendto(b"hello", ("127.0.0.1", sock.getsockname()[1]))

        await protocol.received(1)

        assert protocol.datagrams[0][1][0] == "::ffff:127.0.0.1"


@needs_ipv6
async def test_ipv4_address_for_a_dual_stack_socket(ours: Opener) -> None:
    """The plain form is understood as well, here and nowhere else."""
    with plain_socket("127.0.0.1") as peer:
        transport, _ = await ours.open(local_addr=("::", 0))

        transport.sendto(b"hello", peer.getsockname())

        assert peer.recv(100) == b"hello"


@unix_only
@pytest.mark.parametrize("named", [True, False])
async def test_unix_sender(opener: Opener, named: bool, tmp_path: Path) -> None:
    """A path; nothing at all for a sender without a name."""
    with (
        socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock,
        socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        sock.bind(str(tmp_path / "server"))
        if named:
            peer.bind(str(tmp_path / "peer"))
        _, protocol = await opener.open(sock=sock)
        peer.sendto(b"hello", sock.getsockname())

        await protocol.received(1)

        assert protocol.datagrams[0][1] == (str(tmp_path / "peer") if named else None)


async def test_extra_info(opener: Opener, peer: socket.socket) -> None:
    """What asyncio has under a name, and the default for anything else."""
    transport, _ = await opener.open(Recorder, remote_addr=peer.getsockname()[:2])
    sock: Any = transport.get_extra_info("socket")

    assert sock.fileno() >= 0
    assert (sock.family, sock.type) == (peer.family, socket.SOCK_DGRAM)
    assert sock.getsockname() == transport.get_extra_info("sockname")
    assert sock.getpeername() == transport.get_extra_info("peername")
    assert sock.getpeername() == peer.getsockname()
    assert transport.get_extra_info("sslcontext") is None
    assert transport.get_extra_info("sslcontext", 42) == 42
