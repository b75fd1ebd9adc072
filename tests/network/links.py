"""Links between two namespaces: a cable, the addresses at its ends, a host on it.

The near end is where the tests live and open their endpoints. See veth(4),
ip-address(8), ip-neighbour(8), ip-ntable(8).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Final

from .namespaces import Namespace

DEVICE: Final = "veth0"
"""The interface at either end of the link."""

# For documentation only, so they lead nowhere (RFC 5737, RFC 3849).
NEAR: Final = {AF_INET: "192.0.2.1", AF_INET6: "2001:db8::1"}
FAR: Final = {AF_INET: "192.0.2.2", AF_INET6: "2001:db8::2"}
SILENT: Final = {AF_INET: "192.0.2.3", AF_INET6: "2001:db8::3"}
ELSEWHERE: Final = {AF_INET: "198.51.100.1", AF_INET6: "2001:db8:e::1"}

NEAR_LOCAL: Final = "fe80::1"
FAR_LOCAL: Final = "fe80::2"

MTU: Final = 1500
"""Bytes that the link carries in one piece, what veth(4) begins with."""

HEADERS: Final = {AF_INET: 20 + 8, AF_INET6: 40 + 8}
"""Bytes of the IP and the UDP header (RFC 791, RFC 8200, RFC 768)."""

_NEAR_MAC: Final = "02:00:00:00:00:01"  # locally administered
_FAR_MAC: Final = "02:00:00:00:00:02"
_PREFIX_LENGTH: Final = {AF_INET: 24, AF_INET6: 64}
_LOOKS: Final = 1000  # at something that is about to be ready; each takes 2 ms or more

_HAS_IPV6: Final = os.path.exists("/proc/net/if_inet6")


class Link:
    """An Ethernet cable between two namespaces, with IPv6 link-local addresses."""

    def __init__(self, near: Namespace, far: Namespace, device: str = DEVICE) -> None:
        self.near = near
        self.far = far
        self._device = device
        near.ip(
            f"link add {device} address {_NEAR_MAC} type veth"
            f" peer name {device} address {_FAR_MAC} netns {far.path}"
        )
        for end in near, far:
            if _HAS_IPV6:
                end.ip(f"link set {device} addrgenmode none")
            end.ip(f"link set {device} up")
        for end in near, far:
            self._wait_until_up(end)
        if _HAS_IPV6:
            self.add_address(near, NEAR_LOCAL, AF_INET6)
            self.add_address(far, FAR_LOCAL, AF_INET6)

    def add_addresses(self) -> None:
        """Give either end its global address of each family."""
        for family in [AF_INET, AF_INET6] if _HAS_IPV6 else [AF_INET]:
            self.add_address(self.near, NEAR[family], family)
            self.add_address(self.far, FAR[family], family)

    def add_address(self, end: Namespace, host: str, family: AddressFamily) -> None:
        """Add an address, and return once what is sent to it is taken.

        With IPv6 that is a moment later, although "nodad" spares it the search for
        another owner (RFC 4862): see addrconf_dad_start(), net/ipv6/addrconf.c.
        """
        version, nodad = ("-6", "nodad") if family == AF_INET6 else ("-4", "")
        end.ip(
            f"address add {host}/{_PREFIX_LENGTH[family]} dev {self._device} {nodad}"
        )
        show = version, "route", "show", "table", "local", host
        _wait_until(lambda: end.run("ip", *show).startswith("local"))

    def set_patience(self, family: AddressFamily, milliseconds: int) -> None:
        """Set how long the near end waits for a neighbour before it asks again.

        It asks three times, and then gives up.
        """
        table = "arp_cache" if family == AF_INET else "ndisc_cache"
        self.near.ip(
            f"ntable change name {table} dev {self._device} retrans {milliseconds}"
        )

    def add_far_host(self, host: str, family: AddressFamily) -> None:
        """Give the far end another address, and let the near end know its neighbour."""
        self.add_address(self.far, host, family)
        self.near.ip(
            f"neighbour replace {host} lladdr {_FAR_MAC} dev {self._device}"
            " nud permanent"
        )

    def _wait_until_up(self, end: Namespace) -> None:
        """Return once the kernel sends and receives on the interface.

        One end comes up a moment after the other was switched on. Until then the
        kernel throws away what it is given (noop_qdisc, net/sched/sch_generic.c).
        """
        show = f"link show dev {self._device}"
        _wait_until(lambda: "state UP" in end.ip(show))


def _wait_until(ready: Callable[[], bool]) -> None:
    for _ in range(_LOOKS):
        if ready():
            return
    raise RuntimeError("the link does not become ready")


class SilentHost:
    """A host at the far end whose hardware address nobody tells the near end.

    What is sent to it waits in the kernel, and keeps its place in the sender's buffer,
    for as long as the near end asks for that address (arp(7)). That is minutes here,
    or until :meth:`answer`.
    """

    def __init__(self, link: Link, family: AddressFamily) -> None:
        self._link = link
        self._family = family
        self.host: Final = SILENT[family]
        link.set_patience(family, 60_000)

    def answer(self) -> None:
        """Let everything through that was sent to the host, and will be."""
        self._link.add_far_host(self.host, self._family)
