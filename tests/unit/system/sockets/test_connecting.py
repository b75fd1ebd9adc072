"""Opening a connected socket: nothing of a third party is left in it."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._system.sockets import advice_on, connect

from .support import (
    MakeSocket,
    _skip_without_ipv6,
    on_linux,
    receive_all,
    with_unix_sockets,
)


@pytest.fixture
def crowd(make_socket: MakeSocket) -> tuple[socket.socket, ...]:
    """Return a bound socket, its peer to be, and a third party."""
    return make_socket(), make_socket(), make_socket()


def test_what_the_peer_sent_before_is_kept(crowd: tuple[socket.socket, ...]) -> None:
    """In order, and with its address."""
    sock, peer, _ = crowd
    for data in (b"first", b"", b"third"):
        peer.sendto(data, sock.getsockname())

    backlog, _ = connect(sock, peer.getsockname())

    addr = peer.getsockname()
    assert backlog == [(b"first", addr), (b"", addr), (b"third", addr)]


def test_what_others_sent_before_is_thrown_away(
    crowd: tuple[socket.socket, ...],
) -> None:
    """The kernel would still deliver it; it is counted instead."""
    sock, peer, other = crowd
    for sender in (other, peer, other, other, peer):
        sender.sendto(b"from %d" % (sender is peer), sock.getsockname())

    backlog, foreign = connect(sock, peer.getsockname())

    assert [data for data, _ in backlog] == [b"from 1", b"from 1"]
    assert foreign == 3


def test_what_others_send_afterwards_is_not_received(
    crowd: tuple[socket.socket, ...],
) -> None:
    """From then on the kernel filters."""
    sock, peer, other = crowd
    connect(sock, peer.getsockname())
    other.sendto(b"other", sock.getsockname())
    peer.sendto(b"peer", sock.getsockname())

    assert receive_all(sock) == [b"peer"]


def test_a_silent_peer_leaves_no_backlog(crowd: tuple[socket.socket, ...]) -> None:
    """Connecting waits for nothing."""
    sock, peer, _ = crowd

    assert connect(sock, peer.getsockname()) == ([], 0)


def test_the_backlog_of_a_dual_stack_socket_has_plain_addresses(
    make_socket: MakeSocket,
) -> None:
    """An IPv4 peer is read as an IPv4 peer."""
    _skip_without_ipv6()
    sock = make_socket(("::", 0), socket.AF_INET6, v6only=False)
    peer = make_socket()
    host, port = peer.getsockname()
    peer.sendto(b"early", ("127.0.0.1", sock.getsockname()[1]))

    backlog, foreign = connect(sock, (f"::ffff:{host}", port, 0, 0))

    assert (backlog, foreign) == ([(b"early", (host, port))], 0)


def test_a_flood_from_the_peer_does_not_keep_connect_busy() -> None:
    """It reads what can have been queued before, and leaves the rest queued."""
    addr = "192.0.2.1", 53
    endless = FakeSocket(buffer=2560, addr=addr)

    backlog, _ = connect(endless.as_socket(), addr)

    # Ten datagrams fill a buffer of 2560 bytes, as each costs 256 at the least.
    assert len(backlog) == endless.reads == 10


class FakeSocket:
    """A socket with more datagrams in it than anybody can read."""

    family = socket.AF_INET

    def __init__(self, *, buffer: int, addr: Any) -> None:
        self._buffer = buffer
        self._addr = addr
        self.reads = 0

    def as_socket(self) -> socket.socket:
        sock: Any = self
        return sock  # type: ignore[no-any-return]

    def connect(self, peer: Any) -> None:
        assert peer == self._addr

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        return self._buffer

    def getpeername(self) -> Any:
        return self._addr

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        self.reads += 1
        return bytes(1), self._addr


@on_linux
def test_a_peer_of_port_0_is_a_host(host: str, make_socket: MakeSocket) -> None:
    """The kernel filters by host then, so what any of its ports sent before is kept."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock, early = make_socket((host, 0), family), make_socket((host, 0), family)
    early.sendto(b"early", sock.getsockname())
    peer = (host, 0) if family == socket.AF_INET else (host, 0, 0, 0)

    assert connect(sock, peer) == ([(b"early", early.getsockname())], 0)


def test_an_error_of_the_network_ends_the_reading(make_socket: MakeSocket) -> None:
    """It is about a datagram of ours that came back, so connecting succeeds."""
    sock, gone = make_socket(), make_socket()
    dead = gone.getsockname()
    gone.close()
    sock.connect(dead)
    sock.send(b"nobody is there")

    assert connect(sock, dead) == ([], 0)


def test_a_refused_connect_names_the_peer(make_socket: MakeSocket) -> None:
    """Here a broadcast address, without the option for it; the socket stays open."""
    sock = make_socket(None)

    with pytest.raises(OSError, match=r"connecting to \('255\.255\.255\.255', 9\)"):
        connect(sock, ("255.255.255.255", 9))
    assert sock.fileno() >= 0


@pytest.mark.parametrize(
    ("peer", "broadcast", "number", "advises"),
    [
        (("192.0.2.255", 9), False, errno.EACCES, True),
        (("192.0.2.255", 9), True, errno.EACCES, False),
        (("192.0.2.255", 9), False, errno.EPERM, False),
        (("::ffff:192.0.2.255", 9, 0, 0), False, errno.EACCES, True),
        (("2001:db8::1", 9, 0, 0), False, errno.EACCES, False),
        (None, False, errno.EACCES, False),
    ],
)
def test_a_refused_broadcast_comes_with_advice(
    peer: Any, broadcast: bool, number: int, advises: bool, make_socket: MakeSocket
) -> None:
    """Where it may be what is missing, and nowhere else."""
    sock = make_socket(None, broadcast=broadcast)

    advice = advice_on(sock, OSError(number, "refused"), peer)

    assert ("broadcast=True" in advice) is advises


@with_unix_sockets
def test_a_unix_socket_keeps_what_its_peer_sent_before(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """Third parties are distinguished from the peer in its queue, at any length."""
    paths = [str(tmp_path / name) for name in ("one", "two", "three")]
    sock, peer, stranger = (make_socket(path, sockets.AF_UNIX) for path in paths)
    early = bytes(100_000)
    peer.sendto(early, paths[0])
    stranger.sendto(b"stranger", paths[0])

    assert connect(sock, paths[1]) == ([(early, paths[1])], 1)
    assert receive_all(sock) == []
