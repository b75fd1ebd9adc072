"""Sockets: create and configure them, and query the kernel. No event loop.

Ports aren't shared unless the caller asks for it. SO_REUSEADDR on a datagram socket
lets another process, even of another user, bind the same port and take every datagram
(bpo-37228), so nothing here sets it; ``shared_port`` does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from functools import cache
from typing import Any, Final, NamedTuple

from .._errors import with_context
from .._types import Datagram, Timestamps
from . import addresses, control_data
from .addresses import SocketAddress
from .machine import new_socket

# include/uapi/linux/udp.h; the socket module lacks them.
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
_IPV4_INFO: Final = (
    control_data.IP_PKTINFO,
    control_data.IP_RECVTOS,
    control_data.IP_RECVTTL,
)
_IPV6_INFO: Final = (
    control_data.IPV6_RECVPKTINFO,
    control_data.IPV6_RECVTCLASS,
    control_data.IPV6_RECVHOPLIMIT,
)
# SOF_TIMESTAMPING_ flags, include/uapi/linux/net_tstamp.h
_RX_HARDWARE: Final = 1 << 2
_RAW_HARDWARE: Final = 1 << 6

DEFAULT_BUFFER: Final = 4 * 1024 * 1024  # bytes to request, in each direction

MAX_READ: Final = 65536
"""Bytes per read. UDP datagrams and coalesced trains aren't longer, because the length
fields of the IPv4 and UDP headers have 16 bits."""

_PEEK_LENGTH: Final = int(socket.MSG_PEEK | getattr(socket, "MSG_TRUNC", 0))

_NO_FREE_PORT: Final = "the system has no free port left"

MIN_DATAGRAM_COST: Final = 256
"""The minimum number of bytes charged for a queued datagram: the size of the kernel's
own structure, sk_buff."""

INET: Final = (socket.AF_INET, socket.AF_INET6)

# None if the system doesn't support it.
AF_UNIX: Final[int | None] = getattr(socket, "AF_UNIX", None)
SO_REUSEPORT: Final[int | None] = getattr(socket, "SO_REUSEPORT", None)


class Offload(NamedTuple):
    """The kernel's offloads."""

    gso_segments: int
    """Maximum datagrams per send (UDP_SEGMENT); 1 without GSO."""

    gro: bool
    """Whether one read may return many datagrams (UDP_GRO)."""


@cache
def probe_offload() -> Offload:
    """Probe the kernel's offloads, once per process.

    The number of segments is an upper limit: older kernels accept 64 segments, newer
    ones 128 (UDP_MAX_SEGMENTS), and a driver may refuse trains altogether. Both show
    only when sending, and the batch I/O adapts.
    """
    if sys.platform != "linux":
        return Offload(1, gro=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        gso = _accepts(sock, SOL_UDP, UDP_SEGMENT, 0)
        gro = _accepts(sock, SOL_UDP, UDP_GRO, 1)
    return Offload(128 if gso else 1, gro)


def enable_gro(sock: socket.socket) -> bool:
    """Enable UDP_GRO if possible; return whether it's enabled."""
    return (
        probe_offload().gro
        and sock.family in INET
        and _accepts(sock, SOL_UDP, UDP_GRO, 1)
    )


def enable_packet_info(sock: socket.socket, timestamps: Timestamps) -> bool:
    """Enable packet info if possible; return whether it's enabled.

    Raises:
        ValueError: If this system doesn't support *timestamps*.
    """
    supported = sys.platform == "linux" and sock.family in INET
    if supported:
        for option in _IPV4_INFO:
            sock.setsockopt(socket.IPPROTO_IP, option, 1)
        if sock.family == socket.AF_INET6:
            for option in _IPV6_INFO:
                sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
    if timestamps == "hardware":
        flags = _RX_HARDWARE | _RAW_HARDWARE
        if not supported or not _accepts(
            sock, _SOCKET, control_data.SO_TIMESTAMPING, flags
        ):
            raise ValueError('timestamps="hardware" is not supported on this system')
    if supported:  # an adopted socket may have either: use one clock only
        software = timestamps == "software"
        _accepts(sock, _SOCKET, control_data.SO_TIMESTAMPNS, software)
        if software:
            _accepts(sock, _SOCKET, control_data.SO_TIMESTAMPING, 0)
    return supported


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

    *v6only*: whether an IPv6 socket doesn't serve IPv4; ``None`` uses the system's
    default.

    Raises:
        OSError: If the system refuses; the message contains the *purpose* or else the
            address. The socket is closed.
    """
    try:
        sock = new_socket(family, proto)
        try:
            _prepare(sock, v6only, reuse_port, broadcast)
            if addr is not None:
                sock.bind(addr)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        doing = purpose or f"binding to {addr!r}{_advice_on_binding(exc, addr)}"
        raise with_context(exc, doing) from None
    return sock


def _advice_on_binding(error: OSError, addr: SocketAddress) -> str:
    if not isinstance(addr, tuple):
        return ""
    if error.errno == errno.EADDRNOTAVAIL:
        return "; this machine doesn't have this address"
    if error.errno != errno.EADDRINUSE:
        return ""
    if addr[1] == 0:
        return f"; {_NO_FREE_PORT}"
    return "; another socket has this port: choose another, or 0 for any that is free"


def _prepare(
    sock: socket.socket, v6only: bool | None, reuse_port: bool, broadcast: bool
) -> None:
    sock.setblocking(False)
    if sock.family == socket.AF_INET6 and v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    if sys.platform == "win32":
        # Without it, any process can share the port by setting SO_REUSEADDR.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    if reuse_port:
        assert SO_REUSEPORT is not None
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    if broadcast:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)


def connect(
    sock: socket.socket, peer: SocketAddress, *, unmap: bool = True
) -> tuple[list[Datagram[Any]], int]:
    """Connect *sock*, and read the datagrams that were queued before that.

    The kernel filters by peer only datagrams that arrive after connect(2). Those that a
    third party sent to the bound port before would still be delivered.

    Returns:
        The peer's datagrams, and the number of dropped ones from third parties. The
        peer's address is in the callers' form with *unmap*, else in the kernel's.

    Raises:
        OSError: If the system refuses; the message names the address. The socket
            stays open.
    """
    try:
        sock.connect(peer)
    except OSError as exc:
        # inet_autobind() in net/ipv4/af_inet.c
        if exc.errno == errno.EAGAIN and sock.family in INET:
            advice = f"; {_NO_FREE_PORT}"
        else:
            advice = advice_on(sock, exc, peer)
        raise with_context(exc, f"connecting to {peer!r}{advice}") from None
    backlog: list[Datagram[Any]] = []
    foreign = 0
    # The peer may keep sending, so count instead of waiting for an empty queue: after
    # this many reads, all datagrams from before the connect have been read.
    queued = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // MIN_DATAGRAM_COST
    try:
        name = sock.getpeername()
    except OSError:  # port 0: the kernel connects, but filters by host only
        name = None
    for _ in range(queued):
        try:
            data, addr = receive_whole(sock)
        except OSError:  # empty; or an ICMP error, which isn't about our datagrams
            break
        if addr == name or (name is None and addr[0] == peer[0]):
            read = addresses.public_address(addr) if unmap else addr
            backlog.append(Datagram(data, read))
        else:
            foreign += 1
    return backlog, foreign


def advice_on(sock: socket.socket, error: OSError, peer: SocketAddress) -> str:
    """Return advice about a refused destination, or ``""``.

    The system raises EACCES for a broadcast address without SO_BROADCAST (ip(7)) and,
    less often, for a route of type prohibit.
    """
    if error.errno == errno.EDESTADDRREQ:
        return "; pass an address, or open with aioudp.connect"
    if error.errno != errno.EACCES or sock.family not in INET or not peer:
        return ""
    if ":" in peer[0] and not peer[0].startswith("::ffff:"):  # IPv6 has no broadcast
        return ""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST):
        return ""
    return (
        "; if it's a broadcast address, open with broadcast=True or "
        "use aioudp.open_broadcast"
    )


def receive_whole(sock: socket.socket) -> tuple[bytes, SocketAddress]:
    """Return one datagram of any length, and its sender.

    A UNIX datagram may be as long as the sender's buffer, so this gets its length
    first: with MSG_TRUNC, recv(2) returns the full length (Linux 3.4, for AF_UNIX).
    """
    size = MAX_READ
    if sock.family == AF_UNIX:
        size = max(size, sock.recv_into(bytearray(1), 1, _PEEK_LENGTH))
    return sock.recvfrom(size)


def is_dual_stack(sock: socket.socket) -> bool:
    """Return whether this socket is an IPv6 socket that also serves IPv4 peers."""
    if sock.family != socket.AF_INET6:
        return False
    host = sock.getsockname()[0]
    return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) and (
        host == "::" or host.startswith("::ffff:")
    )


def grow_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Request a buffer of *size* bytes and accept what is granted; never shrink it.

    Linux reduces the request to ``net.core.rmem_max`` or ``wmem_max`` (socket(7)).
    Other systems refuse a request that is too large, so request smaller sizes.
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
    """Return whether a buffer has the system's default size."""
    return sock.getsockopt(socket.SOL_SOCKET, option) == _default_buffer(option)


@cache
def _default_buffer(option: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, option)


def set_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Set a buffer to *size* bytes, as far as the kernel allows (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, option, size)


def kernel_drops(sock: socket.socket) -> int:
    """Return the number of datagrams that the kernel dropped on this socket, or 0.

    The alternative, SO_RXQ_OVFL, adds a control message to every datagram, and reports
    a drop only with a later datagram.
    """
    if sys.platform != "linux":
        return 0
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(words)[_MEMINFO_DROPS])
    except (OSError, struct.error):
        return 0


class BoundPath:
    """The file that binding a UNIX datagram socket creates; it outlives the socket.

    It's removed when the endpoint closes, so that the path can be bound again, but only
    if it's still the same file.
    """

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str | bytes) -> None:
        try:  # the working directory may be another one when the file is removed
            self._path = os.path.abspath(path)
        except OSError:  # it has been deleted
            self._path = path
        self._identity = self._look()

    def remove(self) -> None:
        """Remove the file, if it exists and is ours."""
        if self._identity is not None and self._look() == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except (OSError, ValueError):  # gone; or an abstract name without a file
            return None
        return found.st_dev, found.st_ino


def _accepts(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True
