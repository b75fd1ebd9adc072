"""A NAT: the hosts behind it share its address.

It behaves as RFC 4787 describes: which mapping an outgoing datagram gets, and which
incoming datagrams a mapping lets in. Ports are preserved if they are free. A mapping
expires when nothing is sent through it for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from .flight import Flight, HopAddress
from .path import Target

NatKind: TypeAlias = Literal[
    "full-cone", "address-restricted", "port-restricted", "symmetric"
]
"""Which senders a NAT lets in.

Full-cone: all. Address-restricted: hosts that were sent to. Port-restricted: addresses
that were sent to. Symmetric: the same, and each destination has a mapping of its own.
"""

NAT_KINDS: Final = get_args(NatKind)

_FIRST_PORT: Final = 49152


@dataclass(slots=True)
class Mapping:
    """A public port that stands for an address inside."""

    key: tuple[HopAddress, HopAddress | None]
    inside: HopAddress
    port: int
    used_at: float
    peers: set[HopAddress] = field(default_factory=set)
    """The destinations that were sent to."""


class Nat:
    """The NAT between a private and an outer realm; see ``SimulatedNetwork.nat``."""

    def __init__(
        self,
        address: str,
        kind: NatKind,
        timeout: float,
        now: Callable[[], float],
        inner: Callable[[str], tuple[Target, int] | None],
    ) -> None:
        self.address = address
        """Its public address."""
        self.kind: NatKind = kind
        self.timeout = timeout
        """Seconds after which an unused mapping expires."""
        self.outer: Any = None
        """The realm of its public address."""
        self._now = now
        self._inner = inner
        self._by_inside: dict[tuple[HopAddress, HopAddress | None], Mapping] = {}
        self._by_port: dict[int, Mapping] = {}
        self._next_port = _FIRST_PORT

    def outbound(self, source: HopAddress, destination: HopAddress) -> HopAddress:
        """Return the public source address of an outgoing datagram."""
        now = self._now()
        key = source, destination if self.kind == "symmetric" else None
        mapping = self._by_inside.get(key)
        if mapping is None or self._is_old(mapping):
            if mapping is not None:
                self._forget(mapping)
            mapping = Mapping(key, source, self._free_port(source[1]), now)
            self._by_inside[key] = self._by_port[mapping.port] = mapping
        mapping.used_at = now
        mapping.peers.add(destination)
        return self.address, mapping.port

    def receive(self, flight: Flight, interface: int) -> None:
        """Pass an incoming datagram to the host inside, or drop it."""
        outside = f"{self.address}:{flight.destination[1]}"
        mapping = self._by_port.get(flight.destination[1])
        if mapping is None or self._is_old(mapping):
            flight.ended("no mapping", f"none for {outside}")
            return
        if not self._lets_in(mapping, flight.source):
            flight.ended("no mapping", f"{outside} is not open to the sender")
            return
        found = self._inner(mapping.inside[0])
        if found is None:
            flight.ended("nobody there", f"behind {outside}")
            return
        flight.destination = mapping.inside
        flight.delayed(f"by {outside}")
        target, index = found
        target.receive(flight, index)

    def _lets_in(self, mapping: Mapping, source: HopAddress) -> bool:
        if self.kind == "full-cone":
            return True
        if self.kind == "address-restricted":
            return any(host == source[0] for host, _ in mapping.peers)
        return source in mapping.peers

    def _is_old(self, mapping: Mapping) -> bool:
        return self._now() - mapping.used_at >= self.timeout

    def _forget(self, mapping: Mapping) -> None:
        del self._by_inside[mapping.key]
        del self._by_port[mapping.port]

    def _free_port(self, wanted: int) -> int:
        """Return the port itself if it is free on the outside, else the next free one.

        If none is free, the oldest mapping is removed.
        """
        port = wanted
        for _ in range(0xFFFF):
            taken = self._by_port.get(port)
            if taken is None:
                return port
            if self._is_old(taken):
                self._forget(taken)
                return port
            port = self._next_port
            self._next_port += 1
            if self._next_port > 0xFFFF:
                self._next_port = _FIRST_PORT
        oldest = min(self._by_port.values(), key=lambda one: one.used_at)
        self._forget(oldest)
        return oldest.port
