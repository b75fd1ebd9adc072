"""Pure: per-send options: source address, interface, traffic class and hop limit.

They become control messages (ip(7), RFC 3542) for one datagram, and don't change the
socket. To send to IPv4, an IPv6 socket uses those of IPv4. A new option is a field of
:class:`SendOptions` and a line of :func:`_compose`.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, inet_pton
from typing import Final, NamedTuple, TypeAlias

from .._types import Address
from .addresses import MAX_KNOWN, SocketAddress, check_number, numeric_host, zone_index
from .control_data import (
    IN6_PKTINFO,
    IN_PKTINFO,
    IP_PKTINFO,
    IP_TOS,
    IP_TTL,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_TCLASS,
)

Control: TypeAlias = tuple[tuple[int, int, bytes], ...]
"""Control messages to send: level, type and value of each."""

_IP: Final = int(IPPROTO_IP)
_IPV6: Final = int(IPPROTO_IPV6)
_INT: Final = struct.Struct("=i")
_NO_HOST: Final = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """Options for sending one datagram. ``None`` means the socket's or the system's
    default.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range, *local_addr* isn't a numeric address, or
            an interface of that name doesn't exist.
    """

    local_addr: str | Address | None = None
    """The local address to send from, a host or an address whose port is ignored."""

    interface: int | str | None = None
    """The index or name of the interface to send on. A name is looked up once, when
    the options are created."""

    tos: int | None = None
    """The type of service (IPv4) or traffic class (IPv6), from 0 to 255; the lower two
    bits are ECN."""

    hop_limit: int | None = None
    """The time to live (IPv4) or hop limit (IPv6), from 1 to 255."""

    def __post_init__(self) -> None:
        if isinstance(self.interface, str):
            index = zone_index(self.interface, self.interface)
            object.__setattr__(self, "interface", index)
        if self.local_addr is not None:
            self._set_local(self.local_addr)
        for name, low, high in (
            ("tos", 0, 0xFF),
            ("hop_limit", 1, 0xFF),
            ("interface", 1, 2**31 - 1),
        ):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, low, high)

    def _set_local(self, addr: object) -> None:
        """Store the host only; its zone is the default for the interface."""
        parts = addr if isinstance(addr, tuple) else (addr,)
        if not parts or not isinstance(parts[0], str):
            raise TypeError(f"local_addr must be a host or an address, got {addr!r}")
        host, zone = numeric_host(parts[0], addr)
        zone = zone or (parts[3] if len(parts) == 4 else 0)
        object.__setattr__(self, "local_addr", host)
        if zone and self.interface is None:
            object.__setattr__(self, "interface", zone)


class Steered(NamedTuple):
    """A destination in the socket's form, with the control messages for the kernel."""

    addr: SocketAddress
    control: Control
    options: SendOptions


def steer(addr: SocketAddress, options: SendOptions, *, ipv6: bool) -> Steered:
    """Return the destination of a datagram with options.

    *ipv6*: whether the datagram is sent as IPv6.

    Raises:
        ValueError: If *local_addr* is of the other family, or if this system doesn't
            support per-send options.
    """
    return Steered(addr, _compose(options, ipv6=ipv6), options)


@lru_cache(maxsize=MAX_KNOWN)
def _compose(options: SendOptions, *, ipv6: bool) -> Control:
    if sys.platform != "linux":
        raise ValueError(f"per-send options aren't supported on {sys.platform}")
    host = options.local_addr
    assert host is None or isinstance(host, str)  # by _set_local
    interface = options.interface
    if host is not None and (":" in host) != ipv6:
        theirs = "IPv6" if ipv6 else "IPv4"
        raise ValueError(f"family mismatch: can't send from {host!r} to {theirs}")
    control = []
    if host is not None or interface is not None:
        if ipv6:
            packed = _NO_HOST if host is None else inet_pton(AF_INET6, host)
            info = IN6_PKTINFO.pack(packed, interface or 0)
            control.append((_IPV6, IPV6_PKTINFO, info))
        else:
            packed = _NO_HOST[:4] if host is None else inet_pton(AF_INET, host)
            info = IN_PKTINFO.pack(interface or 0, packed, _NO_HOST[:4])
            control.append((_IP, IP_PKTINFO, info))
    tos_kind = (_IPV6, IPV6_TCLASS) if ipv6 else (_IP, IP_TOS)
    hop_kind = (_IPV6, IPV6_HOPLIMIT) if ipv6 else (_IP, IP_TTL)
    for kind, number in ((tos_kind, options.tos), (hop_kind, options.hop_limit)):
        if number is not None:
            control.append((*kind, _INT.pack(number)))
    return tuple(control)
