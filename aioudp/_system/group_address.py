"""Pure: multicast groups, as written by callers."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any, NamedTuple, TypeAlias

GroupAddress: TypeAlias = str | tuple[str, int, int, int]
"""A group: ``"239.1.2.3"``, ``"ff15::1234"``; with a single interface,
``"ff02::1234%eth0"`` or ``("ff02::1234", 0, 0, 2)``, whose port is ignored."""

Interfaces: TypeAlias = Sequence[str | int] | None
"""Names, indexes or local addresses; ``None`` for every suitable interface."""


class Target(NamedTuple):
    """A group, its interfaces, and the source to receive from."""

    family: int
    host: str
    interfaces: Interfaces
    source: str | None = None


def parse_group(
    group: GroupAddress, interfaces: Interfaces, source: str | None
) -> Target:
    """Check a group, its interfaces and source; the group's scope is an interface.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If *group* isn't a multicast address, or includes an interface in
            addition to *interfaces*; if *source* isn't the address of a host in the
            same family.
    """
    host: Any = group
    scope: str | int = ""
    if isinstance(group, tuple) and len(group) == 4:
        host, _, _, scope = group
    if not isinstance(host, str) or not isinstance(scope, (str, int)):
        raise TypeError(
            "a group is a str or a tuple (host, port, flowinfo, scope_id), "
            f"not {group!r}"
        )
    host, _, zone = host.partition("%")
    scope = zone or scope
    try:
        parsed = ip_address(host)
    except ValueError:
        raise ValueError(f"{group!r} is not a numeric address") from None
    if not parsed.is_multicast:
        raise ValueError(
            f"{group!r} is not a multicast address: 224.0.0.0/4 or ff00::/8"
        )
    if isinstance(interfaces, (str, int)):
        raise TypeError(f"interfaces must be a sequence, got {interfaces!r}")
    if scope:
        if interfaces is not None:
            raise ValueError(f"{group!r} includes an interface; omit interfaces=")
        numeric = isinstance(scope, str) and scope.isascii() and scope.isdigit()
        interfaces = [int(scope) if numeric else scope]
    family = AF_INET6 if parsed.version == 6 else AF_INET
    wanted = None if interfaces is None else tuple(interfaces)
    return Target(family, str(parsed), wanted, _parse_source(source, family))


def is_group(host: object) -> bool:
    """Return whether *host* is a multicast address."""
    try:
        return ip_address(str(host).partition("%")[0]).is_multicast
    except ValueError:
        return False


def _parse_source(source: str | None, family: int) -> str | None:
    """Return the source's address in its canonical form."""
    if source is None:
        return None
    if not isinstance(source, str):
        raise TypeError(f"source must be a str, got {source!r}")
    try:
        parsed = ip_address(source.partition("%")[0])
    except ValueError:
        raise ValueError(f"the source {source!r} is not a numeric address") from None
    if parsed.is_multicast or (parsed.version == 6) != (family == AF_INET6):
        raise ValueError(
            f"the source {source!r} is not the address of a host in the group's family"
        )
    return str(parsed)
