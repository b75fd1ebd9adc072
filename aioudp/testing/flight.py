"""The history's record of one datagram."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from .._system.addresses import format_address

EPOCH_NS: Final = 946_684_800_000_000_000
"""The time at which the event loop's clock starts: 2000-01-01, in nanoseconds."""

Fate: TypeAlias = Literal[
    "in flight",
    "delivered",
    "lost",
    "corrupted",
    "cut off",
    "dropped",
    "too large",
    "queue full",
    "buffer full",
    "refused",
    "nobody there",
    "host down",
    "no mapping",
]
"""What happened to a datagram.

``"in flight"``: nothing yet. ``"delivered"``: it reached the receiver's socket.
``"lost"``: by the ``loss`` of its link. ``"corrupted"``: dropped because of a wrong
checksum. ``"cut off"``: by a partition. ``"dropped"``: by a rule. ``"too large"``:
longer than the MTU of the link, with fragmentation disabled. ``"queue full"``: dropped
by a link with a ``rate``. ``"buffer full"``: dropped by the receiver's socket.
``"refused"``: no socket has the port. ``"nobody there"``: no host has the address, or
no socket receives the broadcast or the group. ``"host down"``: the host has crashed.
``"no mapping"``: a NAT didn't let it in.
"""

HopAddress: TypeAlias = tuple[str, int]
"""Host and port; for a link-local host, ``%`` and its interface follow the address."""


class Flight:
    """One datagram, or one copy of it, on its way from a socket to a socket."""

    __slots__ = (
        "_due",
        "_path",
        "arrived_at",
        "cause",
        "copy",
        "data",
        "destination",
        "fate",
        "number",
        "sent_at",
        "source",
    )

    def __init__(
        self,
        number: int,
        sent_at: float,
        source: HopAddress,
        destination: HopAddress,
        data: bytes,
        path: Any,
    ) -> None:
        self.number: int = number
        """Its number in the network, from 0. Copies have the same number."""
        self.sent_at: float = sent_at
        """When it was sent, in seconds of the event loop's clock."""
        self.source: HopAddress = source
        """The sender's address as the network sees it, outside of a NAT."""
        self.destination: HopAddress = destination
        """The destination; once a NAT has let it in, the address inside."""
        self.data: bytes = data
        """The payload."""
        self.copy: int = 0
        """0, or 1 for a copy that the network made."""
        self.arrived_at: float | None = None
        """When it arrived, even if no socket received it; ``None`` if it was lost on
        the way."""
        self.fate: Fate = "in flight"
        """What happened to it."""
        self.cause: str = ""
        """Details, such as a rule's name, or the faults that delayed it."""
        self._path = path
        self._due = 0

    @property
    def tos(self) -> int:
        """The type of service or traffic class that it was sent with."""
        return int(self._path.tos)

    @property
    def hop_limit(self) -> int:
        """The time to live or hop limit that it was sent with."""
        return int(self._path.hop_limit)

    def copied(self) -> Flight:
        """Return the copy that a duplication makes."""
        other = Flight(
            self.number,
            self.sent_at,
            self.source,
            self.destination,
            self.data,
            self._path,
        )
        other.copy = 1
        other.cause = "copy"
        return other

    def ended(self, fate: Fate, cause: str = "") -> None:
        """Note the fate."""
        self.fate = fate
        if cause:
            self.cause = f"{self.cause}, {cause}" if self.cause else cause

    def delayed(self, cause: str) -> None:
        """Note what has delayed it."""
        self.cause = f"{self.cause}, {cause}" if self.cause else cause

    def __str__(self) -> str:
        arrived = "-" * 12 if self.arrived_at is None else f"{self.arrived_at:12.6f}"
        why = f" ({self.cause})" if self.cause else ""
        return (
            f"{self.number:>6}{'+' if self.copy else ' '} {self.sent_at:12.6f} "
            f"{arrived:>12}  {format_address(self.source)} > "
            f"{format_address(self.destination)}  {len(self.data):>5} B  "
            f"{self.fate}{why}  {preview(self.data)}"
        )

    def __repr__(self) -> str:
        return f"<Flight {' '.join(str(self).split())}>"


def preview(data: bytes, length: int = 24) -> str:
    """Return the beginning of a payload, in printable ASCII."""
    text = repr(data[:length])
    return text + ("..." if len(data) > length else "")
