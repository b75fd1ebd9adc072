"""Sockets: make them, set them up, ask the kernel about them. No event loop.

Port sharing is never switched on unless asked for. SO_REUSEADDR on a datagram
socket lets another process, even of another user, bind the same port and take every
datagram (bpo-37228), so nothing here sets it; ``shared_port`` does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from functools import cache
from typing import Final, NamedTuple

from .._errors import with_context
from .._types import Datagram, Timestamps
from . import addresses, control_data
from .addresses import SocketAddress

# include/uapi/linux/udp.h; the socket module does not name them.
SOL_UDP: Final = int(socket.IPPROTO_UDP)
UDP_SEGMENT: Final = 103  # Linux 4.18
UDP_GRO: Final = control_data.UDP_GRO  # Linux 5.0
IP_RECVERR: Final = 11  # include/uapi/linux/in.h
IPV6_RECVERR: Final = 25  # include/uapi/linux/in6.h
MSG_ERRQUEUE: Final = 0x2000  # include/linux/socket.h
# include/uapi/asm-generic/socket.h, include/uapi/linux/sock_diag.h
SO_MEMINFO: Final = 55  # Linux 4.12
_MEMINFO: Final = struct.Struct("=9I")  # SK_MEMINFO_VARS words ...
_MEMINFO_DROPS: Final = 8  # ... of which this one counts the drops

_SOCKET: Final = socket.SOL_SOCKET
_IP_TELLS: Final = (
    control_data.IP_PKTINFO,
    control_data.IP_RECVTOS,
    control_data.IP_RECVTTL,
)
_IPV6_TELLS: Final = (
    control_data.IPV6_RECVPKTINFO,
    control_data.IPV6_RECVTCLASS,
    control_data.IPV6_RECVHOPLIMIT,
)
# SOF_TIMESTAMPING_ flags, include/uapi/linux/net_tstamp.h
_RX_HARDWARE: Final = 1 << 2
_RAW_HARDWARE: Final = 1 << 6

DEFAULT_BUFFER: Final = 4 * 1024 * 1024  # bytes asked of the kernel, each way

MAX_READ: Final = 65536
"""Bytes of one read. No UDP datagram and no coalesced train is longer: the length in
the IPv4 header and in the UDP header has 16 bits."""

_PEEK_LENGTH: Final = int(socket.MSG_PEEK | getattr(socket, "MSG_TRUNC", 0))

MIN_DATAGRAM_COST: Final = 256
"""Bytes that a queued datagram is charged for, at the very least: the size of the
kernel's own structure, sk_buff."""

INET: Final = (socket.AF_INET, socket.AF_INET6)

# None where the system has no such thing.
AF_UNIX: Final[int | None] = getattr(socket, "AF_UNIX", None)
SO_REUSEPORT: Final[int | None] = getattr(socket, "SO_REUSEPORT", None)


class Offload(NamedTuple):
    """What a kernel can do in one call."""

    gso_segments: int
    """Datagrams that one send may carry (UDP_SEGMENT); 1 where there is no GSO."""

    gro: bool
    """Whether one read may give many datagrams (UDP_GRO)."""


@cache
def probe_offload() -> Offload:
    """Ask the kernel, once, which offloads it knows.

    The number of segments is a first bid: older kernels take 64 where newer ones
    take 128 (UDP_MAX_SEGMENTS), and a driver may refuse any. Both show only when
    sending, and the batch I/O gives way then.
    """
    if sys.platform != "linux":
        return Offload(1, gro=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        gso = _accepts(sock, SOL_UDP, UDP_SEGMENT, 0)
        gro = _accepts(sock, SOL_UDP, UDP_GRO, 1)
    return Offload(128 if gso else 1, gro)


def enable_gro(sock: socket.socket) -> bool:
    """Let the kernel hand over trains whole, and tell whether it will."""
    return (
        probe_offload().gro
        and sock.family in INET
        and _accepts(sock, SOL_UDP, UDP_GRO, 1)
    )


def enable_packet_info(sock: socket.socket, timestamps: Timestamps) -> bool:
    """Have the kernel tell about each datagram; return whether it will.

    Raises:
        ValueError: If *timestamps* asks for what this system has not.
    """
    tells = sys.platform == "linux" and sock.family in INET
    if tells:
        for option in _IP_TELLS:
            sock.setsockopt(socket.IPPROTO_IP, option, 1)
        if sock.family == socket.AF_INET6:
            for option in _IPV6_TELLS:
                sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
    if timestamps == "hardware":
        flags = _RX_HARDWARE | _RAW_HARDWARE
        if not tells or not _accepts(
            sock, _SOCKET, control_data.SO_TIMESTAMPING, flags
        ):
            raise ValueError('timestamps="hardware" is not supported on this system')
    if tells:  # an adopted socket may have either: one clock only
        software = timestamps == "software"
        _accepts(sock, _SOCKET, control_data.SO_TIMESTAMPNS, software)
        if software:
            _accepts(sock, _SOCKET, control_data.SO_TIMESTAMPING, 0)
    return tells


def open_bound(
    addr: SocketAddress,
    family: int,
    *,
    proto: int = 0,
    v6only: bool | None = True,
    reuse_port: bool = False,
    broadcast: bool = False,
    purpose: str | None = None,
) -> socket.socket:
    """Return a non-blocking datagram socket bound to *addr*, or unbound for ``None``.

    *v6only*, for IPv6: whether IPv4 is left out; ``None`` leaves it to the system.

    Raises:
        OSError: If the system refuses; the message says which address to bind to, or
            else the *purpose*. The socket is closed.
    """
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, proto)
        try:
            _prepare(sock, v6only, reuse_port, broadcast)
            if addr is not None:
                sock.bind(addr)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise with_context(exc, purpose or f"binding to {addr!r}") from None
    return sock


def _prepare(
    sock: socket.socket, v6only: bool | None, reuse_port: bool, broadcast: bool
) -> None:
    sock.setblocking(False)
    if sock.family == socket.AF_INET6 and v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    if sys.platform == "win32":
        # Without it any process may share the port by setting SO_REUSEADDR.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    if reuse_port:
        assert SO_REUSEPORT is not None
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    if broadcast:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)


def connect(
    sock: socket.socket, peer: SocketAddress, *, unmap: bool = True
) -> tuple[list[Datagram], int]:
    """Connect *sock*, and take out what had been queued before the peer was named.

    The kernel filters by peer only what arrives after connect(2); what a third
    party sent to the bound port before is still delivered.

    Returns:
        The datagrams of the peer itself, and how many of others were thrown away. The
        peer's address is as callers read it if *unmap*, else as the kernel names it.

    Raises:
        OSError: If the system refuses; the message names the address. The socket
            stays open.
    """
    try:
        sock.connect(peer)
    except OSError as exc:
        advice = advice_on(sock, exc, peer)
        raise with_context(exc, f"connecting to {peer!r}{advice}") from None
    backlog: list[Datagram] = []
    foreign = 0
    # The peer may go on sending, so count instead of waiting for an empty queue:
    # after this many reads nothing from before the connect can be left.
    queued = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // MIN_DATAGRAM_COST
    try:
        name = sock.getpeername()
    except OSError:  # port 0, which the kernel connects to: it filters by host then
        name = None
    for _ in range(queued):
        try:
            data, addr = receive_whole(sock)
        except OSError:  # empty; or an ICMP error, which was not about our datagrams
            break
        if addr == name or (name is None and addr[0] == peer[0]):
            read = addresses.public_address(addr) if unmap else addr
            backlog.append(Datagram(data, read))
        else:
            foreign += 1
    return backlog, foreign


def advice_on(sock: socket.socket, error: OSError, peer: SocketAddress) -> str:
    """Return what to do about a destination that was refused; ``""`` if unknown.

    EACCES is what the system says of a broadcast address without SO_BROADCAST
    (ip(7)), and, more seldom, of a route that prohibits.
    """
    if error.errno != errno.EACCES or sock.family not in INET or not peer:
        return ""
    if ":" in peer[0] and not peer[0].startswith("::ffff:"):  # IPv6 has no broadcast
        return ""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST):
        return ""
    return (
        "; if it is a broadcast address, open with broadcast=True or "
        "use aioudp.open_broadcast"
    )


def receive_whole(sock: socket.socket) -> tuple[bytes, SocketAddress]:
    """Return one datagram, however long, and its sender.

    A UNIX datagram may be as long as the sender's buffer, so its length is asked for
    first: with MSG_TRUNC, recv(2) returns it in full (Linux 3.4, for AF_UNIX).
    """
    size = MAX_READ
    if sock.family == AF_UNIX:
        size = max(size, sock.recv_into(bytearray(1), 1, _PEEK_LENGTH))
    return sock.recvfrom(size)


def is_dual_stack(sock: socket.socket) -> bool:
    """Tell whether this IPv6 socket also serves IPv4 peers."""
    if sock.family != socket.AF_INET6:
        return False
    host = sock.getsockname()[0]
    return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) and (
        host == "::" or host.startswith("::ffff:")
    )


def grow_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Ask for a buffer of *size* bytes and take what is granted, never less than now.

    Linux cuts the wish down to ``net.core.rmem_max`` and ``wmem_max`` (socket(7));
    other systems refuse what is too much, so ask for less and less.
    """
    before = sock.getsockopt(socket.SOL_SOCKET, option)
    while size > before:
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, size)
        except OSError:
            size //= 2
        else:
            return


def has_default_buffer(sock: socket.socket, option: int) -> bool:
    """Tell whether a buffer has the size that the system gave it."""
    return sock.getsockopt(socket.SOL_SOCKET, option) == _default_buffer(option)


@cache
def _default_buffer(option: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, option)


def set_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Set a buffer to *size* bytes; the kernel has the last word (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, option, size)


def kernel_drops(sock: socket.socket) -> int:
    """Return how many datagrams the kernel dropped on this socket; 0 if unknown.

    Asked on demand: the alternative, SO_RXQ_OVFL, adds a control message to every
    datagram, and tells of a drop only when a later datagram gets through.
    """
    if sys.platform != "linux":
        return 0
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(words)[_MEMINFO_DROPS])
    except (OSError, struct.error):
        return 0


class BoundPath:
    """The file that binding a UNIX datagram socket makes, which outlives the socket.

    It is removed when the endpoint closes, so that the path can be bound again, but
    only while it is still the same file.
    """

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str | bytes) -> None:
        self._path = path
        self._identity = self._look()

    def remove(self) -> None:
        """Remove the file, if it is there and ours."""
        if self._identity is not None and self._look() == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except (OSError, ValueError):  # gone; or an abstract name, which has no file
            return None
        return found.st_dev, found.st_ino


def _accepts(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True
