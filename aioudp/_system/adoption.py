"""Adoption: put a caller's socket into the state that an endpoint relies on.

Our own sockets start with the kernel's defaults. An adopted socket may be in any state,
and many options would change what an endpoint sends or receives: the kernel may join or
split datagrams, add control data, fill the error queue, or hold datagrams back. So
nothing is assumed. :data:`_TABLE` lists the options that an endpoint relies on. Each of
them is read when the socket is adopted, set to the required value, and restored at the
end, because the socket may live on: in a forked process, under a duplicated descriptor,
or with the caller, if opening fails.

Properties that can't be set are checked with the kernel, because the socket object only
knows the arguments it was created with. The previous contents of the socket are sorted:

* datagrams from third parties in the queue of a connected socket aren't delivered;
* trains queued while UDP_GRO was on look like one long datagram once it's off, so they
  are read first;
* a pending error, and the kernel's count of drops, belong to the previous owner.

Options that concern the network rather than the program stay unchanged: TTL, marks,
filters, group membership, port sharing. No event loop.
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
from .machine import machine_of

OPTIONS: Final = ("icmp_errors", "packet_info")
"""The options of an endpoint that need other values than a new socket's."""


class _Row(NamedTuple):
    """A socket option that an endpoint relies on or changes."""

    level: int
    option: int
    needed: int | None
    """The value that an endpoint needs; ``None`` if it accepts any value, or sets one
    elsewhere."""

    unless: str = ""
    """The endpoint's option that needs, and sets, another value."""


_SOCKET: Final = int(socket.SOL_SOCKET)
_IP: Final = int(socket.IPPROTO_IP)
_IPV6: Final = int(socket.IPPROTO_IPV6)
_UDP: Final = sockets.SOL_UDP
_UNSPEC: Final = 0

_GRO: Final = _Row(_UDP, sockets.UDP_GRO, None)

# The numbers are from include/uapi/asm-generic/socket.h and include/uapi/linux/in.h,
# in6.h and udp.h. The socket module lacks most of them.
_TABLE: Final[dict[int, tuple[_Row, ...]]] = {
    _UNSPEC: (
        # A peek starts at this offset, so a datagram would seem shorter than it is.
        _Row(_SOCKET, 42, -1),  # SO_PEEK_OFF
        # Control data takes up the room for the control data that an endpoint needs.
        # Send timestamps also fill the error queue. SO_RCVMARK isn't listed: clearing
        # it requires privileges, and there is room for its 20 bytes.
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
        # Holds datagrams back; 0 sends them.
        _Row(_UDP, 1, 0),  # UDP_CORK
        # Would split each send into segments of this size.
        _Row(_UDP, sockets.UDP_SEGMENT, 0),
        # Joins datagrams. The queue must be read before this is cleared.
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

# Socket options that an endpoint's options set, on every system.
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
"""How often to check for trains that arrived while UDP_GRO was being cleared. A round
takes a few microseconds, so one or two are enough."""


def check(sock: socket.socket) -> None:
    """Refuse a socket that can't have an endpoint.

    Raises:
        OSError: If *sock* isn't open.
        ValueError: If it isn't a datagram socket, is of an unsupported family or
            protocol, or was shut down for reading.
    """
    family, kind, protocol = _kernel_facts(sock)
    if kind != socket.SOCK_DGRAM:
        raise ValueError(f"an endpoint needs a datagram socket, not {kind!r}")
    if family not in (*sockets.INET, sockets.AF_UNIX):
        raise ValueError(f"an endpoint needs an IP or a UNIX socket, not {sock!r}")
    if family != sock.family:
        raise ValueError(
            f"the family of {sock!r} is now {family!r}; adopt its descriptor"
        )
    if family in sockets.INET and protocol not in (0, socket.IPPROTO_UDP):
        raise ValueError(
            f"an endpoint needs a UDP socket, not one of protocol {protocol}: {sock!r}"
        )
    if _poll(sock) & (_POLLRDHUP | _POLLHUP):  # always ready, with nothing to read
        raise ValueError(f"{sock!r} was shut down for reading")


def is_served(sock: socket.socket) -> bool:
    """Return whether *sock* is a UDP or UNIX datagram socket, in any state."""
    family, kind, protocol = _kernel_facts(sock)
    if kind != socket.SOCK_DGRAM:
        return False
    if family == sockets.AF_UNIX:
        return True
    return family in sockets.INET and protocol in (0, socket.IPPROTO_UDP)


def _kernel_facts(sock: socket.socket) -> tuple[int, int, int]:
    """Return family, type and protocol, from the kernel if possible."""
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
    except ValueError:  # a number that isn't in Python's enums
        return family, kind, protocol


class Loan:
    """A caller's socket with its original state.

    Creating one doesn't change the socket.
    """

    __slots__ = ("_before", "_blocked", "_left", "_sock", "_timeout", "drops")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._blocked = _blocks(sock)
        self._before = {row: _read(sock, row) for row in _rows(sock)}
        self._left: dict[_Row, bytes | None] = {}
        self.drops = sockets.kernel_drops(sock)
        """The kernel's earlier drops."""

    def take_over(self, options: Collection[str]) -> None:
        """Put the socket into the state of a new one.

        Socket options for one of the endpoint's *options* stay unchanged: they're set
        elsewhere, so that nothing gets lost in between.
        """
        self._sock.setblocking(False)
        for row, value in self._before.items():
            known = value is not None
            if known and row.needed is not None and row.unless not in options:
                self._sock.setsockopt(row.level, row.option, row.needed)
        if "icmp_errors" not in options:
            _forget_errors(self._sock)

    def queued(self, *, gro: bool, **reading: Any) -> tuple[list[Received], int]:
        """Return the datagrams that must be read before anything else.

        Args:
            gro: Whether trains can be read from now on. If not, UDP_GRO is cleared.
            reading: Options of the batch I/O for reading these datagrams.

        Returns:
            The datagrams, and the number of dropped ones from third parties.

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
        """Store the state of the socket when its endpoint starts."""
        self._left = {row: _read(self._sock, row) for row in self._before}

    def restore(self, duplicate: socket.socket | None = None) -> None:
        """Restore options, except those that others have changed meanwhile.

        Never raises, even if the socket has been closed. A *duplicate* of it will do.
        """
        sock = self._sock if duplicate is None else duplicate
        for row, before in self._before.items():
            now = _read(sock, row)
            if now != before and now == self._left.get(row, now):
                _write(sock, row, before)
        with contextlib.suppress(OSError):
            if not _blocks(sock):
                sock.settimeout(self._timeout)
                _set_blocking(sock, self._blocked)


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
    """Return the value of an option; ``None`` if the kernel doesn't support it."""
    try:
        return sock.getsockopt(row.level, row.option, _VALUE_SPACE)
    except OSError:
        return None


def _write(sock: socket.socket, row: _Row, value: bytes | None) -> None:
    assert value is not None  # an option that can't be read wasn't set
    if sys.platform == "linux" and row in _BUFFERS:
        # Linux doubles the requested size, and reports the doubled one (socket(7)).
        value = (int.from_bytes(value, sys.byteorder) // 2).to_bytes(4, sys.byteorder)
    with contextlib.suppress(OSError):
        sock.setsockopt(row.level, row.option, value)


def _forget_errors(sock: socket.socket) -> None:
    """Empty the error queue, and clear the pending error."""
    if sys.platform == "linux" and sock.family in sockets.INET:
        with contextlib.suppress(OSError):
            for _ in range(_most_queued(sock)):
                sock.recv(1, sockets.MSG_ERRQUEUE)
    sock.getsockopt(_SOCKET, socket.SO_ERROR)


def _most_queued(sock: socket.socket) -> int:
    """Return the maximum number of datagrams in the queue; peers may keep sending."""
    return sock.getsockopt(_SOCKET, socket.SO_RCVBUF) // sockets.MIN_DATAGRAM_COST


def _blocks(sock: socket.socket) -> bool:
    if sys.platform == "win32" or machine_of(sock) is not None:
        return sock.getblocking()  # the system doesn't report it
    return os.get_blocking(sock.fileno())


def _set_blocking(sock: socket.socket, blocking: bool) -> None:
    if sys.platform != "win32" and machine_of(sock) is None:
        os.set_blocking(sock.fileno(), blocking)


def _read_all(sock: socket.socket, io: BatchSocket) -> list[Received]:
    """Return the datagrams in the queue."""
    received: list[Received] = []
    most = _most_queued(sock)
    for _ in range(most):
        try:
            batch = io.receive(most, thorough=True)
        except OSError:  # about an earlier datagram, or a truncated one
            continue
        if not batch:
            break
        received += batch
    return received


def _take_apart(sock: socket.socket, io: BatchSocket) -> list[Received]:
    """Clear UDP_GRO, and return the datagrams in the queue, including trains."""
    received: list[Received] = []
    for _ in range(_ROUNDS):
        received += _read_all(sock, io)
        sock.setsockopt(_UDP, sockets.UDP_GRO, 0)
        if not _poll(sock) & _POLLIN:
            return received
        sock.setsockopt(_UDP, sockets.UDP_GRO, 1)  # a train may have just arrived
    raise OSError(errno.EBUSY, f"trains arrive faster than they can be read: {sock!r}")


def _poll(sock: socket.socket) -> int:
    """Return the events that the socket is ready for; 0 if unknown."""
    if sys.platform != "linux" or machine_of(sock) is not None:
        return 0
    poll = select.poll()
    poll.register(sock, _POLLIN | _POLLRDHUP)
    return sum(events for _, events in poll.poll(0))
