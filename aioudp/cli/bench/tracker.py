"""What became of a flow of numbered datagrams.

A window of the last :data:`WINDOW` numbers tells exactly which were seen. A datagram
that comes later than that can no longer be told from a duplicate: it is counted as
``late`` and nothing else, so that it stays among the lost.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 1 << 16
"""Numbers that are remembered, in datagrams; a byte each."""

MAX_NUMBER: Final = 1 << 48
"""A number this high is no number of ours."""


class Tracker:
    """The receiving end of one flow, whose datagrams are numbered from 0."""

    __slots__ = (
        "_next",
        "_seen",
        "_transit",
        "duplicated",
        "jitter",
        "late",
        "received",
        "reordered",
    )

    def __init__(self) -> None:
        self._seen = bytearray(WINDOW)
        self._next = 0  # one more than the highest number so far
        self._transit: int | None = None
        self.received: int = 0
        """Different datagrams."""
        self.duplicated: int = 0
        """Datagrams that had been received before."""
        self.reordered: int = 0
        """Of those received: how many came after one with a higher number."""
        self.late: int = 0
        """Datagrams that were too far behind to be told from duplicates."""
        self.jitter: float = 0.0
        """Seconds: the interarrival jitter of RFC 3550, section 6.4.1."""

    def add(self, number: int, sent_ns: int, received_ns: int) -> None:
        """Count a datagram. The two times may be of different clocks."""
        behind = self._next - number
        if behind == 0:  # as nearly always
            self._next += 1
        elif behind > WINDOW:
            self.late += 1
            return
        elif behind < 0:
            self._make_room(number)
        elif self._seen[number % WINDOW]:
            self.duplicated += 1
            return
        else:
            self.reordered += 1
        self._seen[number % WINDOW] = 1
        self.received += 1
        transit = received_ns - sent_ns
        if self._transit is not None:
            # D(i-1, i) of RFC 3550, A.8: what the time on the way has changed by.
            change = abs(transit - self._transit)
            self.jitter += (change / 1e9 - self.jitter) / 16
        self._transit = transit

    def _make_room(self, number: int) -> None:
        """Forget what falls out of the window when *number* is the highest."""
        if number - self._next >= WINDOW:
            self._seen = bytearray(WINDOW)
        else:
            for skipped in range(self._next, number):
                self._seen[skipped % WINDOW] = 0
        self._next = number + 1
