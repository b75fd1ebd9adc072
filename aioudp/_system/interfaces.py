"""The network interfaces of this machine, with their addresses and their state.

The socket module knows names and indexes alone; the rest is told by ``ifaddrs``.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from .ifaddrs import Entry, by_getifaddrs, by_psutil


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

    On Windows their addresses and flags are known if psutil is installed, and their
    names are then those that Windows shows, as in ``"Wi-Fi"``.

    Raises:
        OSError: If the system does not tell.
    """
    names = dict(socket.if_nameindex())
    indexes = {name: index for index, name in names.items()}
    entries: dict[int, list[Entry]] = {index: [] for index in names}
    for entry in _entries():
        index = indexes.get(entry.name) or _index_of_alias(entry.name)
        if index in entries:  # or it came since
            entries[index].append(entry)
            names[index] = entry.name
    return [
        Interface(
            names[index],
            index,
            tuple(one.addr for one in entries[index] if one.addr),
            # glibc tells the address itself where there is no broadcast address.
            tuple(
                one.broadcast
                for one in entries[index]
                if one.broadcast not in (None, one.addr)
            ),
            frozenset().union(*(one.flags for one in entries[index])),
        )
        for index in sorted(names)
    ]


def _entries() -> Iterable[Entry]:
    if sys.platform != "win32":
        return by_getifaddrs()
    try:
        return list(by_psutil())
    except ImportError:
        return ()


def _index_of_alias(name: str) -> int:
    """Return the index of an interface by the name that Windows shows; 0 for none.

    The socket module knows it by another name.
    """
    if sys.platform == "win32":
        import ctypes

        helper = ctypes.WinDLL("iphlpapi")  # netioapi.h
        luid, index = ctypes.c_uint64(), ctypes.c_uint32()
        if not helper.ConvertInterfaceAliasToLuid(
            ctypes.c_wchar_p(name), ctypes.byref(luid)
        ):
            helper.ConvertInterfaceLuidToIndex(ctypes.byref(luid), ctypes.byref(index))
        return index.value
    return 0


def choose(
    wanted: Sequence[str | int], present: Sequence[Interface] | None = None
) -> list[Interface]:
    """Return interfaces by name, by index or by one of their addresses; each once.

    They are looked for among those that are *present*; default: as they are now.

    Raises:
        OSError: ENODEV if there is no such interface; the message names it.
        TypeError: If an item is neither a str nor an int.
    """
    present = interfaces() if present is None else present
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


def look(
    wanted: Sequence[str | int], present: Sequence[Interface]
) -> list[tuple[str, Interface | OSError]]:
    """Return interfaces, each once, with their names; or why one cannot be used."""
    found: dict[str, Interface | OSError] = {}
    for item in wanted:
        try:
            name, link = usable(*choose([item], present))
        except OSError as exc:
            name, link = str(item), exc
        found.setdefault(name, link)
    return list(found.items())


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
