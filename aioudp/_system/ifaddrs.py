"""The flags and addresses of network interfaces, as reported by the system.

There are two readers with the same result. getifaddrs(3) is in the C library of Linux,
macOS and the BSDs. Windows doesn't have it; there, psutil is used if it's installed.
psutil works everywhere, so the tests can compare the two. Neither provides indexes.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Interface, ip_address
from typing import Any, Final, NamedTuple

# include/uapi/linux/if.h; net/if.h of the BSDs has other values for the last two. When
# the carrier is lost, Linux clears IFF_LOWER_UP at once, but IFF_RUNNING up to a second
# later.
_FLAGS: Final = {
    "up": 0x1,
    "broadcast": 0x2,
    "loopback": 0x8,
    "running": 0x10000 if sys.platform == "linux" else 0x40,
    "multicast": 0x1000 if sys.platform == "linux" else 0x8000,
}

_MAX_ENTRIES: Final = 100_000
"""Maximum length of a list; a longer one is considered corrupt."""


class Entry(NamedTuple):
    """An interface with one of its addresses, or without any."""

    name: str
    flags: frozenset[str]
    addr: str | None = None
    broadcast: str | None = None


# -- getifaddrs(3)


def by_getifaddrs() -> Iterator[Entry]:
    """Yield an entry for each address and for each interface.

    Raises:
        OSError: If the call fails.
    """
    import ctypes  # imported here, because that takes longer than the whole library

    library = _library()
    head = ctypes.POINTER(_entry_type())()
    if library.getifaddrs(ctypes.byref(head)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        entry: Any = head
        for _ in range(_MAX_ENTRIES):
            if not entry:
                return
            one = entry.contents
            broadcast = None
            if one.flags & _FLAGS["broadcast"]:
                broadcast = _host(one.broadcast, ctypes.string_at)
            yield Entry(
                _interface_of(os.fsdecode(one.name)),
                frozenset(flag for flag in _FLAGS if one.flags & _FLAGS[flag]),
                _host(one.addr, ctypes.string_at),
                broadcast,
            )
            entry = one.next
    finally:
        library.freeifaddrs(head)


@functools.cache
def _library() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@functools.cache  # ctypes never frees a type that has a pointer type
def _entry_type() -> Any:
    import ctypes

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
    return Entry


def _host(pointer: int | None, read: Any) -> str | None:
    """Return the host of the sockaddr at *pointer*, or ``None``."""
    if not pointer:
        return None
    if sys.platform == "linux":
        (family,) = struct.unpack("=H", read(pointer, 2))
    else:  # the length comes first
        family = read(pointer, 2)[1]
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, read(pointer + 4, 4))
    if family != socket.AF_INET6:
        return None
    packed = bytearray(read(pointer + 8, 16))
    if sys.platform != "linux" and packed[:2] == b"\xfe\x80":
        packed[2:4] = bytes(2)  # the BSDs store the zone here
    return socket.inet_ntop(socket.AF_INET6, packed)


def _interface_of(name: str) -> str:
    """Return the name without the label that an IPv4 address can have on Linux.

    ``"eth0:1"`` is an address of eth0; names of Linux interfaces contain no colon.
    """
    return name.partition(":")[0] if sys.platform == "linux" else name


# -- psutil


def by_psutil() -> Iterator[Entry]:
    """Yield an entry for each address and for each interface.

    Raises:
        ImportError: If psutil isn't installed.
        OSError: If the system call fails.
    """
    import psutil

    stats = psutil.net_if_stats()
    for label, items in psutil.net_if_addrs().items():
        name = _interface_of(label)
        found = [
            (item.address.partition("%")[0], _broadcast_of(item))
            for item in items
            if item.family in (socket.AF_INET, socket.AF_INET6)
        ]
        flags = _flags_of(stats.get(name), found)
        yield Entry(name, flags)
        for addr, broadcast in found:
            yield Entry(name, flags, addr, broadcast)


def _broadcast_of(item: Any) -> str | None:
    """Return the broadcast address of the network; psutil has none on Windows."""
    if sys.platform != "win32" or item.family != socket.AF_INET or not item.netmask:
        broadcast: str | None = item.broadcast
        return broadcast
    link = IPv4Interface(f"{item.address}/{item.netmask}")
    if link.ip.is_loopback or link.network.num_addresses <= 2:  # RFC 3021
        return None
    return str(link.network.broadcast_address)


def _flags_of(stats: Any, found: list[tuple[str, str | None]]) -> frozenset[str]:
    """Return the flags. On Windows, psutil only reports whether an interface is up.

    It has no entry for some interfaces, which are assumed to be up.
    """
    if stats is not None and stats.flags:
        return frozenset(_FLAGS) & frozenset(stats.flags.split(","))
    flags = {"multicast"}
    if stats is None or stats.isup:
        flags |= {"up", "running"}
    if any(ip_address(addr).is_loopback for addr, _ in found):
        flags.add("loopback")
    if any(broadcast for _, broadcast in found):
        flags.add("broadcast")
    return frozenset(flags)
