"""Pure: addresses. Check them, translate them, parse and format them.

This module converts between three forms:

* the form that callers use, :data:`~aioudp.Address`;
* the form that a socket of a given family uses. An IPv6 socket that also serves IPv4
  (*dual-stack*) uses ``::ffff:192.0.2.1`` for IPv4 peers (RFC 4291, 2.5.5.2); callers
  never see that form;
* text such as ``[fe80::1%eth0]:53``, for command lines.

Nothing here looks up host names, so nothing here blocks. It doesn't use an event loop,
a clock or a socket; the only system call gets the index of a zone in an address.
"""

from __future__ import annotations

import os
import re
from operator import index
from socket import AF_INET, AF_INET6, if_nametoindex, inet_ntop, inet_pton
from typing import Any, TypeAlias, TypeGuard

from .._types import Address

SocketAddress: TypeAlias = Any
"""An address in the socket module's form, which depends on the family."""

# Text that looks like an IP address: 192.0.2.1:53, [::1]:53, :53 or 53.
_WITH_PORT = re.compile(r"(?:(?:\[([^\]/]*)\]|([^:/\[\]]*)):)?([0-9]{1,5})", re.ASCII)

_MAPPED_TEXT = "::ffff:"
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"

MAX_KNOWN = 4096
"""Maximum size of a translation table; a full table is emptied. A guess: enough for the
peers of a busy server, and under 2 MiB."""


class Destinations(dict[Any, SocketAddress]):
    """A table from callers' addresses to socket addresses.

    Looking up a known address costs one dictionary access. A new address is checked,
    and refused with the error of :func:`socket_address`.
    """

    __slots__ = ("dual_stack", "family")

    def __init__(self, family: int, *, dual_stack: bool) -> None:
        self.family = family
        self.dual_stack = dual_stack

    def __missing__(self, addr: object) -> SocketAddress:
        known = socket_address(addr, self.family, dual_stack=self.dual_stack)
        if known == addr and type(addr) is tuple:
            known = addr  # the caller's own tuple, which compares by identity
        # Look up zones every time: an interface may come back with another index.
        if isinstance(addr, tuple) and "%" not in addr[0]:
            if len(self) >= MAX_KNOWN:
                self.clear()
            self[addr] = known
        return known


class LooseDestinations(Destinations):
    """The same for the drop-in, which accepts what both asyncio and uvloop accept.

    The host may be ``bytes``, a number may be any object with ``__index__``, and the
    name of a UNIX socket may be any text.
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
    """Return an address with str and int only; anything else unchanged."""
    if not isinstance(addr, tuple) or all(type(part) in (str, int) for part in addr):
        return addr
    try:
        host, *numbers = addr
        host = host if isinstance(host, str) else bytes.decode(bytes(host), "ascii")
        return host, *map(index, numbers)
    except (TypeError, ValueError):  # the strict check raises the error
        return addr


class Sources(dict[SocketAddress, Address]):
    """A table from the sender addresses of dual-stack sockets to callers' addresses."""

    __slots__ = ()

    def __missing__(self, addr: SocketAddress) -> Address:
        if len(self) >= MAX_KNOWN:
            self.clear()
        known: Address = public_address(addr)
        self[addr] = known
        return known


# All sockets of a kind share one table, so ten thousand endpoints share their peers.
_DESTINATIONS: dict[tuple[int, bool, bool], Destinations] = {}
SOURCES = Sources()


def destinations(family: int, *, dual_stack: bool, loose: bool = False) -> Destinations:
    """Return the table of destinations for sockets of this kind."""
    key = family, dual_stack, loose
    if key not in _DESTINATIONS:
        kind = LooseDestinations if loose else Destinations
        _DESTINATIONS[key] = kind(family, dual_stack=dual_stack)
    return _DESTINATIONS[key]


def public_address(addr: SocketAddress) -> Any:
    """Return the callers' form: plain IPv4, and ``""`` for no name.

    It's an ``Address``, whose kind depends on the socket.
    """
    if addr is None:
        return ""
    if len(addr) == 4 and isinstance(addr, tuple) and addr[0].startswith(_MAPPED_TEXT):
        host = addr[0][len(_MAPPED_TEXT) :]
        if "." in host:  # excludes ::ffff:1:2:3:4, an ordinary IPv6 address
            return host, addr[1]
    return addr


def socket_address(
    addr: object, family: int, *, dual_stack: bool = False, any_port: bool = False
) -> SocketAddress:
    """Return *addr* in the form that a socket of *family* uses.

    With *any_port*, port 0 is allowed, which lets the system choose.

    Raises:
        TypeError: If *addr* doesn't have the form of an address.
        ValueError: If the host isn't a numeric address of a family that the socket can
            reach, or if a number is out of range.
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

    The kernel reports a peer that is bound to a relative path by that path, so any name
    is accepted, except one that looks like an IP address, which is a mistake.

    Raises:
        TypeError: If *addr* is neither text nor a path.
        ValueError: If it's empty, or looks like ``host:port``.
    """
    if not isinstance(addr, (str, bytes, os.PathLike)):
        raise TypeError(f"a UNIX datagram socket's address must be a path: {addr!r}")
    path = os.fspath(addr)
    if not path:
        raise ValueError("the path of a UNIX datagram socket must not be empty")
    if not is_path(addr) and _looks_like_ip(path):
        raise ValueError(_no_address(path))
    return path


def is_path(addr: object) -> TypeGuard[str | bytes | os.PathLike[str]]:
    """Return whether *addr* is unambiguously a path or an abstract name.

    Text is one if it contains a slash or starts with a zero byte. Other text may be
    meant as ``host:port``.
    """
    if isinstance(addr, (str, bytes)):
        text = os.fsdecode(addr)
        return "/" in text or text.startswith("\0")
    return isinstance(addr, os.PathLike)


def _looks_like_ip(text: str | bytes) -> bool:
    match = _WITH_PORT.fullmatch(os.fsdecode(text))
    return match is not None and ":" in match[0]


def _no_address(text: str | bytes) -> str:
    """Return an error message for text that isn't an address."""
    if not text:
        return "the address is empty"
    written = os.fsdecode(text)
    if match := _WITH_PORT.fullmatch(written):
        address = repr((match[1] or match[2] or "", int(match[3])))
    else:
        address = f"({written.strip('[]')!r}, port)"
    return (
        f"{text!r} is not an address: an IP address is a tuple, here {address}, "
        'and a path contains a "/"'
    )


def numeric_family(host: str) -> int:
    """Return the family of a numeric host; 0 for a name."""
    try:
        bare, _ = numeric_host(host, host)
    except ValueError:
        return AF_INET6 if ":" in host else 0  # names don't contain colons
    return AF_INET6 if ":" in bare else AF_INET


def host_and_port(addr: object) -> tuple[str, int]:
    """Return the first two parts of an address whose host may still be a name.

    Raises:
        TypeError: If *addr* doesn't have the form of an address.
        ValueError: If it's text but not a path, or if the port is out of range.
    """
    if isinstance(addr, (str, bytes)) and not is_path(addr):
        raise ValueError(_no_address(addr))
    if isinstance(addr, tuple) and addr and addr[0] is None:
        addr = ("", *addr[1:])
    host, port, _, _ = _parts(addr)
    _check_range("port", port, 0, 0xFFFF, addr)
    return host, port


def port_of(addr: object) -> int:
    """Return the port of the address that a socket is bound to.

    Raises:
        ValueError: If it's that of a UNIX datagram socket.
    """
    if not isinstance(addr, tuple):
        raise ValueError(f"a UNIX datagram socket has no port, only a path: {addr!r}")
    return int(addr[1])


def parse_address(text: str, *, default_host: str = "") -> Address:
    """Parse an address from a command line. The host may be a name.

    Accepts ``host:port``, ``[ipv6]:port``, ``[ipv6%zone]:port``, ``:port`` and ``port``
    (with *default_host*), and ``unix:path``.

    Raises:
        ValueError: If *text* is none of these, or the port is out of range.
    """
    if text.startswith("unix:"):
        path = text[5:]
        return unix_path(path if is_path(path) or not path else f"./{path}")
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if (":" in host and not bracketed) or "[" in host or "]" in host:
        raise ValueError(f"IPv6 addresses have the form [address]:port: {text!r}")
    if not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise ValueError(f"no port from 0 to 65535 in {text!r}")
    return (host if colon and host else default_host), int(port)


def format_address(addr: Address) -> str:
    """Format *addr* as text for :func:`parse_address`."""
    if isinstance(addr, tuple):
        host = addr[0]
        if ":" not in host and host != "unix":  # which would begin a path
            return f"{host}:{addr[1]}"
        zone = f"%{addr[3]}" if len(addr) == 4 and addr[3] and "%" not in host else ""
        return f"[{host}{zone}]:{addr[1]}"
    return f"unix:{os.fsdecode(addr)}"


def _parts(addr: object) -> tuple[str, int, int, int]:
    if isinstance(addr, (str, bytes)) and _looks_like_ip(addr):
        raise ValueError(_no_address(addr))
    if not isinstance(addr, tuple) or not 2 <= len(addr) <= 4:
        raise TypeError(
            "an address is a tuple (host, port) or (host, port, flowinfo, scope_id), "
            f"not {addr!r}"
        )
    host, *numbers = addr
    if not isinstance(host, str):
        raise TypeError(f"the host of an address must be a str: {addr!r}")
    for name, number in zip(("port", "flowinfo", "scope_id"), numbers, strict=False):
        if not isinstance(number, int):
            advice = f"; use int({number!r})" if isinstance(number, str) else ""
            raise TypeError(
                f"the {name} of an address must be an int: {addr!r}{advice}"
            )
    port, flowinfo, scope_id = (*numbers, 0, 0)[:3]
    return host, port, flowinfo, scope_id


def check_number(name: str, value: object, low: int, high: int) -> None:
    """Raise an error if an argument isn't an int from *low* to *high*."""
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
        ValueError: If *host* isn't a numeric address, or the zone doesn't exist; the
            message contains *addr*.
    """
    if host == "<broadcast>":  # the socket module's name
        return "255.255.255.255", 0
    bare, _, zone = host.partition("%")
    try:
        if ":" not in bare:
            inet_pton(AF_INET, host)
            return host, 0
        packed = inet_pton(AF_INET6, bare)
    except (OSError, ValueError):
        port = addr[1] if isinstance(addr, tuple) else "port"
        raise ValueError(
            f"{addr!r} is not a numeric address; "
            f"look the name up first: await aioudp.resolve({host!r}, {port})"
        ) from None
    if packed.startswith(_MAPPED_PREFIX):
        return ".".join(map(str, packed[12:])), 0
    canonical = inet_ntop(AF_INET6, packed)
    return canonical, zone_index(zone, addr) if zone else 0


def zone_index(zone: str, addr: object) -> int:
    """Return the index of an interface, given its index or name.

    Raises:
        ValueError: If no interface has that name; the message contains *addr*.
    """
    if zone.isascii() and zone.isdigit():
        return int(zone)
    try:
        return if_nametoindex(zone)
    except OSError:
        raise ValueError(f"no interface {zone!r}: {addr!r}") from None
