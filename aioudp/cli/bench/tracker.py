"""Loss, reordering, duplication and jitter of a flow of numbered datagrams.

A window records exactly which of the last :data:`WINDOW` numbers were received. An
older datagram can't be distinguished from a duplicate: it only counts as ``late``, and
therefore as lost.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 1 << 16
"""The size of the window in datagrams; each takes a byte."""

MAX_NUMBER: Final = 1 << 48
"""Numbers from here on are invalid."""


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
        """Distinct datagrams."""
        self.duplicated: int = 0
        """Datagrams that had been received before."""
        self.reordered: int = 0
        """Received datagrams that came after one with a higher number."""
        self.late: int = 0
        """Datagrams that were too old to be distinguished from duplicates."""
        self.jitter: float = 0.0
        """Seconds: the interarrival jitter of RFC 3550, section 6.4.1."""

    @property
    def expected(self) -> int:
        """Datagrams that were sent, as far as the numbers received prove it."""
        return self._next

    def add(self, number: int, sent_ns: int, received_ns: int) -> None:
        """Count a datagram. The two times may come from different clocks."""
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
            # D(i-1, i) of RFC 3550, A.8: the change in transit time.
            change = abs(transit - self._transit)
            self.jitter += (change / 1e9 - self.jitter) / 16
        self._transit = transit

    def _make_room(self, number: int) -> None:
        """Move the window so that *number* is the highest in it."""
        if number - self._next >= WINDOW:
            self._seen = bytearray(WINDOW)
        else:
            for skipped in range(self._next, number):
                self._seen[skipped % WINDOW] = 0
        self._next = number + 1
