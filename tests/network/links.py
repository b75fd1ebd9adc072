"""Links between two namespaces: a cable, the addresses at its ends, a host on it.

The near end is where the tests live and open their endpoints. See veth(4),
ip-address(8), ip-neighbour(8), ip-ntable(8).
"""

from __future__ import annotations

import os
import time
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
_PATIENCE: Final = 2.0  # seconds, for something that is about to be ready
_ATTEMPTS: Final = 5

HAS_IPV6: Final = os.path.exists("/proc/net/if_inet6")


class Link:
    """An Ethernet cable between two namespaces, ready to be used.

    Each end has an IPv6 link-local address; with *routable* also one of each family
    that the rest of the world could reach.
    """

    def __init__(
        self,
        near: Namespace,
        far: Namespace,
        device: str = DEVICE,
        *,
        routable: bool = False,
    ) -> None:
        self.near = near
        self.far = far
        self._device = device
        ends = {near: [NEAR_LOCAL], far: [FAR_LOCAL]}
        if routable:
            ends[near] += NEAR.values()
            ends[far] += FAR.values()
        near.ip(
            f"link add {device} address {_NEAR_MAC} type veth"
            f" peer name {device} address {_FAR_MAC} netns {far.path}"
        )
        for end, hosts in ends.items():
            no_other_addresses = [f"link set {device} addrgenmode none"] * HAS_IPV6
            end.ip(*no_other_addresses, f"link set {device} up", *self._add(hosts))
        for end, hosts in ends.items():
            self._wait_until_ready(end, hosts)

    def add_address(self, end: Namespace, host: str) -> None:
        """Give one end another address."""
        end.ip(*self._add([host]))
        self._wait_until_ready(end, [host])

    def add_far_host(self, host: str) -> None:
        """Give the far end another address, and add it to the near end's neighbours."""
        self.add_address(self.far, host)
        neighbour = f"{host} lladdr {_FAR_MAC} dev {self._device}"
        self.near.ip(f"neighbour replace {neighbour} nud permanent")

    def set_patience(self, family: AddressFamily, milliseconds: int) -> None:
        """Set how long the near end waits for a neighbour before it asks again.

        It asks three times, and then gives up.
        """
        table = "arp_cache" if family == AF_INET else "ndisc_cache"
        self.near.ip(
            f"ntable change name {table} dev {self._device} retrans {milliseconds}"
        )

    def _add(self, hosts: list[str]) -> list[str]:
        """Return the commands that add addresses, of the families there are."""
        # "nodad": without a search for another owner first (RFC 4862).
        return [
            f"address add {host}/64 dev {self._device} nodad"
            if ":" in host
            else f"address add {host}/24 dev {self._device}"
            for host in hosts
            if HAS_IPV6 or ":" not in host
        ]

    def _wait_until_ready(self, end: Namespace, hosts: list[str]) -> None:
        """Return once the kernel takes what is sent and what arrives.

        One end of a link comes up a moment after the other was switched on; until
        then the kernel throws away what it is given (noop_qdisc in
        net/sched/sch_generic.c). An IPv6 address is served a moment after it was
        added (addrconf_dad_start() in net/ipv6/addrconf.c).
        """
        expected = ["state UP"]
        six = [host for host in hosts if HAS_IPV6 and ":" in host]
        expected += [f"local {host} " for host in six]
        version = "-6" if HAS_IPV6 else "-4"
        look = f"link show dev {self._device}", "route show table local"
        for _ in range(_ATTEMPTS):
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                seen = end.run("ip", version, "-batch", "-", lines=look)
                if all(sign in seen for sign in expected):
                    return
            # Once in thousands, an address that is added while the link comes up
            # never gets its route.
            end.ip(*(f"address del {host}/64 dev {self._device}" for host in six))
            end.ip(*self._add(six))
        raise RuntimeError(f"{self._device} does not become ready: {seen}")


OTHER_DEVICE: Final = "veth1"
"""The second interface of a host that has two."""


class TwoLinks:
    """A host with two interfaces, and another host at the far end of each.

    The IPv4 networks differ, the IPv6 link-local addresses are the same on both.
    """

    def __init__(self, near: Namespace, one: Namespace, two: Namespace) -> None:
        self.near: Final = near
        self.far: Final = {DEVICE: one, OTHER_DEVICE: two}
        for number, (device, where) in enumerate(self.far.items()):
            Link(near, where, device)
            for end, host in ((near, 1), (where, 2)):
                end.ip(
                    f"address add 198.51.{100 + number}.{host}/24 brd + dev {device}"
                )

    def host(self, device: str) -> str:
        """Return the IPv4 address of the far end."""
        return f"198.51.{100 + list(self.far).index(device)}.2"

    def broadcast(self, device: str) -> str:
        """Return the broadcast address of the IPv4 network."""
        return f"198.51.{100 + list(self.far).index(device)}.255"


class Path:
    """Four hosts in a row: the near one, two routers, and the far one.

    Each has an address of each family on every link that it is on.
    """

    _NETWORKS: Final = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737
    _DEVICES: Final = ("veth0", "veth1", "veth2")

    def __init__(self, *hosts: Namespace) -> None:
        self.near, self.first, self.second, self.far = hosts
        families = (AF_INET, AF_INET6) if HAS_IPV6 else (AF_INET,)
        for number, device in enumerate(self._DEVICES):
            cable = Link(hosts[number], hosts[number + 1], device)
            for end in (0, 1):
                for family in families:
                    host = self._on_link(number, end, family)
                    cable.add_address(hosts[number + end], host)
        for router in (self.first, self.second):
            router.sysctl("net.ipv4.conf.all.forwarding", "1")
            router.sysctl("net.ipv4.icmp_ratelimit", "0")  # a test asks often
            if HAS_IPV6:
                router.sysctl("net.ipv6.conf.all.forwarding", "1")
                router.sysctl("net.ipv6.icmp.ratelimit", "0")
        for family in families:
            version = "-4" if family == AF_INET else "-6"
            for here, to, link, end in (
                (self.near, "default", 0, 1),
                (self.first, self._network(2, family), 1, 1),
                (self.second, self._network(0, family), 1, 0),
                (self.far, "default", 2, 0),
            ):
                via = self._on_link(link, end, family)
                here.run("ip", version, "route", "add", to, "via", via)

    def host(self, index: int, family: AddressFamily) -> str:
        """Return the address that a host on the way, from 1 on, shows the near one."""
        return self._on_link(index - 1, 1, family)

    def set_mtu(self, mtu: int) -> None:
        """Let the link between the routers carry so many bytes in one piece."""
        for router in (self.first, self.second):
            router.ip(f"link set dev {self._DEVICES[1]} mtu {mtu}")

    def _on_link(self, link: int, end: int, family: AddressFamily) -> str:
        if family == AF_INET:
            return f"{self._NETWORKS[link]}.{end + 1}"
        return f"2001:db8:{link + 1}::{end + 1}"

    def _network(self, link: int, family: AddressFamily) -> str:
        if family == AF_INET:
            return f"{self._NETWORKS[link]}.0/24"
        return f"2001:db8:{link + 1}::/64"


class SilentHost:
    """A host at the far end whose hardware address the near end can't resolve.

    What is sent to it waits in the kernel, and keeps its place in the sender's buffer,
    for as long as the near end asks for that address (arp(7)). That is minutes here,
    or until :meth:`answer`.
    """

    def __init__(self, link: Link, family: AddressFamily) -> None:
        self._link = link
        self.host: Final = SILENT[family]
        link.set_patience(family, 60_000)

    def answer(self) -> None:
        """Let everything through that was sent to the host, and will be."""
        self._link.add_far_host(self.host)
