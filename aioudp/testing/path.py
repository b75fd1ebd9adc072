"""Where what a socket sends to one destination goes: looked up once, used often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .flight import Flight, HopAddress
from .lane import Lane


class Target(Protocol):
    """Who takes a datagram that arrives: a host or a NAT."""

    def receive(self, flight: Flight, interface: int) -> None:
        """Take a datagram that came by an interface, and note its fate."""


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
        self.sock = sock
        """The socket that sends."""
        self.source = source
        self.destination = destination
        self.launch = launch
        self.longest = longest
        """Bytes of the longest payload that the socket may send this way."""
        self.version = version
        """Of the network, when this was looked up; a change outdates it."""
        self.tos = tos
        self.hop_limit = hop_limit
        self.whole = whole
        """Whether datagrams must not be fragmented."""
        self.lane: Lane | None = None
        self.target: Target | None = None
        self.interface = 0
        """The index of the interface that the target takes it by."""
        self.nat: Any = None
        """What translates the source on the way out."""
        self.group = False
        """Whether it goes to everybody who listens, and nobody complains."""
        self.branches: Sequence[Path] = ()
        """Of a broadcast or a group, the paths to those who hear it."""
