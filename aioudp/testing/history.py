"""What happened to every datagram: one record each, in the order of sending.

A record is created when a datagram is sent, and completed when its fate is known. The
history is bounded in records and in bytes: the oldest are discarded, and counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Final, overload

from .diagram import diagram
from .flight import EPOCH_NS, Fate, Flight
from .pcap import capture

FORGET_RECORDS: Final = 1_000_000
"""Maximum records in a history."""

FORGET_BYTES: Final = 256 * 1024 * 1024
"""Maximum bytes of payload in a history."""


class History(Sequence[Flight]):
    """The datagrams of a network, oldest first: a sequence of :class:`Flight`."""

    def __init__(self) -> None:
        self._flights: deque[Flight] = deque()
        self._bytes = 0
        self.forgotten: int = 0
        """How many records were discarded."""

    def append(self, flight: Flight) -> None:
        """Add a record; discard the oldest if there are too many."""
        flights = self._flights
        flights.append(flight)
        self._bytes += len(flight.data)
        if len(flights) > FORGET_RECORDS or self._bytes > FORGET_BYTES:
            self._bytes -= len(flights.popleft().data)
            self.forgotten += 1

    def __len__(self) -> int:
        return len(self._flights)

    @overload
    def __getitem__(self, index: int) -> Flight: ...
    @overload
    def __getitem__(self, index: slice) -> list[Flight]: ...
    def __getitem__(self, index: int | slice) -> Flight | list[Flight]:
        if isinstance(index, slice):
            return list(self._flights)[index]
        return self._flights[index]

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights)

    def clear(self) -> None:
        """Discard all records, uncounted."""
        self._flights.clear()
        self._bytes = self.forgotten = 0

    def fates(self) -> Counter[Fate]:
        """Return how many datagrams met each fate."""
        return Counter(flight.fate for flight in self._flights)

    def table(self, last: int | None = None) -> str:
        """Return a table as text, one line for each datagram.

        Its columns: number (``+`` marks a copy), times of sending and arrival in
        seconds, source and destination, size in bytes, fate with its cause, and the
        beginning of the payload.

        Args:
            last: Show only the newest: at most this many.

        Raises:
            ValueError: If *last* is negative.
        """
        if last is not None and last < 0:
            raise ValueError(f"last must be 0 or more, got {last}")
        flights = list(self._flights)
        if last is not None:
            flights = flights[len(flights) - min(last, len(flights)) :]
        lines = [HEADINGS, *map(str, flights)]
        left_out = self.forgotten + len(self._flights) - len(flights)
        if left_out:
            lines.insert(0, f"(the first {left_out} datagrams are not shown)")
        return "\n".join(lines)

    def svg(self, last: int | None = None) -> str:
        """Return a sequence diagram as SVG: hosts from left to right, time downwards.

        Args:
            last: Show only the newest datagrams: at most this many.
        """
        flights = list(self._flights)
        return diagram(flights if last is None else flights[-last:] if last else [])

    def pcap(self, *, arrived: bool = False) -> bytes:
        """Return a capture file for tshark and Wireshark.

        Packets aren't fragmented, and have the addresses that the network sees. The
        event loop's clock starts at 2000-01-01.

        Args:
            arrived: Capture at the receivers: the datagrams that arrived, with the
                times of their arrival. Default: capture at the senders.
        """
        return capture(self._flights, epoch_ns=EPOCH_NS, arrived=arrived)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<History of {self.forgotten + len(self)} datagrams>"

    def digest(self) -> str:
        """Return a SHA-256 over all records: equal digests mean equal histories.

        Discarded records aren't included.
        """
        found = hashlib.sha256()
        for flight in self._flights:
            found.update(f"{flight.number} {flight.copy} ".encode())
            found.update(f"{flight.sent_at!r} {flight.arrived_at!r} ".encode())
            found.update(f"{flight.source} {flight.destination} ".encode())
            found.update(f"{flight.fate} {flight.cause}\n".encode())
            found.update(flight.data)
        return found.hexdigest()


HEADINGS: Final = "number         sent      arrived  from > to    size  fate  payload"
