"""Pure: addresses. Check them, translate them, read and write them as text.

Three forms meet here:

* what callers write and read, :data:`~aioudp.Address`;
* what a socket of a given family takes. An IPv6 socket that also serves IPv4
  (*dual-stack*) knows IPv4 peers as ``::ffff:192.0.2.1`` (RFC 4291, 2.5.5.2);
  callers never see that form;
* text such as ``[fe80::1%eth0]:53``, for command lines.

Nothing here looks a host name up, so nothing here blocks. No event loop, no clock,
and no socket is made; the one question asked of the system is the index of a zone
named in an address.
"""

from __future__ import annotations

import os
import re
from operator import index
from socket import AF_INET, AF_INET6, if_nametoindex, inet_ntop, inet_pton
from typing import Any, TypeAlias, TypeGuard

from .._types import Address

SocketAddress: TypeAlias = Any
"""An address as the socket module takes it; its shape depends on the family."""

# Text that is meant as an IP address: 192.0.2.1:53, [::1]:53, :53 or 53.
_WITH_PORT = re.compile(r"(?:(?:\[([^\]/]*)\]|([^:/\[\]]*)):)?([0-9]{1,5})", re.ASCII)

_MAPPED_TEXT = "::ffff:"
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"

MAX_KNOWN = 4096
"""Translations remembered in one table; a full table is emptied. A guess: enough
for the peers of a busy server, and under 2 MiB."""


class Destinations(dict[Any, SocketAddress]):
    """From the address a caller gives to the one its socket takes, remembered.

    Looking up a known address costs one dictionary access. An address seen for the
    first time is checked, and refused with the error of :func:`socket_address`.
    """

    __slots__ = ("dual_stack", "family")

    def __init__(self, family: int, *, dual_stack: bool) -> None:
        self.family = family
        self.dual_stack = dual_stack

    def __missing__(self, addr: object) -> SocketAddress:
        known = socket_address(addr, self.family, dual_stack=self.dual_stack)
        if known == addr and type(addr) is tuple:
            known = addr  # the caller's own, which is then known at a glance
        # An interface may come back under another index: ask again every time.
        if isinstance(addr, tuple) and "%" not in addr[0]:
            if len(self) >= MAX_KNOWN:
                self.clear()
            self[addr] = known
        return known


class LooseDestinations(Destinations):
    """The same for the drop-in, which takes all that both asyncio and uvloop take.

    The host may be ``bytes``, a number whatever has ``__index__``, and the name of a
    UNIX socket any text.
    """

    __slots__ = ()

    def __missing__(self, addr: object) -> SocketAddress:
        if isinstance(addr, (str, bytes)):
            if self.family in (AF_INET, AF_INET6):
                raise TypeError(_no_address(addr))
            return addr or super().__missing__(addr)
        plain = _plain(addr)
        return super().__missing__(addr) if plain is addr else self[plain]


def _plain(addr: Any) -> Any:
    """Return an address in str and int, if it is one at all."""
    if not isinstance(addr, tuple) or all(type(part) in (str, int) for part in addr):
        return addr
    try:
        host, *numbers = addr
        host = host if isinstance(host, str) else bytes.decode(bytes(host), "ascii")
        return host, *map(index, numbers)
    except (TypeError, ValueError):  # the strict check says what is wrong
        return addr


class Sources(dict[SocketAddress, Address]):
    """From the sender a dual-stack socket reports to the one callers read."""

    __slots__ = ()

    def __missing__(self, addr: SocketAddress) -> Address:
        if len(self) >= MAX_KNOWN:
            self.clear()
        known = self[addr] = public_address(addr)
        return known


# One table for all sockets of a kind: ten thousand endpoints share their peers.
_DESTINATIONS: dict[tuple[int, bool, bool], Destinations] = {}
SOURCES = Sources()


def destinations(family: int, *, dual_stack: bool, loose: bool = False) -> Destinations:
    """Return the table of destinations for sockets of this kind."""
    key = family, dual_stack, loose
    if key not in _DESTINATIONS:
        kind = LooseDestinations if loose else Destinations
        _DESTINATIONS[key] = kind(family, dual_stack=dual_stack)
    return _DESTINATIONS[key]


def public_address(addr: SocketAddress) -> Address:
    """Return the form that callers read: IPv4 as plain IPv4, no name as ``""``."""
    if addr is None:
        return ""
    if len(addr) == 4 and isinstance(addr, tuple) and addr[0].startswith(_MAPPED_TEXT):
        host = addr[0][len(_MAPPED_TEXT) :]
        if "." in host:  # and not ::ffff:1:2:3:4, an IPv6 address like any other
            return host, addr[1]
    result: Address = addr
    return result


def socket_address(
    addr: object, family: int, *, dual_stack: bool = False, any_port: bool = False
) -> SocketAddress:
    """Return *addr* in the form that a socket of *family* takes without a look-up.

    With *any_port*, port 0 is allowed, which lets the system choose.

    Raises:
        TypeError: If *addr* has not the shape of an address.
        ValueError: If the host is not a numeric address of a family that the socket
            can reach, or if a number is out of range.
    """
    if family not in (AF_INET, AF_INET6):
        return unix_path(addr)
    host, port, flowinfo, scope_id = _parts(addr)
    _check_range("port", port, 0 if any_port else 1, 0xFFFF, addr)
    _check_range("flowinfo", flowinfo, 0, 0xFFFFF, addr)
    host, zone = numeric_host(host, addr)
    scope_id = zone or scope_id
    _check_range("scope_id", scope_id, 0, 0xFFFFFFFF, addr)
    if ":" in host and family == AF_INET6:
        return host, port, flowinfo, scope_id
    if ":" not in host and family == AF_INET:
        return host, port
    if ":" not in host and dual_stack:
        return _MAPPED_TEXT + host, port, 0, 0
    theirs, ours = ("IPv4", "IPv6") if family == AF_INET6 else ("IPv6", "IPv4")
    raise ValueError(f"family mismatch: {addr!r} is {theirs}, the endpoint is {ours}")


def unix_path(addr: object) -> str | bytes:
    """Return the path of a UNIX datagram socket, or its abstract name.

    A peer that is bound to a relative path is reported by that path, so any name can
    be sent to. One that reads like an IP address is refused: it is a mistake.

    Raises:
        TypeError: If *addr* is neither text nor a path.
        ValueError: If it is empty, or reads ``host:port``.
    """
    if not isinstance(addr, (str, bytes, os.PathLike)):
        raise TypeError(f"the address of a UNIX datagram socket is a path: {addr!r}")
    path = os.fspath(addr)
    if not path:
        raise ValueError("the path of a UNIX datagram socket is empty")
    if not is_path(addr) and _reads_like_ip(path):
        raise ValueError(_no_address(path))
    return path


def is_path(addr: object) -> TypeGuard[str | bytes | os.PathLike[str]]:
    """Tell whether *addr* is certainly meant as a path, or as an abstract name.

    Text is, if there is a slash in it or a zero byte in front. Other text may as well
    be meant as ``host:port``.
    """
    if isinstance(addr, (str, bytes)):
        text = os.fsdecode(addr)
        return "/" in text or text.startswith("\0")
    return isinstance(addr, os.PathLike)


def _reads_like_ip(text: str | bytes) -> bool:
    match = _WITH_PORT.fullmatch(os.fsdecode(text))
    return match is not None and ":" in match[0]


def _no_address(text: str | bytes) -> str:
    """Return what is wrong with text in the place of an address."""
    if not text:
        return "the address is empty"
    written = os.fsdecode(text)
    if match := _WITH_PORT.fullmatch(written):
        address = repr((match[1] or match[2] or "", int(match[3])))
    else:
        address = f"({written.strip('[]')!r}, port)"
    return (
        f"{text!r} is not an address: an IP address is a tuple, here {address}, "
        'and a path has a "/" in it'
    )


def numeric_family(host: str) -> int:
    """Return the family of a host that is written as an IP address; 0 for a name."""
    try:
        bare, _ = numeric_host(host, host)
    except ValueError:
        return AF_INET6 if ":" in host else 0  # no name has a colon: it is a mistake
    return AF_INET6 if ":" in bare else AF_INET


def host_and_port(addr: object) -> tuple[str, int]:
    """Return the first two parts of an address whose host may still be a name.

    Raises:
        TypeError: If *addr* has not the shape of an address.
        ValueError: If it is text but no path, or if the port is out of range.
    """
    if isinstance(addr, (str, bytes)) and not is_path(addr):
        raise ValueError(_no_address(addr))
    if isinstance(addr, tuple) and addr and addr[0] is None:
        addr = ("", *addr[1:])
    host, port, _, _ = _parts(addr)
    _check_range("port", port, 0, 0xFFFF, addr)
    return host, port


def parse_address(text: str, *, default_host: str = "") -> Address:
    """Read an address from a command line. The host may be a name.

    Understood are ``host:port``, ``[ipv6]:port``, ``[ipv6%zone]:port``, ``:port`` and
    ``port`` (with *default_host*), and ``unix:path``.

    Raises:
        ValueError: If *text* is none of these, or the port is out of range.
    """
    if text.startswith("unix:"):
        path = text[5:]
        return unix_path(path if is_path(path) or not path else f"./{path}")
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "[" in host or "]" in host:
        raise ValueError(f"an IPv6 address is written [address]:port: {text!r}")
    if not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise ValueError(f"no port from 0 to 65535 in {text!r}")
    return (host if colon and host else default_host), int(port)


def format_address(addr: Address) -> str:
    """Write *addr* as text that :func:`parse_address` reads."""
    if isinstance(addr, tuple):
        host = addr[0]
        if ":" not in host:
            return f"{host}:{addr[1]}"
        zone = f"%{addr[3]}" if len(addr) == 4 and addr[3] and "%" not in host else ""
        return f"[{host}{zone}]:{addr[1]}"
    return f"unix:{os.fsdecode(addr)}"


def _parts(addr: object) -> tuple[str, int, int, int]:
    if isinstance(addr, (str, bytes)) and _reads_like_ip(addr):
        raise ValueError(_no_address(addr))
    if not isinstance(addr, tuple) or not 2 <= len(addr) <= 4:
        raise TypeError(
            "an address is a tuple (host, port) or (host, port, flowinfo, scope_id), "
            f"not {addr!r}"
        )
    host, *numbers = addr
    if not isinstance(host, str):
        raise TypeError(f"the host of an address is a str: {addr!r}")
    if not all(isinstance(number, int) for number in numbers):
        raise TypeError(f"port, flowinfo and scope_id of an address are ints: {addr!r}")
    port, flowinfo, scope_id = (*numbers, 0, 0)[:3]
    return host, port, flowinfo, scope_id


def check_number(name: str, value: object, low: int, high: int) -> None:
    """Refuse an argument that is not an int from *low* to *high*."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")


def _check_range(name: str, value: int, low: int, high: int, addr: object) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}: {addr!r}")


def numeric_host(host: str, addr: object) -> tuple[str, int]:
    """Return a host without its zone and mapping, and the index of the zone.

    Raises:
        ValueError: If *host* is no numeric address, or there is no such zone; the
            message has *addr*.
    """
    if host == "<broadcast>":  # the socket module's name for it
        return "255.255.255.255", 0
    bare, _, zone = host.partition("%")
    try:
        if ":" not in bare:
            inet_pton(AF_INET, host)
            return host, 0
        packed = inet_pton(AF_INET6, bare)
    except (OSError, ValueError):
        raise ValueError(
            f"{addr!r} is not a numeric address; "
            "look host names up with aioudp.resolve() first"
        ) from None
    if packed.startswith(_MAPPED_PREFIX):
        return ".".join(map(str, packed[12:])), 0
    canonical = inet_ntop(AF_INET6, packed)
    return canonical, zone_index(zone, addr) if zone else 0


def zone_index(zone: str, addr: object) -> int:
    """Return the index of an interface that is given by index or by name.

    Raises:
        ValueError: If there is no interface of that name; the message has *addr*.
    """
    if zone.isascii() and zone.isdigit():
        return int(zone)
    try:
        return if_nametoindex(zone)
    except OSError:
        raise ValueError(f"there is no interface {zone!r}: {addr!r}") from None
