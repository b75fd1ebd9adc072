"""Broadcast on one socket: the addresses, and the outgoing interface. No event loop.

A broadcast address doesn't determine the outgoing interface: the routing table chooses
one, for 255.255.255.255 as well as for a network with two interfaces. So the interface
is set on the socket for each datagram, and reset, so that answers don't use it too.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from .interfaces import Interface

LIMITED: Final = "255.255.255.255"
"""Reaches everybody on the link, on any network (RFC 919)."""

_OF_LOOPBACK: Final = "127.255.255.255"  # of 127.0.0.0/8; no system lists it

# include/uapi/linux/in.h, Linux 3.3; ws2ipdef.h; bsd/netinet/in.h of macOS. The other
# BSDs don't have such an option; there, the routing table chooses.
_IP_UNICAST_IF: Final = {"linux": 50, "win32": 31}.get(sys.platform)
_IP_BOUND_IF: Final = {"darwin": 25}.get(sys.platform)


@contextlib.contextmanager
def leaving_by(sock: socket.socket, index: int) -> Iterator[None]:
    """Send on the interface *index* inside the block.

    Don't await anything in the block. With index 0, the routing table chooses.
    """
    _leave_by(sock, index)
    try:
        yield
    finally:
        _leave_by(sock, 0)


def _leave_by(sock: socket.socket, index: int) -> None:
    if _IP_UNICAST_IF is not None:
        sock.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, struct.pack("!I", index))
    elif _IP_BOUND_IF is not None:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BOUND_IF, index)


def addresses_of(link: Interface) -> list[str]:
    """Return the addresses that reach everybody on the interface's networks.

    These are the directed broadcast addresses of its networks or, if there are none,
    the limited one.
    """
    if link.broadcast_addresses:
        return list(dict.fromkeys(link.broadcast_addresses))
    if any(_is_loopback(addr) for addr in link.addresses):
        return [_OF_LOOPBACK]
    return [LIMITED]


def serves(link: Interface) -> bool:
    """Return whether an interface is up and on a network that supports broadcast."""
    return link.flags >= {"up", "broadcast"} and any(
        ":" not in addr for addr in link.addresses
    )


def _is_loopback(addr: str) -> bool:
    parsed = ip_address(addr)
    return parsed.version == 4 and parsed.is_loopback
