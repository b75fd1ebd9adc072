"""The path MTU: the longest packet that reaches a peer without fragmentation.

This module forbids fragmentation, and gets the path MTU from the system. It sends
nothing: the system knows the MTU from the interface, the routing table, and the ICMP
messages of routers (RFC 1191, RFC 8201). The MTU is the size of the whole packet,
including IP and UDP headers.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final, NamedTuple

from .._errors import with_context
from . import sockets
from .addresses import SocketAddress, public_address
from .machine import new_socket

IP_MTU: Final = 14  # include/uapi/linux/in.h
IPV6_MTU: Final = 24  # include/uapi/linux/in6.h

_INET: Final = (socket.AF_INET, socket.AF_INET6)

_LONGEST: Final = {"IPv4": 65507, "IPv6": 65527}
"""Bytes of the longest payload (RFC 768, RFC 791, RFC 8200)."""


class _Option(NamedTuple):
    """The socket options that forbid fragmentation."""

    ipv4: int
    ipv6: int
    value: int


_OPTIONS: Final = {
    # IP_MTU_DISCOVER and IPV6_MTU_DISCOVER in include/uapi/linux/in.h and in6.h, set to
    # IP_PMTUDISC_DO and IPV6_PMTUDISC_DO.
    "linux": _Option(10, 23, 2),
    "darwin": _Option(28, 62, 1),  # IP_DONTFRAG, IPV6_DONTFRAG: netinet/in.h, in6.h
    "win32": _Option(14, 14, 1),  # IP_DONTFRAGMENT, IPV6_DONTFRAG: ws2ipdef.h
}


def can_forbid_fragments() -> bool:
    """Return whether this system supports it."""
    return sys.platform in _OPTIONS


def forbid_fragments(sock: socket.socket) -> None:
    """Send each datagram unfragmented, or refuse it with EMSGSIZE.

    On a dual-stack socket, this applies to both IP versions.
    """
    value = _OPTIONS[sys.platform].value
    for level, option in options(sock):
        sock.setsockopt(level, option, value)


def options(sock: socket.socket) -> list[tuple[int, int]]:
    """Return the levels and the numbers of the options that decide on fragments."""
    found: list[tuple[int, int]] = []
    if sys.platform in _OPTIONS and sock.family in _INET:
        numbers = _OPTIONS[sys.platform]
        if sock.family == socket.AF_INET6:
            found.append((socket.IPPROTO_IPV6, numbers.ipv6))
        if sock.family == socket.AF_INET or sockets.is_dual_stack(sock):
            found.append((socket.IPPROTO_IP, numbers.ipv4))
    return found


def known_mtu(sock: socket.socket, peer: SocketAddress) -> int | None:
    """Return the path MTU from *sock* to *peer*, as known to the system.

    *peer* is in the socket's form; ``None`` means the peer that it's connected to.

    Returns:
        Bytes of a whole packet; ``None`` if the system doesn't provide it.

    Raises:
        OSError: If there is no route to *peer*; the message names the address.
    """
    if sys.platform != "linux" or sock.family not in _INET:
        return None
    if peer is None:
        try:
            return _path_mtu(sock)
        except OSError:  # the route was removed, and not looked up again yet
            peer = sock.getpeername()
    with new_socket(sock.family, beside=sock) as probe:
        try:
            # Without this, broadcast addresses are refused. Connecting sends nothing.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            host, _, *rest = sock.getsockname()
            probe.bind((host, 0, *rest))
            probe.connect(peer)
            return _path_mtu(probe)
        except OSError as exc:
            doing = f"looking up the route to {public_address(peer)!r}"
            raise with_context(exc, doing) from None


def advice_on(
    sock: socket.socket, error: OSError, size: int, peer: SocketAddress
) -> str:
    """Return a clause with the limit that a refused datagram exceeds, or ``""``.

    This is the length of the longest datagram, or else the MTU.
    """
    if error.errno != errno.EMSGSIZE or sock.family not in _INET or not peer:
        return ""
    version = "IPv4" if "." in peer[0] else "IPv6"
    if size > (longest := _LONGEST[version]):
        return f"; over {version}, a datagram carries at most {longest} bytes"
    try:
        mtu = known_mtu(sock, peer)
    except OSError:
        mtu = None
    return "" if mtu is None else f"; the path MTU is {mtu} bytes, headers included"


def _path_mtu(sock: socket.socket) -> int:
    """Return the path MTU of a connected socket."""
    if sock.family == socket.AF_INET:
        return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
