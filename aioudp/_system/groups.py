"""Multicast on one socket: options, memberships, errors. No event loop.

Memberships use the options of RFC 3678, section 5.1, which are the same for IPv4 and
IPv6 and take the index of the interface. The socket module lacks them; the values are
from include/uapi/linux/in.h on Linux, bsd/netinet/in.h on macOS and the BSDs, and
ws2ipdef.h on Windows.

When a socket is closed, the kernel leaves its groups.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Final

if sys.platform == "linux":
    _JOIN, _LEAVE, _JOIN_SOURCE, _LEAVE_SOURCE = 42, 45, 46, 47
elif sys.platform == "win32":
    _JOIN, _LEAVE, _JOIN_SOURCE, _LEAVE_SOURCE = 41, 42, 45, 46
else:
    _JOIN, _LEAVE, _JOIN_SOURCE, _LEAVE_SOURCE = 80, 81, 82, 83

# The index in struct group_req, and the padding before the sockaddr_storage.
_INDEX: Final = struct.Struct(
    {"linux": "@I0P", "darwin": "@I"}.get(sys.platform, "@I0q")
)

_IP_MULTICAST_ALL: Final = 49  # include/uapi/linux/in.h, Linux 2.6.31
_IPV6_MULTICAST_ALL: Final = 29  # include/uapi/linux/in6.h, Linux 4.20

_STORAGE: Final = 128  # bytes of a sockaddr_storage, everywhere
_ADDRESS_FIRST: Final = sys.platform not in ("linux", "win32")  # sa_len, of BSD

_LEVEL: Final = {
    socket.AF_INET: socket.IPPROTO_IP,
    socket.AF_INET6: socket.IPPROTO_IPV6,
}


def set_up(sock: socket.socket, *, ttl: int, loop: bool) -> None:
    """Set the hop limit and loopback for sending, and receive joined groups only.

    By default, a Linux socket that is bound to every address also receives the groups
    that any other socket on the machine has joined (IP_MULTICAST_ALL, ip(7)).
    """
    level = _LEVEL[socket.AddressFamily(sock.family)]
    if sock.family == socket.AF_INET6:
        sock.setsockopt(level, socket.IPV6_MULTICAST_HOPS, ttl)
        sock.setsockopt(level, socket.IPV6_MULTICAST_LOOP, loop)
        option = _IPV6_MULTICAST_ALL
    else:
        sock.setsockopt(level, socket.IP_MULTICAST_TTL, ttl)
        sock.setsockopt(level, socket.IP_MULTICAST_LOOP, loop)
        option = _IP_MULTICAST_ALL
    if sys.platform == "linux":
        sock.setsockopt(level, option, 0)


def send_through(sock: socket.socket, index: int) -> None:
    """Send to groups on the interface *index* from now on."""
    level = _LEVEL[socket.AddressFamily(sock.family)]
    if sock.family == socket.AF_INET6:
        sock.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
    elif sys.platform == "win32":  # 0.x.x.x means an index
        sock.setsockopt(level, socket.IP_MULTICAST_IF, struct.pack("!I", index))
    else:  # struct ip_mreqn
        request = struct.pack("@4s4si", bytes(4), bytes(4), index)
        sock.setsockopt(level, socket.IP_MULTICAST_IF, request)


def join(sock: socket.socket, group: str, index: int, source: str | None) -> None:
    """Join *group* on one interface, from all sources or from *source* only.

    Raises:
        OSError: With advice from :func:`_explained`. EADDRINUSE: already joined.
    """
    try:
        _request(sock, _JOIN if source is None else _JOIN_SOURCE, group, index, source)
    except OSError as exc:
        number = exc.errno
        if source is not None and number == errno.EADDRNOTAVAIL:
            number = errno.EADDRINUSE  # Linux, for a source that is already joined
        raise _explained(number, "joining", sock, group, index, source) from None


def leave(sock: socket.socket, group: str, index: int, source: str | None) -> None:
    """Leave *group* on one interface, on which it was joined with the same *source*.

    Raises:
        OSError: EADDRNOTAVAIL if it wasn't.
    """
    option = _LEAVE if source is None else _LEAVE_SOURCE
    try:
        _request(sock, option, group, index, source)
    except OSError as exc:
        number = exc.errno
        if number == errno.EINVAL:  # Linux, if no source of the group was joined
            number = errno.EADDRNOTAVAIL
        raise _explained(number, "leaving", sock, group, index, source) from None


def not_joined(group: str, source: str | None) -> OSError:
    """Return the error for leaving a group that isn't joined on any interface."""
    what = f"{group} from {source}" if source else group
    reason = os.strerror(errno.EADDRNOTAVAIL)
    return OSError(
        errno.EADDRNOTAVAIL,
        f"{reason} (leaving {what}: it isn't joined, or has another source)",
    )


def _request(
    sock: socket.socket, option: int, group: str, index: int, source: str | None
) -> None:
    """Set an option of RFC 3678: struct group_req, or group_source_req."""
    value = _INDEX.pack(index) + _socket_address(sock.family, group)
    if source is not None:
        value += _socket_address(sock.family, source)
    sock.setsockopt(_LEVEL[socket.AddressFamily(sock.family)], option, value)


def _socket_address(family: int, host: str) -> bytes:
    """Return a sockaddr_storage with *host* and port 0."""
    if family == socket.AF_INET6:
        body = bytes(6) + socket.inet_pton(family, host) + bytes(4)
    else:
        body = bytes(2) + socket.inet_pton(family, host) + bytes(8)
    head = (
        struct.pack("=BB", 2 + len(body), family)
        if _ADDRESS_FIRST
        else struct.pack("=H", family)
    )
    return (head + body).ljust(_STORAGE, b"\0")


def _explained(
    number: int | None,
    doing: str,
    sock: socket.socket,
    group: str,
    index: int,
    source: str | None,
) -> OSError:
    """Return the error with the operation that failed, and advice."""
    ipv6 = sock.family == socket.AF_INET6
    what = f"{group} from {source}" if source else group
    advice = {
        errno.EADDRINUSE: "it's already joined there; leave it before joining again",
        errno.EADDRNOTAVAIL: "it isn't joined there, or has another source",
        errno.ENODEV: f"the interface is gone, or has no {'IPv6' if ipv6 else 'IPv4'}",
        errno.ENOBUFS: "the socket has reached the system's limit; raise "
        + (
            "net.core.optmem_max or net.ipv6.mld_max_msf"
            if ipv6
            else "net.ipv4.igmp_max_memberships or, for sources, igmp_max_msf"
        )
        + ", or open another endpoint",
    }.get(number or 0)
    context = f"{doing} {what} on interface {_name(index)}"
    reason = f"{os.strerror(number or 0)} ({context}{': ' if advice else ''}"
    return OSError(number, f"{reason}{advice or ''})")


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
