"""The path MTU: how long a datagram may be on the way to somebody.

Forbid that datagrams are cut into fragments, and ask the system what it knows of the
path. Nothing is sent to find out: what is known comes from the interface, from the
routes, and from the ICMP messages of routers (RFC 1191, RFC 8201). The MTU counts the
whole packet, IP and UDP headers included.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final, NamedTuple

from .._errors import with_context
from . import sockets
from .addresses import SocketAddress, public_address

IP_MTU: Final = 14  # include/uapi/linux/in.h
IPV6_MTU: Final = 24  # include/uapi/linux/in6.h

_INET: Final = (socket.AF_INET, socket.AF_INET6)

_LONGEST: Final = {socket.AF_INET: 65507, socket.AF_INET6: 65527}
"""Bytes of the longest payload (RFC 768, RFC 791, RFC 8200)."""


class _Option(NamedTuple):
    """How a system is told not to cut datagrams into fragments."""

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
    """Tell whether this system knows how."""
    return sys.platform in _OPTIONS


def forbid_fragments(sock: socket.socket) -> None:
    """Have each datagram leave in one piece, or be refused with EMSGSIZE.

    On a socket that serves both IP versions this is about both.
    """
    option = _OPTIONS[sys.platform]
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, option.ipv6, option.value)
    if sock.family == socket.AF_INET or sockets.is_dual_stack(sock):
        sock.setsockopt(socket.IPPROTO_IP, option.ipv4, option.value)


def known_mtu(sock: socket.socket, peer: SocketAddress) -> int | None:
    """Return the MTU that the system knows of the path from *sock* to *peer*.

    *peer* is in the form that the socket takes, ``None`` the one it is connected to.

    Returns:
        Bytes of a whole packet; ``None`` if the system does not tell.

    Raises:
        OSError: If no way leads there; the message names the address.
    """
    if sys.platform != "linux" or sock.family not in _INET:
        return None
    if peer is None:
        try:
            return _ask(sock)
        except OSError:  # the route was removed, and no new one looked up yet
            peer = sock.getpeername()
    with socket.socket(sock.family, socket.SOCK_DGRAM) as probe:
        try:
            # Or a broadcast address is refused. Nothing is sent by connecting.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            host, _, *rest = sock.getsockname()
            probe.bind((host, 0, *rest))
            probe.connect(peer)
            return _ask(probe)
        except OSError as exc:
            doing = f"looking for the way to {public_address(peer)!r}"
            raise with_context(exc, doing) from None


def advice_on(
    sock: socket.socket, error: OSError, size: int, peer: SocketAddress
) -> str:
    """Return the MTU as a part of a message, if *size* was refused because of it."""
    if error.errno != errno.EMSGSIZE or sock.family not in _INET or not peer:
        return ""
    longest = socket.AF_INET if "." in peer[0] else socket.AF_INET6
    if size > _LONGEST[longest]:
        return ""
    try:
        mtu = known_mtu(sock, peer)
    except OSError:
        mtu = None
    return "" if mtu is None else f"; the path MTU is {mtu} bytes, headers included"


def _ask(sock: socket.socket) -> int:
    """Return the MTU of the path of a connected socket."""
    if sock.family == socket.AF_INET:
        return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
