"""A host: its interfaces, its ports, and which socket gets a datagram.

The rules are those of Linux (udp(7), ip(7)). ``docs/explanation/simulation.md`` lists
what is simulated and what isn't.

The file is long because the rules depend on each other: which local address, interface
and socket a datagram gets follows from the same tables.
"""

from __future__ import annotations

import errno
import socket
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any, Final, Protocol, TypeAlias

from .._system.control_data import (
    IN6_PKTINFO,
    IN_PKTINFO,
    IP_TTL,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_TCLASS,
)
from .._system.interfaces import Interface
from . import socket_options as so
from .batch import SimulatedBatchSocket
from .flight import Flight, HopAddress
from .path import Path
from .simulated_socket import (
    MAX_IPV4,
    MAX_IPV6,
    IcmpError,
    SimulatedSocket,
)
from .socket_options import refusal

EPHEMERAL: Final = range(49152, 65536)
"""The ports that port 0 chooses from (RFC 6335), one after the other."""

LIMITED_BROADCAST: Final = "255.255.255.255"

_LOOPBACK_INDEX: Final = 1


AnyInterface: TypeAlias = IPv4Interface | IPv6Interface


@dataclass(slots=True)
class Nic:
    """A network interface of a host."""

    name: str
    index: int
    addresses: list[AnyInterface] = field(default_factory=list)

    def own(self, *, v6: bool) -> str:
        """Return its first address of a family; ``""`` if it has none."""
        for one in self.addresses:
            if (one.version == 6) == v6:
                return _text(one, self.index)
        return ""

    def broadcasts(self) -> list[str]:
        """Return the broadcast addresses of its networks."""
        return [
            str(one.network.broadcast_address)
            for one in self.addresses
            if one.version == 4 and one.network.prefixlen < 31
        ]

    def described(self) -> Interface:
        """Return the interface as the library describes it."""
        loopback = self.index == _LOOPBACK_INDEX
        kind = ("loopback",) if loopback else ("broadcast", "multicast")
        return Interface(
            self.name,
            self.index,
            tuple(str(one.ip) for one in self.addresses),
            () if loopback else tuple(self.broadcasts()),
            frozenset(("up", "running", *kind)),
        )


def _key(one: Any, prefixlen: int) -> tuple[int, int, int]:
    """Return a key for the network of an address."""
    host_bits = max(0, one.max_prefixlen - prefixlen)
    return one.version, prefixlen, int(one) >> host_bits


def _text(one: AnyInterface, index: int) -> str:
    return (
        f"{one.ip}%{index}" if one.version == 6 and one.is_link_local else str(one.ip)
    )


class Fabric(Protocol):
    """What a host needs from its network."""

    version: int

    def now(self) -> float: ...
    def launch(self, path: Path, data: bytes) -> None: ...
    def soon(self, ready: Callable[[], None]) -> None: ...
    def route(self, host: Kernel, path: Path) -> None: ...
    def everybody(
        self, host: Kernel, nic: Nic, path: Path, *, far: bool
    ) -> list[Path]: ...
    def echo(self, flight: Flight, icmp: IcmpError) -> None: ...
    def path_mtu(self, source: str, destination: str) -> int: ...
    def changed(self) -> None: ...
    def attach(self) -> None: ...
    def chance(self, purpose: str) -> Callable[[], float]: ...
    def look_up(self, name: str) -> list[str]: ...


class Kernel:
    """The part of a host that its sockets and the network use."""

    def __init__(self, fabric: Fabric, realm: Any, name: str) -> None:
        self.name = name
        """What it is called; its first address, if nobody has named it."""
        self.realm = realm
        self.down = False
        """Whether it has crashed."""
        self.nics: list[Nic] = [
            Nic("lo", 1, [ip_interface("127.0.0.1/8"), ip_interface("::1/128")])
        ]
        self._fabric = fabric
        self._ports: dict[int, list[SimulatedSocket]] = {}
        self._next_port = 0
        self._addresses: set[str] = {"127.0.0.1", "::1"}
        self._broadcasts: set[str] = {"127.255.255.255"}
        self._by_network: dict[tuple[int, int, int], Nic] = {}
        self._lacking: dict[int, list[Nic]] = {4: [], 6: []}  # IPv4, or IPv6
        self._known_mtu: dict[str, int] = {}  # by destination, learned from ICMP

    # -- addresses

    def add_address(self, one: AnyInterface) -> Nic:
        """Give the host an address, on the interface where it belongs."""
        nic = self._by_network.get(_key(one, one.network.prefixlen))
        lacking = self._lacking[one.version]
        if nic is None and lacking:
            nic = lacking.pop(0)
        if nic is None:
            number = len(self.nics)
            nic = Nic(f"eth{number - 1}", number + 1)
            self.nics.append(nic)
            self._lacking[10 - one.version].append(nic)
        self._by_network.setdefault(_key(one, one.network.prefixlen), nic)
        nic.addresses.append(one)
        self._addresses.add(_text(one, nic.index))
        self._broadcasts.update(nic.broadcasts())
        self._fabric.changed()
        return nic

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, without those of the loopback interface."""
        return tuple(str(one.ip) for nic in self.nics[1:] for one in nic.addresses)

    def is_own(self, ip: str) -> bool:
        """Return whether an address belongs to this host."""
        return ip in self._addresses or ip.startswith("127.")

    def interfaces(self) -> list[Interface]:
        """Return its interfaces, in the order of their indexes."""
        return [nic.described() for nic in self.nics]

    def look_up(self, name: str) -> list[str]:
        return self._fabric.look_up(name)

    def nic(self, where: int | str) -> Nic | None:
        """Return an interface by its index or by one of its addresses."""
        for nic in self.nics:
            if nic.index == where or where in [str(one.ip) for one in nic.addresses]:
                return nic
        return None

    # -- called by sockets

    def new_socket(self, family: int, proto: int = 0) -> SimulatedSocket:
        """Return a datagram socket on this host.

        Raises:
            OSError: EAFNOSUPPORT for anything but IPv4 and IPv6.
        """
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise refusal(errno.EAFNOSUPPORT, "a simulated host has IPv4 and IPv6")
        if proto not in (0, int(socket.IPPROTO_UDP)):
            raise refusal(errno.EPROTONOSUPPORT)
        self._fabric.attach()
        return SimulatedSocket(self, family, proto)

    def batch_socket(
        self, sock: SimulatedSocket, *, unmap: bool, packet_info: bool
    ) -> SimulatedBatchSocket:
        """Return the batch I/O for a socket of this host."""
        return SimulatedBatchSocket(sock, unmap=unmap, packet_info=packet_info)

    def bind_socket(self, sock: SimulatedSocket, ip: str, port: int) -> int:
        """Give *sock* a port at *ip*, and return it."""
        if self.down:
            raise refusal(errno.ENETDOWN, f"host {self.name} has crashed")
        special = ip in ("0.0.0.0", "::", LIMITED_BROADCAST) or ip in self._broadcasts
        if not special and not self.is_own(ip) and not _is_group(ip):
            raise refusal(errno.EADDRNOTAVAIL)
        if port:
            if any(_conflicts(sock, ip, other) for other in self._ports.get(port, ())):
                raise refusal(errno.EADDRINUSE)
        else:
            port = self._free_port(sock, ip)
        self._ports.setdefault(port, []).append(sock)
        return port

    def _free_port(self, sock: SimulatedSocket, ip: str) -> int:
        for _ in EPHEMERAL:
            port = EPHEMERAL[self._next_port % len(EPHEMERAL)]
            self._next_port += 1
            if port not in self._ports:
                return port
        raise refusal(errno.EADDRINUSE)

    def release(self, sock: SimulatedSocket) -> None:
        holders = self._ports.get(sock.port, [])
        if sock in holders:
            holders.remove(sock)
            if not holders:
                del self._ports[sock.port]

    def sockets(self) -> list[SimulatedSocket]:
        """Return the sockets that have a port."""
        return [sock for holders in self._ports.values() for sock in holders]

    def joinable(self, where: int | str) -> int:
        """Return the index of the interface to join a group on; 0 lets the host choose.

        Raises:
            OSError: ENODEV if there is no such interface.
        """
        if where in (0, "0.0.0.0"):
            return self.nics[1].index if len(self.nics) > 1 else _LOOPBACK_INDEX
        nic = self.nic(where)
        if nic is None:
            raise refusal(errno.ENODEV)
        return nic.index

    def is_current(self, path: Path) -> bool:
        return path.version == self._fabric.version

    def soon(self, ready: Callable[[], None]) -> None:
        self._fabric.soon(ready)

    def local_ip(self, sock: SimulatedSocket, ip: str) -> str:
        """Return the address that *sock* sends to *ip* from."""
        if sock.bound_ip not in ("", "0.0.0.0", "::"):
            return sock.bound_ip
        if self.is_own(ip):
            return "127.0.0.1" if ip.startswith("127.") else ip
        nic = self._nic_towards(ip, 0)
        return nic.own(v6=":" in ip)

    def mtu(self, sock: SimulatedSocket, ip: str) -> int:
        """Return the path MTU to *ip*, as far as this host knows it."""
        known = self._known_mtu.get(ip)
        return known or self._fabric.path_mtu(self.local_ip(sock, ip), "")

    def path(self, sock: SimulatedSocket, addr: Any, control: Any) -> Path:
        """Look up the path from *sock* to *addr*.

        Raises:
            OSError: As Linux does: EACCES, EINVAL, ENETUNREACH, EADDRNOTAVAIL, ENODEV.
        """
        ip, port = sock.plain_destination(addr)
        v6 = ":" in ip
        options = sock.options
        local, index, tos, hops = _read_control(control)
        group = _is_group(ip)
        broadcast = ip == LIMITED_BROADCAST or ip in self._broadcasts
        if broadcast and not options[so.BROADCAST]:
            raise refusal(errno.EACCES)
        if local and not self.is_own(local):
            raise refusal(errno.EINVAL)
        if index and self.nic(index) is None:
            raise refusal(errno.ENODEV)
        if v6 and (group or "%" in ip) and not index:
            index = int(addr[3]) if len(addr) > 3 else 0
        if group and not index:
            index = options[so.MULTICAST_IF6 if v6 else so.MULTICAST_IF]
        elif not index and not v6:
            index = options[so.UNICAST_IF]
        bound = sock.bound_ip
        if not local and bound not in ("", "0.0.0.0", "::") and not _is_group(bound):
            local = bound if bound not in self._broadcasts else ""
        if local and (":" in local) != v6:
            raise refusal(errno.ENETUNREACH)
        if self.is_own(ip):
            nic = self.nics[0]
            default = "127.0.0.1" if ip.startswith("127.") else ip
        else:
            nic = self._nic_towards(ip, index, local)
            default = nic.own(v6=v6)
            if (local.startswith("127.") or local == "::1") and nic.index != 1:
                raise refusal(errno.EINVAL if not v6 else errno.ENETUNREACH)
        if tos is None:
            tos = options[so.TCLASS if v6 else so.TOS]
        if hops is None:
            kind = (
                (so.MULTICAST_HOPS6 if v6 else so.MULTICAST_TTL)
                if group
                else (so.HOPS if v6 else so.TTL)
            )
            hops = options[kind]
        whole = bool(options[so.DISCOVER6 if v6 else so.DISCOVER] == 2)
        longest = MAX_IPV6 if v6 else MAX_IPV4
        if whole:
            longest = min(longest, self.mtu(sock, ip) - (48 if v6 else 28))
        path = Path(
            sock=sock,
            source=(local or default, sock.port),
            destination=(ip, port),
            launch=self._fabric.launch,
            longest=longest,
            version=self._fabric.version,
            tos=max(tos, 0),
            hop_limit=hops if hops >= 0 else 64,
            whole=whole,
        )
        if not group and not broadcast:
            self._fabric.route(self, path)
            return path
        path.group = True
        far = group and path.hop_limit > 1 and not _stays_on_the_link(ip)
        heard = self._fabric.everybody(self, nic, path, far=far)
        # Broadcasts and groups loop back to this host, unless the sender of a group
        # disabled that. On the loopback interface, there is no other host.
        loops = options[so.MULTICAST_LOOP6 if v6 else so.MULTICAST_LOOP]
        if group and not loops and nic.index != _LOOPBACK_INDEX:
            heard = [one for one in heard if one.target is not self]
        path.branches = heard
        return path

    def is_on(self, network: AnyInterface) -> bool:
        """Return whether one of its interfaces is on the network of an address."""
        return _key(network, network.network.prefixlen) in self._by_network

    def _nic_near(self, ip: str) -> Nic | None:
        """Return the interface on whose network an address is."""
        parsed = ip_address(ip.partition("%")[0])
        lengths = {length for _, length, _ in self._by_network}
        for length in sorted(lengths, reverse=True):
            nic = self._by_network.get(_key(parsed, length))
            if nic is not None:
                return nic
        return None

    def _nic_towards(self, ip: str, index: int, local: str = "") -> Nic:
        """Return the outgoing interface."""
        v6 = ":" in ip
        if index:
            nic = self.nic(index)
            if nic is None:
                raise refusal(errno.ENODEV)
            return nic
        if local and (ip == LIMITED_BROADCAST or _is_group(ip)):
            nic = self.nic(local.partition("%")[0])
            if nic is not None:
                return nic
        if ip in self._broadcasts:
            for nic in self.nics:
                if ip in nic.broadcasts():
                    return nic
        if (near := self._nic_near(ip)) is not None:
            return near
        for nic in self.nics[1:]:
            if nic.own(v6=v6):
                return nic
        if _is_group(ip) or ip == LIMITED_BROADCAST:
            return self.nics[0]
        if v6 or len(self.nics) == 1:
            raise refusal(errno.ENETUNREACH)
        raise refusal(errno.ENETUNREACH)

    # -- arrivals

    def listens(self, port: int) -> bool:
        """Return whether any socket has a port."""
        return port in self._ports

    def receive(self, flight: Flight, interface: int) -> None:
        """Deliver a datagram to the sockets it is for."""
        if self.down:
            flight.ended("host down")
            return
        ip, port = flight.destination
        candidates = self._ports.get(port)
        if flight._path.group:
            self._receive_for_all(flight, candidates or (), interface)
            return
        chosen = None
        if candidates is not None:
            if len(candidates) == 1:
                sock = candidates[0]
                if _score(sock, ip, flight.source) >= 0:
                    chosen = sock
            else:
                chosen = _choose(candidates, ip, flight.source)
        if chosen is None:
            self._refuse(flight)
        elif chosen.take(flight, interface, ip):
            flight.fate = "delivered"
        else:
            flight.ended("buffer full")

    def _receive_for_all(
        self, flight: Flight, candidates: Iterable[SimulatedSocket], interface: int
    ) -> None:
        ip = flight.destination[0]
        nic = self.nic(interface)
        assert nic is not None
        local = nic.own(v6=":" in ip) or ip
        group = _is_group(ip)
        hearing = [
            sock
            for sock in candidates
            if _score(sock, ip, flight.source, shared=True) >= 0
            and (not group or self._hears(sock, ip, flight.source[0], interface))
        ]
        taken = [sock.take(flight, interface, local) for sock in hearing]
        if not taken:
            flight.ended("nobody there")
        elif any(taken):
            flight.ended("delivered", "" if all(taken) else "one buffer was full")
        else:
            flight.ended("buffer full")

    def _hears(
        self, sock: SimulatedSocket, group: str, source: str, interface: int
    ) -> bool:
        """Return whether a socket receives what is sent to a group."""
        key = group.partition("%")[0], interface
        if key in sock.memberships:
            sources = sock.memberships[key]
            return sources is None or source in sources
        v6 = ":" in group
        if any(joined == key[0] for joined, _ in sock.memberships):
            return False  # it joined this group, but on another interface
        if not sock.options[so.MULTICAST_ALL6 if v6 else so.MULTICAST_ALL]:
            return False
        return self.is_member(key[0], interface)

    def is_member(self, group: str, interface: int) -> bool:
        """Return whether any socket here has joined a group on an interface."""
        key = group.partition("%")[0], interface
        return any(key in sock.memberships for sock in self.sockets())

    def _refuse(self, flight: Flight) -> None:
        v6 = ":" in flight.destination[0]
        icmp = IcmpError(
            errno.ECONNREFUSED,
            1 if v6 else 3,
            4 if v6 else 3,
            flight.destination[0],
        )
        self._fabric.echo(flight, icmp)
        flight.ended("refused")

    def learn_mtu(self, ip: str, mtu: int) -> None:
        """Note the path MTU to an address, from an ICMP error."""
        self._known_mtu[ip] = mtu
        self._fabric.changed()


def _read_control(
    control: Iterable[tuple[int, int, bytes]],
) -> tuple[str, int, int | None, int | None]:
    """Read the control messages of a send: local address, interface, TOS and TTL."""
    local, index = "", 0
    tos = hops = None
    for level, kind, value in control:
        key = int(level), int(kind)
        if key == so.PKTINFO:
            index, packed, _ = IN_PKTINFO.unpack_from(value)
            local = socket.inet_ntoa(packed) if any(packed) else ""
        elif key == (so.IPV6, IPV6_PKTINFO):
            packed, index = IN6_PKTINFO.unpack_from(value)
            local = socket.inet_ntop(socket.AF_INET6, packed) if any(packed) else ""
        elif key in (so.TOS, (so.IPV6, IPV6_TCLASS)):
            tos = value[0]
        elif key in ((so.IP, IP_TTL), (so.IPV6, IPV6_HOPLIMIT)):
            hops = value[0]
    return local, index, tos, hops


def _is_group(ip: str) -> bool:
    if ":" in ip:
        return ip.startswith("ff")
    return 224 <= int(ip.partition(".")[0]) < 240


def _stays_on_the_link(group: str) -> bool:
    """Return whether routers don't forward a group (RFC 4291 2.7, RFC 5771 4)."""
    if ":" in group:
        return group[3:4] in "0123"
    return group.startswith("224.0.0.")


def _conflicts(sock: SimulatedSocket, ip: str, other: SimulatedSocket) -> bool:
    """Return whether two sockets can't have the same port."""
    for option in (so.REUSEADDR, so.REUSEPORT):
        if sock.options[option] and other.options[option]:
            return False
    wild = ("0.0.0.0", "::")
    ours, theirs = _serves(sock, ip), _serves(other, other.bound_ip)
    if not ours & theirs:
        return False
    return ip in wild or other.bound_ip in wild or ip == other.bound_ip


def _serves(sock: SimulatedSocket, ip: str) -> set[int]:
    """Return the IP versions that a socket serves at an address."""
    if ip == "::":
        return {4, 6} if sock.dual_stack else {6}
    return {6} if ":" in ip else {4}


def _score(
    sock: SimulatedSocket, ip: str, source: HopAddress, *, shared: bool = False
) -> int:
    """Return how well a socket matches a datagram; -1 if it doesn't.

    Like compute_score() in net/ipv4/udp.c: a more specific match scores higher.
    """
    score = 0
    bound = sock.bound_ip
    if bound == ip:
        score = 2
    elif bound == "0.0.0.0":
        if ":" in ip:
            return -1
        score = 1
    elif bound == "::":
        if ":" not in ip and not sock.dual_stack:
            return -1
    elif not (shared and bound == LIMITED_BROADCAST):
        return -1
    peer = sock.peer
    if peer is not None:
        if peer != source:
            return -1
        score += 4
    return score


def _choose(
    candidates: list[SimulatedSocket], ip: str, source: HopAddress
) -> SimulatedSocket | None:
    """Return the socket that gets a datagram: the best match.

    Of equal ones, the newest; with SO_REUSEPORT, one chosen by a hash of the sender's
    address.
    """
    best: list[SimulatedSocket] = []
    highest = 0
    for sock in candidates:
        score = _score(sock, ip, source)
        if score > highest or (score >= 0 and not best):
            best, highest = [sock], score
        elif score == highest and best:
            best.append(sock)
    if not best:
        return None
    if len(best) > 1 and all(sock.options[so.REUSEPORT] for sock in best):
        return best[zlib.crc32(f"{source[0]}:{source[1]}".encode()) % len(best)]
    return best[-1]
