"""The options of a simulated socket: their defaults, and what Linux refuses.

The numbers are those of the system that the program runs on, because the library uses
them. The behaviour is that of Linux (socket(7), ip(7), ipv6(7)).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any, Final

from .._system import control_data, groups, path_mtu, sockets

RMEM_MAX: Final = 212_992
"""The defaults of ``net.core.rmem_max`` and ``wmem_max`` on Linux, in bytes; it
reserves twice as much."""

OVERHEAD: Final = 768
"""Bytes charged for the smallest datagram: the kernel's own structures."""

SOL: Final = int(socket.SOL_SOCKET)
IP: Final = int(socket.IPPROTO_IP)
IPV6: Final = int(socket.IPPROTO_IPV6)

RCVBUF: Final = SOL, int(socket.SO_RCVBUF)
SNDBUF: Final = SOL, int(socket.SO_SNDBUF)
BROADCAST: Final = SOL, int(socket.SO_BROADCAST)
REUSEADDR: Final = SOL, int(socket.SO_REUSEADDR)
REUSEPORT: Final = SOL, sockets.SO_REUSEPORT or -1
ERROR: Final = SOL, int(socket.SO_ERROR)
MEMINFO: Final = SOL, sockets.SO_MEMINFO
TIMESTAMPNS: Final = SOL, control_data.SO_TIMESTAMPNS
TIMESTAMPING: Final = SOL, control_data.SO_TIMESTAMPING

TOS: Final = IP, int(socket.IP_TOS)
TTL: Final = IP, int(socket.IP_TTL)
PKTINFO: Final = IP, control_data.IP_PKTINFO
RECVTOS: Final = IP, control_data.IP_RECVTOS
RECVTTL: Final = IP, control_data.IP_RECVTTL
RECVERR: Final = IP, sockets.IP_RECVERR
MTU: Final = IP, path_mtu.IP_MTU
DISCOVER: Final = IP, path_mtu._OPTIONS["linux"].ipv4
MULTICAST_IF: Final = IP, int(socket.IP_MULTICAST_IF)
MULTICAST_TTL: Final = IP, int(socket.IP_MULTICAST_TTL)
MULTICAST_LOOP: Final = IP, int(socket.IP_MULTICAST_LOOP)
MULTICAST_ALL: Final = IP, groups._IP_MULTICAST_ALL
ADD_MEMBERSHIP: Final = IP, int(socket.IP_ADD_MEMBERSHIP)
DROP_MEMBERSHIP: Final = IP, int(socket.IP_DROP_MEMBERSHIP)
UNICAST_IF: Final = IP, 50

V6ONLY: Final = IPV6, int(socket.IPV6_V6ONLY)
TCLASS: Final = IPV6, control_data.IPV6_TCLASS
HOPS: Final = IPV6, int(socket.IPV6_UNICAST_HOPS)
RECVPKTINFO6: Final = IPV6, control_data.IPV6_RECVPKTINFO
RECVTCLASS6: Final = IPV6, control_data.IPV6_RECVTCLASS
RECVHOPS6: Final = IPV6, control_data.IPV6_RECVHOPLIMIT
RECVERR6: Final = IPV6, sockets.IPV6_RECVERR
MTU6: Final = IPV6, path_mtu.IPV6_MTU
DISCOVER6: Final = IPV6, path_mtu._OPTIONS["linux"].ipv6
MULTICAST_IF6: Final = IPV6, int(socket.IPV6_MULTICAST_IF)
MULTICAST_HOPS6: Final = IPV6, int(socket.IPV6_MULTICAST_HOPS)
MULTICAST_LOOP6: Final = IPV6, int(socket.IPV6_MULTICAST_LOOP)
MULTICAST_ALL6: Final = IPV6, groups._IPV6_MULTICAST_ALL
JOIN_GROUP6: Final = IPV6, int(socket.IPV6_JOIN_GROUP)
LEAVE_GROUP6: Final = IPV6, int(socket.IPV6_LEAVE_GROUP)

JOINS: Final = {(level, groups._JOIN): True for level in (IP, IPV6)} | {
    (level, groups._LEAVE): False for level in (IP, IPV6)
}
SOURCE_JOINS: Final = {(level, groups._JOIN_SOURCE): True for level in (IP, IPV6)} | {
    (level, groups._LEAVE_SOURCE): False for level in (IP, IPV6)
}

_INT: Final = struct.Struct("=i")
_BYTE: Final = 0, 255

DEFAULTS: Final[dict[tuple[int, int], int]] = {
    RCVBUF: RMEM_MAX,
    SNDBUF: RMEM_MAX,
    BROADCAST: 0,
    REUSEADDR: 0,
    REUSEPORT: 0,
    TIMESTAMPNS: 0,
    TIMESTAMPING: 0,
    TOS: 0,
    TTL: 64,
    PKTINFO: 0,
    RECVTOS: 0,
    RECVTTL: 0,
    RECVERR: 0,
    DISCOVER: 0,
    MULTICAST_IF: 0,
    MULTICAST_TTL: 1,
    MULTICAST_LOOP: 1,
    MULTICAST_ALL: 1,
    UNICAST_IF: 0,
    V6ONLY: 0,
    TCLASS: 0,
    HOPS: 64,
    RECVPKTINFO6: 0,
    RECVTCLASS6: 0,
    RECVHOPS6: 0,
    RECVERR6: 0,
    DISCOVER6: 0,
    MULTICAST_IF6: 0,
    MULTICAST_HOPS6: 1,
    MULTICAST_LOOP6: 1,
    MULTICAST_ALL6: 1,
}

_RANGES: Final = {
    TOS: _BYTE,
    TTL: (1, 255),
    MULTICAST_TTL: _BYTE,
    TCLASS: (-1, 255),
    HOPS: (-1, 255),
    MULTICAST_HOPS6: (-1, 255),
}


def facts(family: int) -> dict[tuple[int, int], int]:
    """Return the read-only options of a socket: its type, family and protocol."""
    known = {
        "SO_TYPE": int(socket.SOCK_DGRAM),
        "SO_DOMAIN": family,
        "SO_PROTOCOL": int(socket.IPPROTO_UDP),
    }
    return {
        (SOL, int(getattr(socket, name))): value
        for name, value in known.items()
        if hasattr(socket, name)
    }


class SocketOptions:
    """The options of one socket, as numbers."""

    __slots__ = ("_family", "_values")

    def __init__(self, family: int) -> None:
        self._family = family
        self._values: dict[tuple[int, int], int] = {}

    def __getitem__(self, key: tuple[int, int]) -> int:
        value = self._values.get(key)
        return DEFAULTS[key] if value is None else value

    def get(self, key: tuple[int, int]) -> int:
        """Return an option, or raise ENOPROTOOPT."""
        self._check(key)
        return self[key]

    def set(self, key: tuple[int, int], value: Any) -> None:
        """Set an option to a number, or to bytes that contain one.

        Raises:
            OSError: ENOPROTOOPT if there is no such option, EINVAL for a value that
                Linux refuses.
        """
        self._check(key)
        if key == UNICAST_IF and not isinstance(value, int):
            number = int.from_bytes(value[:4], "big")
        elif key == MULTICAST_IF and not isinstance(value, int):
            # struct ip_mreqn ends with the index; 0.x.x.x is that of Windows.
            index = value[8:12] if len(value) >= 12 else value[:4][::-1]
            number = int.from_bytes(index, "little")
        elif isinstance(value, int):
            number = int(value)
        elif len(value) >= _INT.size:
            number = _INT.unpack_from(value)[0]
        elif value and key[0] == socket.IPPROTO_IP:  # ip(7): a byte will do
            number = value[0]
        else:
            raise refusal(errno.EINVAL)
        if key in (RCVBUF, SNDBUF):
            number = max(2048, 2 * min(number, RMEM_MAX))
        low, high = _RANGES.get(key, (number, number))
        if not low <= number <= high:
            raise refusal(errno.EINVAL)
        self._values[key] = number

    def _check(self, key: tuple[int, int]) -> None:
        if key not in DEFAULTS or (key[0] == IPV6 and self._family == socket.AF_INET):
            raise refusal(errno.ENOPROTOOPT)


def refusal(number: int, context: str = "") -> OSError:
    """Return the error with that number, worded as the system words it."""
    reason = os.strerror(number)
    return OSError(number, f"{reason} ({context})" if context else reason)
