"""Adoption: the state of somebody else's socket that an endpoint relies on.

A socket of our own starts with the kernel's defaults. One that is adopted may be in any
state, and much of it would change what an endpoint sends or receives: the kernel may
join or cut datagrams, add control data, fill the error queue, or hold everything back.
So nothing is assumed. :data:`_TABLE` lists what an endpoint relies on, and each row is
read when the socket is adopted, set to what is needed, and restored at the end, because
the socket may live on: in a process that was forked, under a descriptor that was
duplicated, or with the caller, if opening fails.

What cannot be set is checked, and asked of the kernel, not of the socket object, which
believes what it was made with. What was in the socket before is sorted:

* datagrams of third parties in the queue of a connected socket are not handed over;
* trains that were queued while UDP_GRO was on look like one long datagram once it is
  off, so they are read before;
* a pending error was about somebody else's datagram, and the kernel's count of drops
  about theirs.

What a caller has chosen for the network, not for the program, is left alone: TTL,
marks, filters, group membership, port sharing. Knows no event loop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from .._types import Received
from . import control_data, path_mtu, sockets
from .addresses import public_address
from .batchio import BatchSocket
from .implementation import batch_socket

OPTIONS: Final = ("icmp_errors", "packet_info")
"""The options of an endpoint that need something else than a new socket has."""


class _Row(NamedTuple):
    """One option that an endpoint relies on, or that it changes."""

    level: int
    option: int
    needed: int | None
    """What an endpoint needs; ``None`` if it takes what it finds, or asks for its own
    value elsewhere."""

    unless: str = ""
    """The option of an endpoint that asks for another value, and sets it."""


_SOCKET: Final = int(socket.SOL_SOCKET)
_IP: Final = int(socket.IPPROTO_IP)
_IPV6: Final = int(socket.IPPROTO_IPV6)
_UDP: Final = sockets.SOL_UDP
_UNSPEC: Final = 0

_GRO: Final = _Row(_UDP, sockets.UDP_GRO, None)

# The numbers are those of include/uapi/asm-generic/socket.h and include/uapi/linux/
# in.h, in6.h and udp.h. The socket module names too few of them.
_TABLE: Final[dict[int, tuple[_Row, ...]]] = {
    _UNSPEC: (
        # A peek begins at this offset, so a datagram would seem shorter than it is.
        _Row(_SOCKET, 42, -1),  # SO_PEEK_OFF
        # Control data: it takes the room of what an endpoint reads. Timestamps of what
        # is sent fill the error queue, too. SO_RCVMARK is left out: it takes privileges
        # to switch off, and there is room for its 20 bytes.
        _Row(_SOCKET, 29, 0),  # SO_TIMESTAMP
        _Row(_SOCKET, 63, 0),  # SO_TIMESTAMP_NEW
        _Row(_SOCKET, 64, 0),  # SO_TIMESTAMPNS_NEW
        _Row(_SOCKET, control_data.SO_TIMESTAMPNS, 0),
        _Row(_SOCKET, control_data.SO_TIMESTAMPING, 0),
        _Row(_SOCKET, 40, 0),  # SO_RXQ_OVFL
        _Row(_SOCKET, 41, 0),  # SO_WIFI_STATUS
        _Row(_SOCKET, 82, 0),  # SO_RCVPRIORITY
    ),
    socket.AF_INET: (
        # What was sent with MSG_MORE is waiting, or all is: 0 sends it.
        _Row(_UDP, 1, 0),  # UDP_CORK
        # Each send would be cut to pieces of this size.
        _Row(_UDP, sockets.UDP_SEGMENT, 0),
        # Datagrams are joined. The queue has to be read before this is switched off.
        _GRO,
        # The error queue would keep the socket ready.
        _Row(_IP, sockets.IP_RECVERR, 0, unless="icmp_errors"),
        _Row(_IP, 26, 0),  # IP_RECVERR_RFC4884
        _Row(_IP, control_data.IP_PKTINFO, 0, unless="packet_info"),
        _Row(_IP, control_data.IP_RECVTOS, 0, unless="packet_info"),
        _Row(_IP, control_data.IP_RECVTTL, 0, unless="packet_info"),
        _Row(_IP, 6, 0),  # IP_RECVOPTS
        _Row(_IP, 7, 0),  # IP_RETOPTS
        _Row(_IP, 18, 0),  # IP_PASSSEC
        _Row(_IP, 20, 0),  # IP_RECVORIGDSTADDR
        _Row(_IP, 23, 0),  # IP_CHECKSUM
        _Row(_IP, 25, 0),  # IP_RECVFRAGSIZE
    ),
    socket.AF_INET6: (
        _Row(_IPV6, sockets.IPV6_RECVERR, 0, unless="icmp_errors"),
        _Row(_IPV6, 31, 0),  # IPV6_RECVERR_RFC4884
        _Row(_IPV6, control_data.IPV6_RECVPKTINFO, 0, unless="packet_info"),
        _Row(_IPV6, control_data.IPV6_RECVTCLASS, 0, unless="packet_info"),
        _Row(_IPV6, control_data.IPV6_RECVHOPLIMIT, 0, unless="packet_info"),
        _Row(_IPV6, 2, 0),  # IPV6_2292PKTINFO
        _Row(_IPV6, 3, 0),  # IPV6_2292HOPOPTS
        _Row(_IPV6, 4, 0),  # IPV6_2292DSTOPTS
        _Row(_IPV6, 5, 0),  # IPV6_2292RTHDR
        _Row(_IPV6, 8, 0),  # IPV6_2292HOPLIMIT
        _Row(_IPV6, 11, 0),  # IPV6_FLOWINFO
        _Row(_IPV6, 53, 0),  # IPV6_RECVHOPOPTS
        _Row(_IPV6, 56, 0),  # IPV6_RECVRTHDR
        _Row(_IPV6, 58, 0),  # IPV6_RECVDSTOPTS
        _Row(_IPV6, 60, 0),  # IPV6_RECVPATHMTU
        _Row(_IPV6, 74, 0),  # IPV6_RECVORIGDSTADDR
        _Row(_IPV6, 77, 0),  # IPV6_RECVFRAGSIZE
    ),
    sockets.AF_UNIX or -1: (
        _Row(_SOCKET, 16, 0),  # SO_PASSCRED
        _Row(_SOCKET, 34, 0),  # SO_PASSSEC
        _Row(_SOCKET, 76, 0),  # SO_PASSPIDFD
    ),
}

# What the options of an endpoint set, on every system.
_CHANGED: Final = (
    _Row(_SOCKET, socket.SO_BROADCAST, None),
    _Row(_SOCKET, socket.SO_RCVBUF, None),
    _Row(_SOCKET, socket.SO_SNDBUF, None),
)
_BUFFERS: Final = _CHANGED[1:]

# include/uapi/asm-generic/poll.h
_POLLIN: Final = 0x1
_POLLHUP: Final = 0x10
_POLLRDHUP: Final = 0x2000

_VALUE_SPACE: Final = 8  # bytes: the longest value, struct so_timestamping
_ROUNDS: Final = 64
"""How often to look for trains that came while UDP_GRO was being switched off. Each
takes a few microseconds, so the first or the second is the last."""


def check(sock: socket.socket) -> None:
    """Refuse what cannot carry an endpoint.

    Raises:
        OSError: If *sock* is not open.
        ValueError: If it is no datagram socket, of a family or a protocol that is not
            served here, or shut down for reading.
    """
    family, kind, protocol = _kernel_facts(sock)
    if kind != socket.SOCK_DGRAM:
        raise ValueError(f"an endpoint needs a datagram socket, not {kind!r}")
    if family not in (*sockets.INET, sockets.AF_UNIX):
        raise ValueError(f"an endpoint needs an IP or a UNIX socket, not {sock!r}")
    if family != sock.family:
        raise ValueError(
            f"the family of {sock!r} is {family!r} by now; adopt its descriptor"
        )
    if family in sockets.INET and protocol not in (0, socket.IPPROTO_UDP):
        raise ValueError(
            f"an endpoint needs a UDP socket, not one of protocol {protocol}: {sock!r}"
        )
    if _poll(sock) & (_POLLRDHUP | _POLLHUP):  # ready for ever, and nothing to read
        raise ValueError(f"{sock!r} was shut down for reading")


def is_served(sock: socket.socket) -> bool:
    """Tell whether *sock* is for UDP or UNIX datagrams, whatever its state."""
    family, kind, protocol = _kernel_facts(sock)
    if kind != socket.SOCK_DGRAM:
        return False
    if family == sockets.AF_UNIX:
        return True
    return family in sockets.INET and protocol in (0, socket.IPPROTO_UDP)


def _kernel_facts(sock: socket.socket) -> tuple[int, int, int]:
    """Return family, type and protocol, of the kernel as far as it can be asked."""
    facts = []
    for name, known in (
        ("SO_DOMAIN", sock.family),
        ("SO_TYPE", sock.type),
        ("SO_PROTOCOL", sock.proto),
    ):
        option = getattr(socket, name, None)
        facts.append(known if option is None else sock.getsockopt(_SOCKET, option))
    family, kind, protocol = facts
    try:
        return socket.AddressFamily(family), socket.SocketKind(kind), protocol
    except ValueError:  # a number that Python has no name for
        return family, kind, protocol


class Loan:
    """Somebody else's socket: what it was like, and what it has to be like.

    Making one changes nothing.
    """

    __slots__ = ("_before", "_blocked", "_left", "_sock", "_timeout", "drops")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._blocked = _blocks(sock)
        self._before = {row: _read(sock, row) for row in _rows(sock)}
        self._left: dict[_Row, bytes | None] = {}
        self.drops = sockets.kernel_drops(sock)
        """What the kernel had dropped before, as it counts it."""

    def take_over(self, options: Collection[str]) -> None:
        """Bring the socket into the state of a new one.

        What one of the *options* of the endpoint is about is left as it was: it is
        set elsewhere, and nothing gets lost in between.
        """
        self._sock.setblocking(False)
        for row, value in self._before.items():
            known = value is not None
            if known and row.needed is not None and row.unless not in options:
                self._sock.setsockopt(row.level, row.option, row.needed)
        if "icmp_errors" not in options:
            _forget_errors(self._sock)

    def queued(self, *, gro: bool, **reading: Any) -> tuple[list[Received], int]:
        """Return what has to be read before anything else is.

        Args:
            gro: Whether trains can be read from now on. If not, UDP_GRO is switched
                off, where it was on.
            reading: Options of the batch I/O for what is read here.

        Returns:
            The datagrams, and how many of third parties were thrown away.

        Raises:
            OSError: EBUSY if trains come faster than they can be read.
        """
        joined = any(self._before.get(_GRO) or b"") and not gro
        try:
            peer = self._sock.getpeername()
        except OSError:
            peer = None
        if not joined and peer is None:
            return [], 0
        io = batch_socket(self._sock, gso_segments=1, gro=gro or joined, **reading)
        received = (_take_apart if joined else _read_all)(self._sock, io)
        if peer is None:
            return received, 0
        theirs = (peer, public_address(peer))
        own = [one for one in received if one[1] in theirs]
        return own, len(received) - len(own)

    def settle(self) -> None:
        """Take note of what the socket is like when its endpoint begins."""
        self._left = {row: _read(self._sock, row) for row in self._before}

    def restore(self) -> None:
        """Undo what is still as the endpoint has left it; what others have set stays.

        Never raises, also if somebody has closed the socket.
        """
        for row, before in self._before.items():
            now = _read(self._sock, row)
            if now != before and now == self._left.get(row, now):
                _write(self._sock, row, before)
        with contextlib.suppress(OSError):
            if not _blocks(self._sock):
                self._sock.settimeout(self._timeout)
                _set_blocking(self._sock, self._blocked)


def _rows(sock: socket.socket) -> Iterator[_Row]:
    yield from _CHANGED
    for level, option in path_mtu.options(sock):
        yield _Row(level, option, None)
    if sys.platform == "linux":
        yield from _TABLE[_UNSPEC]
        yield from _TABLE[sock.family]
        if sock.family == socket.AF_INET6:
            yield from _TABLE[socket.AF_INET]


def _read(sock: socket.socket, row: _Row) -> bytes | None:
    """Return the value of an option; ``None`` if the kernel does not know it."""
    try:
        return sock.getsockopt(row.level, row.option, _VALUE_SPACE)
    except OSError:
        return None


def _write(sock: socket.socket, row: _Row, value: bytes | None) -> None:
    assert value is not None  # what cannot be read was not set
    if sys.platform == "linux" and row in _BUFFERS:
        # Linux doubles what it is asked for, and reports the double (socket(7)).
        value = (int.from_bytes(value, sys.byteorder) // 2).to_bytes(4, sys.byteorder)
    with contextlib.suppress(OSError):
        sock.setsockopt(row.level, row.option, value)


def _forget_errors(sock: socket.socket) -> None:
    """Empty the error queue, and forget the error that the next call would report."""
    if sys.platform == "linux" and sock.family in sockets.INET:
        with contextlib.suppress(OSError):
            for _ in range(_most_queued(sock)):
                sock.recv(1, sockets.MSG_ERRQUEUE)
    sock.getsockopt(_SOCKET, socket.SO_ERROR)


def _most_queued(sock: socket.socket) -> int:
    """Return how many datagrams can be in a queue; somebody may go on filling it."""
    return sock.getsockopt(_SOCKET, socket.SO_RCVBUF) // sockets.MIN_DATAGRAM_COST


def _blocks(sock: socket.socket) -> bool:
    if sys.platform == "win32":
        return sock.getblocking()  # the system does not tell
    return os.get_blocking(sock.fileno())


def _set_blocking(sock: socket.socket, blocking: bool) -> None:
    if sys.platform != "win32":
        os.set_blocking(sock.fileno(), blocking)


def _read_all(sock: socket.socket, io: BatchSocket) -> list[Received]:
    """Return what is in the queue."""
    received: list[Received] = []
    most = _most_queued(sock)
    for _ in range(most):
        try:
            batch = io.receive(most, thorough=True)
        except OSError:  # of an earlier datagram, or of one that was cut off
            continue
        if not batch:
            break
        received += batch
    return received


def _take_apart(sock: socket.socket, io: BatchSocket) -> list[Received]:
    """Switch UDP_GRO off, and return what is in the queue: trains may be among it."""
    received: list[Received] = []
    for _ in range(_ROUNDS):
        received += _read_all(sock, io)
        sock.setsockopt(_UDP, sockets.UDP_GRO, 0)
        if not _poll(sock) & _POLLIN:
            return received
        sock.setsockopt(_UDP, sockets.UDP_GRO, 1)  # what has just come may be a train
    raise OSError(errno.EBUSY, f"trains come faster than they can be read: {sock!r}")


def _poll(sock: socket.socket) -> int:
    """Return what the socket is ready for, as far as the system tells."""
    if sys.platform != "linux":
        return 0
    poll = select.poll()
    poll.register(sock, _POLLIN | _POLLRDHUP)
    return sum(events for _, events in poll.poll(0))
