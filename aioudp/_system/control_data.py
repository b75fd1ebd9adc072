"""Pure: control data, the packet info that comes with a received datagram.

Control messages (cmsg(3), RFC 3542) are triples of level, type and bytes. This module
parses received ones into the fields of a :class:`~aioudp.Message`; ``send_options``
builds those to send.

An IPv6 socket that also serves IPv4 gets the control messages of both families for an
IPv4 datagram.

Control messages that are too short or of an unknown type are ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    SOL_SOCKET,
    inet_ntop,
)
from typing import Any, Final, NamedTuple, TypeAlias

from .._types import Address
from .addresses import (
    MAX_KNOWN,
    public_address,
)

Info: TypeAlias = tuple[Any, ...]
"""The fields of a :class:`~aioudp.Message` after payload and sender, in its order."""

# Plain ints: comparing the socket module's enums takes longer.
_IP: Final = int(IPPROTO_IP)
_IPV6: Final = int(IPPROTO_IPV6)
_UDP: Final = int(IPPROTO_UDP)
_SOCKET: Final = int(SOL_SOCKET)

# include/uapi/linux/in.h, in6.h, udp.h and include/uapi/asm-generic/socket.h. The
# socket module lacks most of them. Other systems have other numbers and messages.
IP_TOS: Final = 1
IP_TTL: Final = 2
IP_PKTINFO: Final = 8
IP_RECVTTL: Final = 12
IP_RECVTOS: Final = 13
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
IPV6_RECVHOPLIMIT: Final = 51
IPV6_HOPLIMIT: Final = 52
IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
SO_TIMESTAMPNS: Final = 35
SO_TIMESTAMPING: Final = 37
UDP_GRO: Final = 104

_INT: Final = struct.Struct("=i")
IN_PKTINFO: Final = struct.Struct("=I4s4s")  # interface, local address, destination
IN6_PKTINFO: Final = struct.Struct("=16sI")  # address, interface
_TIMESPEC: Final = struct.Struct("@ll")  # seconds, nanoseconds
_TIMESTAMPING: Final = struct.Struct("@6l")  # software, unused, hardware

_MAX_SECONDS: Final = 2**33  # so that nanoseconds fit in 64 bits, until the year 2242
_FIRST_GROUP: Final = 224  # the lowest first byte of IPv4 groups and of broadcast


class Place(NamedTuple):
    """The destination and the interface of a datagram, from IP_PKTINFO."""

    local_addr: Address
    interface: int | None
    unicast: bool | None


@lru_cache(maxsize=MAX_KNOWN)
def ipv4_place(value: bytes, port: int) -> Place | None:
    """Read a ``struct in_pktinfo``; ``None`` if it's too short."""
    if len(value) < IN_PKTINFO.size:
        return None
    interface, local, destination = IN_PKTINFO.unpack_from(value)
    # The kernel reports the address to answer from. It differs from the destination for
    # broadcast and groups, and is empty for a datagram that arrived before the option
    # was set.
    unicast: bool | None = local == destination
    if not any(local):
        unicast = None if destination[0] < _FIRST_GROUP else False
    return Place((inet_ntop(AF_INET, destination), port), interface or None, unicast)


@lru_cache(maxsize=MAX_KNOWN)
def ipv6_place(value: bytes, port: int) -> Place | None:
    """Read a ``struct in6_pktinfo`` (RFC 3542, 6.2); ``None`` if it's too short."""
    if len(value) < IN6_PKTINFO.size:
        return None
    packed, interface = IN6_PKTINFO.unpack_from(value)
    host = inet_ntop(AF_INET6, packed)
    parsed = ip_address(packed)
    # These groups exist once per link or interface: scopes 2 and 1 (RFC 4291, 2.7).
    repeated = parsed.is_multicast and packed[1] & 0x0F in (1, 2)
    scope = interface if parsed.is_link_local or repeated else 0
    addr = public_address((host, port, 0, scope))
    return Place(addr, interface or None, not parsed.is_multicast)


def parse(control: Iterable[tuple[int, int, bytes]], port: int) -> tuple[int, Info]:
    """Parse the control messages of one msghdr.

    *port* is the endpoint's port, which the kernel doesn't include.

    Returns:
        The segment size of a train, or 0; and the other fields.
    """
    segment_size = 0
    place: Place | None = None
    tos = hop_limit = stamp = None
    for level, kind, value in control:
        if level == _IP:
            if kind == IP_PKTINFO:
                place = ipv4_place(value, port) or place
            elif kind == IP_TOS:
                tos = _number(value, tos)
            elif kind == IP_TTL:
                hop_limit = _number(value, hop_limit)
        elif level == _IPV6:
            if kind == IPV6_PKTINFO:  # for IPv4, IP_PKTINFO contains more
                place = place or ipv6_place(value, port)
            elif kind == IPV6_TCLASS:
                tos = _number(value, tos)
            elif kind == IPV6_HOPLIMIT:
                hop_limit = _number(value, hop_limit)
        elif level == _SOCKET:
            stamp = _nanoseconds(kind, value, stamp)
        elif level == _UDP and kind == UDP_GRO and len(value) >= _INT.size:
            segment_size = max(0, _INT.unpack_from(value)[0])
    local_addr, interface, unicast = place or (None, None, None)
    seconds = None if stamp is None else stamp / 1e9
    info = (
        local_addr,
        interface,
        tos,
        hop_limit,
        seconds,
        False,
        stamp,
        None,
        unicast,
    )
    return segment_size, info


def _number(value: bytes, otherwise: int | None) -> int | None:
    """Read a number that the kernel writes as one byte or as an int."""
    if len(value) >= _INT.size:
        return int(_INT.unpack_from(value)[0]) & 0xFF
    return value[0] if value else otherwise


def _nanoseconds(kind: int, value: bytes, otherwise: int | None) -> int | None:
    if kind == SO_TIMESTAMPNS and len(value) >= _TIMESPEC.size:
        seconds, nanos = _TIMESPEC.unpack_from(value)
    elif kind == SO_TIMESTAMPING and len(value) >= _TIMESTAMPING.size:
        seconds, nanos = _TIMESTAMPING.unpack_from(value)[4:]
    else:
        return otherwise
    # The field is empty if the device has no clock.
    if not (0 < seconds < _MAX_SECONDS and 0 <= nanos < 1_000_000_000):
        return otherwise
    return int(seconds * 1_000_000_000 + nanos)
