"""A sock in whatever state somebody else has left it."""

from __future__ import annotations

import socket

from ..support import linux_only, plain_socket
from .support import Opener


@linux_only
async def test_a_prepared_sock(ours: Opener, host: str) -> None:
    """It is brought into the state that is relied on, and back at the end (D05)."""
    udp, gro, segment = socket.IPPROTO_UDP, 104, 103  # include/uapi/linux/udp.h
    recverr = (socket.IPPROTO_IPV6, 25) if ":" in host else (socket.IPPROTO_IP, 11)
    with plain_socket(host) as sock, sock.dup() as other, plain_socket(host) as peer:
        sock.setsockopt(udp, segment, 10)
        sock.setsockopt(*recverr, 1)
        options = (segment, gro)
        before = [other.getsockopt(udp, option) for option in options]
        transport, protocol = await ours.open(sock=sock)

        transport.sendto(bytes(95), peer.getsockname())
        assert peer.recv(100) == bytes(95)
        assert other.getsockopt(*recverr) == 0
        transport.close()
        await protocol.lost()

        assert [other.getsockopt(udp, option) for option in options] == before
        assert other.getsockopt(*recverr) == 1


@linux_only
async def test_what_a_sock_had_dropped(ours: Opener, peer: socket.socket) -> None:
    """The transport's count begins with itself (D05)."""
    sock = socket.socket(peer.family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    sock.bind((peer.getsockname()[0], 0))
    for _ in range(100):
        peer.sendto(bytes(100), sock.getsockname())

    transport, _ = await ours.open(sock=sock)

    assert transport.stats().dropped_kernel == 0


@linux_only
async def test_a_third_party_in_the_queue_of_a_sock(
    ours: Opener, peer: socket.socket
) -> None:
    """A connected one hears its peer alone (D05)."""
    host = peer.getsockname()[0]
    sock = socket.socket(peer.family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    with plain_socket(host) as stranger:
        stranger.sendto(b"stranger", sock.getsockname())
    peer.sendto(b"early", sock.getsockname())
    sock.connect(peer.getsockname())

    _, protocol = await ours.open(sock=sock)

    await protocol.received(1)
    assert protocol.datagrams == [(b"early", peer.getsockname())]
