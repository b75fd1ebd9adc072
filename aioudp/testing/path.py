"""The path from a socket to one destination: looked up once, used often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .flight import Flight, HopAddress
from .lane import Lane


class Target(Protocol):
    """What receives a datagram: a host or a NAT."""

    def receive(self, flight: Flight, interface: int) -> None:
        """Receive a datagram on an interface, and note its fate."""


class Path:
    """The way from one socket to one destination."""

    __slots__ = (
        "branches",
        "destination",
        "group",
        "hop_limit",
        "interface",
        "lane",
        "launch",
        "longest",
        "nat",
        "sock",
        "source",
        "target",
        "tos",
        "version",
        "whole",
    )

    def __init__(
        self,
        *,
        sock: Any,
        source: HopAddress,
        destination: HopAddress,
        launch: Callable[[Path, bytes], None],
        longest: int,
        version: int,
        tos: int = 0,
        hop_limit: int = 64,
        whole: bool = False,
    ) -> None:
        self.sock: Any = sock
        """The socket that sends."""
        self.source: HopAddress = source
        self.destination: HopAddress = destination
        self.launch: Callable[[Path, bytes], None] = launch
        self.longest: int = longest
        """Bytes of the longest payload that the socket may send this way."""
        self.version: int = version
        """The network's version at the lookup; a newer one invalidates the path."""
        self.tos: int = tos
        self.hop_limit: int = hop_limit
        self.whole: bool = whole
        """Whether datagrams must not be fragmented."""
        self.lane: Lane | None = None
        self.target: Target | None = None
        self.interface: int = 0
        """The index of the target's interface."""
        self.nat: Any = None
        """The NAT that translates the source."""
        self.group: bool = False
        """Whether it's a broadcast or a group, which causes no ICMP errors."""
        self.branches: Sequence[Path] = ()
        """For a broadcast or a group: the path to each receiver."""
