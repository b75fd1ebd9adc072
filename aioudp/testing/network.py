"""The network: hosts, links, datagrams in flight, and the faults a test sets.

It uses only the event loop's clock and one timer, for the next arrival. So it behaves
the same on a virtual clock and on a real one. Arrivals are ordered by time, then by
when they were decided; no event loop can change that order.

The file is long because it is mostly public methods with their documentation. Hosts
(``kernel``), links (``lane``) and NATs (``nat``) have files of their own.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable, Iterable
from contextvars import Context
from heapq import heappop, heappush
from ipaddress import ip_interface
from typing import Any, Final, TypeAlias, Unpack

from .._system.addresses import numeric_family
from .._system.machine import Machine
from . import draws
from .calls import OpeningCalls, host_in
from .faults import (
    Deliver,
    Drop,
    FaultOptions,
    Faults,
    GilbertElliott,
    Rule,
    check_names,
)
from .flight import Flight
from .history import History
from .host import Host
from .kernel import AnyInterface, Kernel, Nic
from .lane import Happening, Lane
from .lifting import Lifting
from .nat import NAT_KINDS, Nat, NatKind
from .path import Path, Target
from .simulated_socket import IcmpError, SimulatedSocket

Place: TypeAlias = "str | Host | Nat | None"
"""One end of a link: an address, a host or its name, a NAT, or ``None`` for all."""

_PREFIX: Final = {4: 24, 6: 64}

_OBSERVER: Final = "localhost"
_OBSERVED_AT: Final = ("192.0.2.1/24", "2001:db8::1/64")  # RFC 5737, RFC 3849
_LAST_OF: Final = {4: 254, 6: 0xFFFE}


class Realm:
    """Addresses that see each other: the public ones, or those behind one NAT."""

    def __init__(self, nat: Nat | None = None) -> None:
        self.nat = nat
        self.hosts: list[Host] = []
        self.places: dict[str, tuple[Target, int]] = {}
        """The owner of each address, and the index of its interface."""

    @property
    def name(self) -> str:
        """A prefix that distinguishes its addresses from equal ones in other realms."""
        return "" if self.nat is None else f"{self.nat.address}/"


class SimulatedNetwork(OpeningCalls):
    """A network in memory: hosts, the links between them, and their faults.

    Binding to an address creates its host. Calls without an address open on the host
    ``"localhost"``, which is attached to every subnet. Each pair of addresses has its
    own link, including a host with itself. All links have the settings given here,
    until :meth:`link` changes one.

    All random decisions are derived from *seed*. The same program with the same seed
    has the same history, on every machine and every Python version.

    Args:
        seed: Any int or str.
        loss, delay, jitter, duplicate, reorder, mtu, rate, queue: See
            :class:`aioudp.testing.FaultOptions`, which has more.

    Raises:
        TypeError: If a setting is unknown or has the wrong type.
        ValueError: If a value is out of range; the message names it.
    """

    def __init__(
        self,
        seed: int | str = 0,
        *,
        loss: float | GilbertElliott = 0.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        mtu: int = 65535,
        rate: float | None = None,
        queue: int = 1000,
        **more: Any,
    ) -> None:
        if not isinstance(seed, (int, str)):
            raise TypeError(f"seed must be an int or a str, got {seed!r}")
        check_names(more)
        self.seed = seed
        """The seed of all random decisions."""
        self.history: History = History()
        """What happened to every datagram."""
        self.version: int = 0
        self.judge: Callable[[Happening], bool] | None = None
        self._faults = Faults(
            loss=loss,
            delay=delay,
            jitter=jitter,
            duplicate=duplicate,
            reorder=reorder,
            mtu=mtu,
            rate=rate,
            queue=queue,
            **more,
        )
        self._settings: list[tuple[Place, Place, bool, FaultOptions]] = []
        self._lanes: dict[tuple[str, str], tuple[str, str, Lane]] = {}
        self._rules: list[Rule] = []
        self._partitions: list[list[list[Place]]] = []
        self._public = Realm()
        self._realms = [self._public]
        self._names: dict[str, Host] = {}
        self._chances: dict[str, Callable[[], float]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._time: Callable[[], float] = lambda: 0.0
        self._flying: list[tuple[float, int, Any]] = []
        self._decided = 0  # arrivals so far
        self._numbers = 0  # datagrams so far
        self._armed: asyncio.TimerHandle | None = None
        self._armed_at = math.inf
        # Arrivals run in a context of their own, not in that of a task.
        self._context = Context()
        self._landing = False
        self._ready: list[Callable[[], None]] = []
        self._observer = self._add_host(self._public, _OBSERVER)
        for one in _OBSERVED_AT:
            self._add_address(self._observer, ip_interface(one))

    def __repr__(self) -> str:
        hosts = sum(len(realm.hosts) for realm in self._realms)
        return f"<SimulatedNetwork seed={self.seed!r} hosts={hosts} {self.history!r}>"

    # -- hosts

    def host(self, *addresses: str, name: str | None = None) -> Host:
        """Return the host with an address; create it if it doesn't exist.

        The host has one interface per subnet. An IPv4 and an IPv6 address share an
        interface.

        Args:
            addresses: The first identifies the host; the others are added to it. Each
                may have a prefix length, as in ``"10.0.0.1/16"``. Default: 24 for IPv4,
                64 for IPv6.
            name: The host's name. On a virtual clock, programs can look it up.

        Raises:
            ValueError: If no address is given, one isn't numeric, or one belongs to
                another host.
        """
        return self._host(self._public, addresses, name)

    def nat(
        self,
        address: str,
        *,
        kind: NatKind = "port-restricted",
        timeout: float = 30.0,
    ) -> PrivateNetwork:
        """Return a network of private addresses behind a NAT.

        Args:
            address: The NAT's public address.
            kind: Which senders it lets in: ``"full-cone"``, ``"address-restricted"``,
                ``"port-restricted"`` or ``"symmetric"``.
            timeout: Seconds after which a mapping expires, if no host behind the NAT
                sends through it.

        Raises:
            ValueError: If *kind* is unknown, or if a host has *address*.
        """
        return self._nat(self._public, address, kind, timeout)

    def _host(self, realm: Realm, addresses: tuple[str, ...], name: str | None) -> Host:
        if not addresses:
            raise ValueError("a host has at least one address")
        parsed = [_parse(one) for one in addresses]
        found = realm.places.get(str(parsed[0].ip))
        if found is None:
            host = self._add_host(realm, name or str(parsed[0].ip))
        elif isinstance(found[0], Host):
            host = found[0]
            if name is not None:
                host.name = name
                self._names[name] = host
        else:
            raise ValueError(f"{addresses[0]!r} is the address of a NAT")
        for one in parsed:
            self._add_address(host, one)
        return host

    def _add_host(self, realm: Realm, name: str) -> Host:
        host = Host(self, realm, name)
        realm.hosts.append(host)
        self._names[name] = host
        return host

    def _add_address(self, host: Host, one: AnyInterface) -> None:
        realm: Realm = host.realm
        ip = str(one.ip)
        if ip in realm.places:
            owner = realm.places[ip][0]
            if owner is not host:
                raise ValueError(f"{ip} is another host's address")
            return
        nic = host.add_address(one)
        realm.places[ip] = host, nic.index
        if one.version == 6 and one.is_link_local:
            realm.places[f"{ip}%{nic.index}"] = host, nic.index
        if realm is self._public and host is not self._observer:
            self._observe(one)

    def _observe(self, one: AnyInterface) -> None:
        """Give ``"localhost"`` an address on the network of *one*."""
        network = one.network
        if self._observer.is_on(one) or network.num_addresses < 8:
            return
        last = min(_LAST_OF[one.version], network.num_addresses - 2)
        for number in range(last, 0, -1):
            ip = str(network[number])
            if ip not in self._public.places:
                own = ip_interface(f"{ip}/{network.prefixlen}")
                self._add_address(self._observer, own)
                return

    def _nat(
        self, realm: Realm, address: str, kind: NatKind, timeout: float
    ) -> PrivateNetwork:
        if kind not in NAT_KINDS:
            listed = ", ".join(map(repr, NAT_KINDS))
            raise ValueError(f"kind must be one of {listed}; got {kind!r}")
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout must be positive and finite, got {timeout}")
        ip = str(_parse(address).ip)
        if ip in realm.places:
            raise ValueError(f"{ip} is a host's address")
        inner = Realm()
        nat = Nat(ip, kind, timeout, self.now, inner.places.get)
        inner.nat = nat
        nat.outer = realm
        realm.places[ip] = nat, 0
        self._realms.append(inner)
        self.changed()
        return PrivateNetwork(self, inner, nat)

    def _machine_at(self, local_addr: object) -> Machine:
        host = host_in(local_addr)
        if host.startswith("127.") or host in ("", "::1"):
            return self._observer
        if numeric_family(host):
            return self.host(host)
        named = self._names.get(host)
        if named is None:
            raise ValueError(f"there is no host {host!r} in this network")
        return named

    def chance(self, purpose: str) -> Callable[[], float]:
        """Return the random stream for a purpose: the same one each time."""
        if purpose not in self._chances:
            self._chances[purpose] = draws.stream(purpose, self.seed).random
        return self._chances[purpose]

    def _chance(self, purpose: str) -> Callable[[], float]:
        return self.chance(purpose)

    def look_up(self, name: str) -> list[str]:
        """Return the addresses of the host with a name; an empty list for none."""
        host = self._names.get(name)
        if host is self._observer:
            return ["127.0.0.1", "::1"]
        return [] if host is None else list(host.addresses)

    # -- faults

    def faults(self, **faults: Unpack[FaultOptions]) -> Lifting:
        """Change the settings of every link, from now on.

        Returns:
            A context manager. Leaving it, or its ``lift()``, reverts the change.
        """
        return self._set(None, None, True, faults)

    def link(
        self,
        a: Place,
        b: Place,
        *,
        one_way: bool = False,
        **faults: Unpack[FaultOptions],
    ) -> Lifting:
        """Change the settings of the links between two places, from now on.

        Settings that aren't given don't change. If several calls set the same one for a
        link, the latest wins. Datagrams in flight aren't affected.

        Args:
            a, b: An address, a host or its name, a NAT, or ``None`` for all.
            one_way: Whether to change only the direction from *a* to *b*.
            faults: See :class:`aioudp.testing.FaultOptions`.

        Returns:
            A context manager. Leaving it, or its ``lift()``, reverts the change.

        Raises:
            TypeError: If a setting is unknown or has the wrong type.
            ValueError: If a value is out of range, or a place is unknown.
        """
        return self._set(self._end(a), self._end(b), one_way, faults)

    def _set(self, a: Place, b: Place, one_way: bool, faults: FaultOptions) -> Lifting:
        self._faults.changed(faults)  # or it raises
        setting = a, b, one_way, faults
        self._settings.append(setting)
        self._set_lanes()

        def lift() -> None:
            self._settings = [one for one in self._settings if one is not setting]
            self._set_lanes()

        return Lifting(lift)

    def partition(self, *groups: Iterable[Place] | Place) -> Lifting:
        """Split the network into parts that can't reach each other.

        Datagrams in flight between them are lost, too.

        Args:
            groups: The parts: each is one or several of an address, a host or its name,
                a NAT. A single group is cut off from all other hosts. With several,
                hosts that are in none of them still reach all.

        Returns:
            A context manager. Leaving it, or its ``lift()``, heals the partition.

        Raises:
            ValueError: If no group is given, or a place is unknown.
        """
        if not groups:
            raise ValueError("a partition has at least one group")
        cut: list[list[Place]] = []
        for group in groups:
            if group is None:
                raise ValueError("None is everybody, which is no part")
            several = isinstance(group, Iterable) and not isinstance(group, (str, Host))
            members: Any = group if several else [group]
            cut.append([self._end(one) for one in members])
        self._partitions.append(cut)

        def lift() -> None:
            self._partitions = [one for one in self._partitions if one is not cut]

        return Lifting(lift)

    def rule(self, rule: Rule) -> Lifting:
        """Call *rule* for each datagram that is sent, to decide what happens to it.

        The rule gets the :class:`Flight` and returns :class:`Pass` or ``None``,
        :class:`Drop`, or :class:`Deliver`. The first rule that returns something other
        than ``Pass`` or ``None`` decides. If it raises, the send raises its exception.

        Returns:
            A context manager. Leaving it, or its ``lift()``, removes the rule.

        Raises:
            TypeError: If *rule* isn't callable.
        """
        if not callable(rule):
            raise TypeError(f"a rule must be callable, got {rule!r}")
        self._rules.append(rule)

        def lift() -> None:
            if rule in self._rules:
                self._rules.remove(rule)

        return Lifting(lift)

    def _end(self, place: Place) -> Place:
        if place is None or isinstance(place, (Host, Nat)):
            return place
        if isinstance(place, PrivateNetwork):
            return place.nat_device
        if not isinstance(place, str):
            raise TypeError(f"an address or a host is required, not {place!r}")
        if place in self._names and not numeric_family(place):
            return self._names[place]
        return str(_parse(place).ip)

    def _set_lanes(self) -> None:
        for source, destination, lane in self._lanes.values():
            lane.set_faults(self._faults_between(source, destination))

    def _faults_between(self, source: str, destination: str) -> Faults:
        faults = self._faults
        for a, b, one_way, options in self._settings:
            forth = _covers(a, source) and _covers(b, destination)
            back = not one_way and _covers(b, source) and _covers(a, destination)
            if forth or back:
                faults = faults.changed(options)
        return faults

    def _is_cut(self, sender: object, target: object) -> bool:
        for groups in self._partitions:
            ours = _part(groups, sender)
            theirs = _part(groups, target)
            if ours != theirs and (len(groups) == 1 or None not in (ours, theirs)):
                return True
        return False

    # -- what hosts ask

    def attach(self) -> None:
        """Use the clock of the running event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a socket without a transport: nobody will be called
        if loop is self._loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("this network is used by another event loop")
        self._loop = loop
        self._time = loop.time
        for _, due, item in self._flying:
            if isinstance(item, Flight) and item._due == due:
                item.ended("lost", "the event loop was closed")
        self._flying.clear()
        self._armed = None
        self._armed_at = math.inf

    def now(self) -> float:
        """Return the time of the event loop, in seconds; 0.0 before there is one."""
        return self._time()

    def changed(self) -> None:
        """Invalidate all paths, so that they are looked up again."""
        self.version += 1

    def path_mtu(self, source: str, destination: str) -> int:
        """Return the MTU of the interface with an address: that of the network."""
        if source == "::1":
            return 65536  # include/linux/netdevice.h: of the loopback interface
        return 65535 if source.startswith("127.") else self._faults.mtu

    def route(self, host: Kernel, path: Path) -> None:
        """Find the target of a path, and the link and NAT on the way."""
        ip = path.destination[0]
        source = path.source[0]
        realm: Realm = host.realm
        if host.is_own(ip):
            path.target, path.interface = host, 1
            prefix = f"{host.name}/" if ip.startswith("127.") or ip == "::1" else ""
            path.lane = self._lane(source, ip, prefix + realm.name)
            return
        nats = []
        found = realm.places.get(ip)
        while found is None and realm.nat is not None:
            nats.append(realm.nat)
            source = realm.nat.address
            realm = realm.nat.outer
            found = realm.places.get(ip)
        path.nat = nats or None
        if found is not None:
            path.target, path.interface = found
        path.lane = self._lane(source, ip, realm.name)

    def everybody(self, host: Kernel, nic: Nic, path: Path, *, far: bool) -> list[Path]:
        """Return the paths to all hosts that a broadcast or a group may reach."""
        source = path.source[0]
        v6 = ":" in source
        realm: Realm = host.realm
        branches = []
        for other in [host] if nic.index == 1 else realm.hosts:
            for theirs in [nic] if other is host else other.nics[1:]:
                ip = theirs.own(v6=v6)
                if not ip or not (far or other is host or _share(nic, theirs)):
                    continue
                branch = Path(
                    sock=path.sock,
                    source=path.source,
                    destination=path.destination,
                    launch=path.launch,
                    longest=path.longest,
                    version=path.version,
                    tos=path.tos,
                    hop_limit=path.hop_limit,
                    whole=path.whole,
                )
                branch.group = True
                branch.target, branch.interface = other, theirs.index
                prefix = f"{host.name}/" if nic.index == 1 else ""
                branch.lane = self._lane(source, ip, prefix + realm.name)
                branches.append(branch)
        return branches

    def _lane(self, source: str, destination: str, prefix: str) -> Lane:
        key = prefix + source, destination
        if key not in self._lanes:
            lane = Lane(self, self.seed, *key)
            lane.set_faults(self._faults_between(source, destination))
            self._lanes[key] = source, destination, lane
        return self._lanes[key][2]

    def launch(self, path: Path, data: bytes) -> None:
        """Send one datagram along a path."""
        if path.group:
            self._launch_to_all(path, data)
            return
        source = path.source
        if path.nat is not None:
            for nat in path.nat:
                source = nat.outbound(source, path.destination)
        number = self._numbers
        self._numbers = number + 1
        flight = Flight(number, self._time(), source, path.destination, data, path)
        self.history.append(flight)
        if path.target is None:
            flight.ended("nobody there")
        elif self._rules or self._partitions or path.whole:
            self._carry(flight, path)
        else:
            assert path.lane is not None
            path.lane.carry(flight)

    def _launch_to_all(self, path: Path, data: bytes) -> None:
        number = self._numbers
        self._numbers = number + 1
        now, port = self._time(), path.destination[1]
        heard = False
        for branch in path.branches:
            target: Any = branch.target
            if target.listens(port):
                heard = True
                flight = Flight(
                    number, now, path.source, path.destination, data, branch
                )
                self.history.append(flight)
                self._carry(flight, branch)
        if not heard:
            flight = Flight(number, now, path.source, path.destination, data, path)
            self.history.append(flight)
            flight.ended("nobody there")

    def _carry(self, flight: Flight, path: Path) -> None:
        """Send along a path that may have rules, partitions or a NAT."""
        lane = path.lane
        assert lane is not None
        if self._partitions and self._is_cut(path.sock.machine, path.target):
            flight.ended("cut off", "partition")
            return
        if path.whole and lane.fragments(len(flight.data)) > 1:
            mtu = lane.faults.mtu
            v6 = ":" in path.destination[0]
            icmp = IcmpError(
                errno.EMSGSIZE,
                2 if v6 else 3,
                0 if v6 else 4,
                path.destination[0],
                mtu,
            )
            self.echo(flight, icmp)
            flight.ended("too large", f"mtu={mtu}")
            return
        for rule in self._rules:
            verdict = rule(flight)
            if verdict is Drop or isinstance(verdict, Drop):
                name = getattr(rule, "__qualname__", repr(type(rule).__name__))
                flight.ended("dropped", name.rpartition("<locals>.")[2])
                return
            if isinstance(verdict, Deliver):
                flight.delayed("rule")
                self.arrive(flight, flight.sent_at + verdict.delay)
                return
        lane.carry(flight)

    def note(self, flight: Flight) -> None:
        self.history.append(flight)

    # -- in the air

    def arrive(self, flight: Flight, at: float) -> None:
        """Have *flight* arrive at the time *at*; at once if that is now."""
        self._decided = decided = self._decided + 1
        if at <= self._time():
            flight._due = 0
            self._land(flight, at)
            return
        flight._due = decided
        heappush(self._flying, (at, decided, flight))
        if at < self._armed_at:
            self._arm(at)

    def _fly(self, at: float, item: Any) -> None:
        heappush(self._flying, (at, self._decided, item))
        if at < self._armed_at:
            self._arm(at)

    def _arm(self, at: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        assert self._loop is not None
        self._armed = self._loop.call_at(at, self._on_timer, context=self._context)
        self._armed_at = at

    def _on_timer(self) -> None:
        # A loop may call early, by up to the resolution of its clock.
        now = max(self._time(), self._armed_at)
        self._armed = None
        self._armed_at = math.inf
        flying = self._flying
        ready = self._ready
        self._landing = True
        try:
            while flying and flying[0][0] <= now:
                at, decided, item = heappop(flying)
                if type(item) is not Flight:
                    item()
                elif item._due != decided:
                    continue
                elif self._partitions:
                    self._land(item, at)
                else:
                    item.arrived_at = at
                    path = item._path
                    path.target.receive(item, path.interface)
        finally:
            self._landing = False
            if flying and flying[0][0] < self._armed_at:
                self._arm(flying[0][0])
        # Sockets that received something are read now, as if the loop had polled them.
        while ready:
            self._call(ready.pop(0))

    def soon(self, ready: Callable[[], None]) -> None:
        """Call *ready* after everything that arrives at this instant is delivered."""
        if self._landing:
            self._ready.append(ready)
        else:
            assert self._loop is not None
            self._loop.call_soon(ready)

    def _call(self, ready: Callable[[], None]) -> None:
        try:
            ready()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            assert self._loop is not None
            context = {"message": f"Exception in {ready!r}", "exception": exc}
            self._loop.call_exception_handler(context)

    def _land(self, flight: Flight, at: float) -> None:
        flight.arrived_at = at
        path = flight._path
        if self._partitions and self._is_cut(path.sock.machine, path.target):
            flight.arrived_at = None
            flight.ended("cut off", "partition")
            return
        path.target.receive(flight, path.interface)

    def echo(self, flight: Flight, icmp: IcmpError) -> None:
        """Send an ICMP error about a datagram back to its sender.

        It has the delay and the loss of the link in that direction.
        """
        sock: SimulatedSocket = flight._path.sock
        if not sock.hears_icmp():
            return
        source, destination = flight.source[0], flight.destination[0]
        faults = self._faults_between(destination, source)
        loss = faults.loss if isinstance(faults.loss, float) else 0.0
        if loss and draws.stream("icmp", self.seed, flight.number).random() < loss:
            return

        def hear() -> None:
            if icmp.mtu:
                sock.machine.learn_mtu(destination, icmp.mtu)
            sock.hear(flight, icmp)

        if not faults.delay:
            hear()
        else:
            self._decided += 1
            self._fly(self._time() + faults.delay, hear)


class PrivateNetwork:
    """The hosts behind a NAT. Made by :meth:`SimulatedNetwork.nat`."""

    def __init__(self, network: SimulatedNetwork, realm: Realm, nat: Nat) -> None:
        self._network = network
        self._realm = realm
        self.nat_device = nat

    def __repr__(self) -> str:
        return f"<PrivateNetwork behind {self.address} ({self.nat_device.kind})>"

    @property
    def address(self) -> str:
        """The NAT's public address."""
        return self.nat_device.address

    def host(self, *addresses: str, name: str | None = None) -> Host:
        """Return a host behind the NAT, as :meth:`SimulatedNetwork.host` does."""
        return self._network._host(self._realm, addresses, name)

    def nat(
        self,
        address: str,
        *,
        kind: NatKind = "port-restricted",
        timeout: float = 30.0,
    ) -> PrivateNetwork:
        """Return a network behind another NAT, which is itself behind this one."""
        return self._network._nat(self._realm, address, kind, timeout)


def _parse(address: str) -> AnyInterface:
    try:
        if "/" not in address:
            version = 6 if ":" in address else 4
            return ip_interface(f"{address}/{_PREFIX[version]}")
        return ip_interface(address)
    except ValueError:
        raise ValueError(f"{address!r} is no numeric address of a host") from None


def _covers(place: Place, ip: str) -> bool:
    if place is None:
        return True
    if isinstance(place, Host):
        return ip.partition("%")[0] in place.addresses
    if isinstance(place, Nat):
        return ip == place.address
    return ip == place


def _part(groups: list[list[Place]], who: Any) -> int | None:
    """Return in which of the groups a host or a NAT is."""
    own = (who.address,) if isinstance(who, Nat) else who.addresses
    for index, group in enumerate(groups):
        if any(place is who or place in own for place in group):
            return index
    return None


def _share(nic: Nic, theirs: Nic) -> bool:
    """Return whether two interfaces are on one network."""
    networks = {one.network for one in nic.addresses}
    return any(one.network in networks for one in theirs.addresses)
