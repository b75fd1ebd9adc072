"""The network interfaces of this machine, with their addresses and flags.

The socket module provides names and indexes only; ``ifaddrs`` provides the others.
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
from .machine import current_machine, machine_of


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, at the time of the call to :func:`interfaces`."""

    name: str
    """As in ``"eth0"``."""

    index: int
    """The system's number for it; the scope id of its IPv6 addresses."""

    addresses: tuple[str, ...]
    """Its own addresses, IPv4 and IPv6, without a zone."""

    broadcast_addresses: tuple[str, ...]
    """The broadcast addresses of its networks (IPv4)."""

    flags: frozenset[str]
    """A subset of ``"up"``, ``"running"`` (there is a carrier), ``"loopback"``,
    ``"broadcast"`` and ``"multicast"``."""


def interfaces() -> list[Interface]:
    """Return the interfaces of this machine, in the order of their indexes.

    On Windows, addresses and flags require psutil (the extra ``lan``); with it, names
    are those shown by Windows, such as ``"Wi-Fi"``.

    Raises:
        OSError: If the system call fails.
    """
    return interfaces_beside(None)


def interface(which: int | str) -> Interface:
    """Return one interface of this machine, as :func:`interfaces` does all.

    Each call asks the system for all interfaces. A program that needs one for every
    datagram should keep them, by index.

    Args:
        which: Its index, such as :attr:`aioudp.Message.interface`, its name, or one of
            its addresses.

    Raises:
        OSError: ENODEV if there is no such interface, any more; or if the system call
            fails.
        TypeError: If *which* is neither an int nor a str.
    """
    (found,) = choose([which])
    return found


def interfaces_beside(sock: object) -> list[Interface]:
    """Return those of the machine that *sock* is on; ``None`` is the current one."""
    machine = current_machine() if sock is None else machine_of(sock)
    if machine is not None:
        return machine.interfaces()
    return kernel_interfaces()


def kernel_interfaces() -> list[Interface]:
    """Return those that the kernel has."""
    names = dict(socket.if_nameindex())
    indexes = {name: index for index, name in names.items()}
    entries: dict[int, list[Entry]] = {index: [] for index in names}
    for entry in _entries():
        index = indexes.get(entry.name) or _index_of_alias(entry.name)
        if index in entries:  # otherwise, it has just been added
            entries[index].append(entry)
            names[index] = entry.name
    return [
        Interface(
            names[index],
            index,
            tuple(one.addr for one in entries[index] if one.addr),
            # Without a broadcast address, glibc repeats the address itself.
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
    """Return the index of an interface from the name shown by Windows, or 0.

    The socket module uses other names.
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
    """Return interfaces by name, index or address; each once.

    Searches those in *present*; default: the current interfaces.

    Raises:
        OSError: ENODEV if an interface doesn't exist; the message names it.
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
            raise OSError(errno.ENODEV, f"{reason} (no interface {item!r})")
    return list(chosen.values())


def look(
    wanted: Sequence[str | int], present: Sequence[Interface]
) -> list[tuple[str, Interface | OSError]]:
    """Return interfaces with their names, each once; unusable ones as errors."""
    found: dict[str, Interface | OSError] = {}
    for item in wanted:
        try:
            name, link = usable(*choose([item], present))
        except OSError as exc:
            name, link = str(item), exc
        found.setdefault(name, link)
    return list(found.items())


def usable(link: Interface) -> tuple[str, Interface | OSError]:
    """Return an interface's name, and the interface or an error if it's unusable.

    The error is ENETDOWN if there's no carrier: the kernel would accept datagrams on
    such an interface, and drop them.
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
