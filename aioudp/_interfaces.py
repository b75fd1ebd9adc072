"""The network interfaces of this machine, with their addresses and their state.

The socket module knows names and indexes alone; the rest is asked of getifaddrs(3),
which Linux, macOS and the BSDs have. Elsewhere interfaces have no addresses here.

Imports nothing of the package.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

# include/uapi/linux/if.h; net/if.h of the BSDs has other values for the last two. Linux
# puts IFF_RUNNING off for up to a second after the carrier went, not IFF_LOWER_UP.
_FLAGS: Final = {
    "up": 0x1,
    "broadcast": 0x2,
    "loopback": 0x8,
    "running": 0x10000 if sys.platform == "linux" else 0x40,
    "multicast": 0x1000 if sys.platform == "linux" else 0x8000,
}

_MAX_ENTRIES: Final = 100_000
"""Of one list; a longer one is taken for a broken one."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, as it was when it was asked for."""

    name: str
    """As in ``"eth0"``."""

    index: int
    """The number that the system knows it by; the scope id of its IPv6 addresses."""

    addresses: tuple[str, ...]
    """Its own addresses, IPv4 and IPv6, without a zone."""

    broadcast_addresses: tuple[str, ...]
    """Those that reach everybody on its networks (IPv4)."""

    flags: frozenset[str]
    """Of ``"up"``, ``"running"`` (there is a carrier), ``"loopback"``,
    ``"broadcast"`` and ``"multicast"`` those that hold."""


def interfaces() -> list[Interface]:
    """Return the interfaces of this machine, in the order of their indexes.

    Raises:
        OSError: If the system does not tell.
    """
    addresses: dict[str, list[str]] = {}
    broadcasts: dict[str, list[str]] = {}
    flags: dict[str, int] = {}
    for name, bits, addr, broadcast in _entries():
        flags[name] = bits
        if addr is not None:
            addresses.setdefault(name, []).append(addr)
        # glibc tells the address itself where there is no broadcast address.
        if broadcast not in (None, addr):
            broadcasts.setdefault(name, []).append(broadcast)
    return [
        Interface(
            name,
            index,
            tuple(addresses.get(name, ())),
            tuple(broadcasts.get(name, ())),
            frozenset(flag for flag in _FLAGS if flags.get(name, 0) & _FLAGS[flag]),
        )
        for index, name in sorted(socket.if_nameindex())
    ]


def choose(wanted: Sequence[str | int]) -> list[Interface]:
    """Return interfaces by name, by index or by one of their addresses; each once.

    Raises:
        OSError: ENODEV if there is no such interface; the message names it.
        TypeError: If an item is neither a str nor an int.
    """
    present = interfaces()
    chosen: dict[int, Interface] = {}
    for item in wanted:
        if not isinstance(item, (str, int)) or isinstance(item, bool):
            raise TypeError(f"an interface is a name, an index or an address: {item!r}")
        names = {item, _usual_spelling(item)}
        for one in present:
            if names & {one.name, one.index, *one.addresses}:
                chosen[one.index] = one
                break
        else:
            reason = os.strerror(errno.ENODEV)
            raise OSError(errno.ENODEV, f"{reason} (there is no interface {item!r})")
    return list(chosen.values())


def look(item: str | int) -> tuple[str, Interface | OSError]:
    """Return an interface as it is now, and its name; or why there is none."""
    try:
        link = choose([item])[0]
    except OSError as exc:
        return str(item), exc
    return usable(link)


def usable(link: Interface) -> tuple[str, Interface | OSError]:
    """Return an interface and its name, or ENETDOWN for one that would lose it all.

    The kernel takes what is sent to an interface without a carrier, and drops it.
    """
    if "up" in link.flags and "running" not in link.flags:
        reason = f"{os.strerror(errno.ENETDOWN)} ({link.name} has no carrier)"
        return link.name, OSError(errno.ENETDOWN, reason)
    return link.name, link


def _usual_spelling(item: str | int) -> str | int:
    if isinstance(item, str):
        try:
            return str(ip_address(item))
        except ValueError:
            pass
    return item


def _entries() -> Iterator[tuple[str, int, str | None, str | None]]:
    """Yield name, flags, address and broadcast address, for each address there is."""
    if sys.platform == "win32":
        return
    import ctypes  # only here: importing it takes longer than the library itself

    class Entry(ctypes.Structure):
        """struct ifaddrs; the same on Linux, macOS and the BSDs."""

    Entry._fields_ = [
        ("next", ctypes.POINTER(Entry)),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_uint),
        ("addr", ctypes.c_void_p),
        ("netmask", ctypes.c_void_p),
        ("broadcast", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
    ]
    library = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(Entry)()
    if library.getifaddrs(ctypes.byref(head)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        entry: Any = head
        for _ in range(_MAX_ENTRIES):
            if not entry:
                return
            one = entry.contents
            has_broadcast = one.flags & _FLAGS["broadcast"] and one.broadcast
            yield (
                os.fsdecode(one.name),
                one.flags,
                _host(one.addr, ctypes.string_at),
                _host(one.broadcast, ctypes.string_at) if has_broadcast else None,
            )
            entry = one.next
    finally:
        library.freeifaddrs(head)


def _host(pointer: int | None, read: Any) -> str | None:
    """Return the host of the sockaddr that the system has there; ``None`` for none."""
    if not pointer:
        return None
    if sys.platform == "linux":
        (family,) = struct.unpack("=H", read(pointer, 2))
    else:  # its length stands first
        family = read(pointer, 2)[1]
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, read(pointer + 4, 4))
    if family != socket.AF_INET6:
        return None
    packed = bytearray(read(pointer + 8, 16))
    if sys.platform != "linux" and packed[:2] == b"\xfe\x80":
        packed[2:4] = bytes(2)  # where the BSDs keep the zone
    return socket.inet_ntop(socket.AF_INET6, packed)
