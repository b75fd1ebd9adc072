"""Pure: what became of the datagrams that were sent to one socket.

Each datagram begins with a number of its own, so that one that is lost and one that
comes twice don't make up for each other. No socket, no event loop, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aioudp import Stats

NUMBER: Final = 8
"""Bytes of the number at the beginning of each payload."""


def numbered(number: int, size: int = NUMBER) -> bytes:
    """Return a payload of *size* bytes, at least :data:`NUMBER`."""
    return number.to_bytes(NUMBER) + b"." * (size - NUMBER)


def number_of(data: bytes | memoryview) -> int:
    """Return the number in a payload; -1 if it isn't one of ours."""
    number = int.from_bytes(data[:NUMBER])
    return number if data == numbered(number, len(data)) else -1


@dataclass(frozen=True, slots=True)
class Balance:
    """The end of an account, in datagrams."""

    sent: int
    received: int
    """Handed over by a call of the library."""
    dropped: int
    """In the socket's statistics: by the queue, by the kernel, when it was closed."""
    left: int
    """Found in the kernel's buffer after the socket was closed."""
    unaccounted: int
    """Lost without being counted, counted without being lost, duplicates, strangers."""


class Account:
    """The datagrams that were sent to one socket, and those that came out of it."""

    __slots__ = ("_got", "_left", "_sent", "_strangers", "_twice")

    def __init__(self) -> None:
        self._sent: set[int] = set()
        self._got: set[int] = set()
        self._left = 0
        self._twice = 0
        self._strangers = 0

    @property
    def count_sent(self) -> int:
        """The number of datagrams that the kernel accepted."""
        return len(self._sent)

    @property
    def count_got(self) -> int:
        """The number of datagrams that were handed over."""
        return len(self._got)

    def sent(self, numbers: Iterable[int]) -> None:
        """Enter datagrams that the kernel accepted."""
        self._sent.update(numbers)

    def got(self, data: bytes | memoryview) -> None:
        """Enter a datagram that was handed over, even before it's entered as sent."""
        number = number_of(data)
        if number < 0:
            self._strangers += 1
        elif number in self._got:
            self._twice += 1
        else:
            self._got.add(number)

    def left(self, data: bytes) -> None:
        """Enter a datagram that was still in the kernel's buffer after the close."""
        self._left += 1
        self.got(data)

    def balance(self, stats: Stats) -> Balance:
        """Compare both with what the socket says of itself.

        Two equations must hold, and each of their differences counts:

        * what was sent = what was taken from the kernel + what the kernel dropped +
          what it still had when the socket was closed;
        * what was taken from the kernel = what was handed over + what was dropped after
          that.

        Of a receiver with GRO, the kernel counts a dropped train as one, and the first
        equation holds within the bounds that the statistics give.
        """
        handed_over = len(self._got) + self._twice + self._strangers - self._left
        behind = stats.dropped_queue + stats.dropped_close
        least = stats.received + stats.dropped_kernel + self._left
        most = stats.received + stats.dropped_kernel_max + self._left
        unaccounted = (
            max(least - len(self._sent), len(self._sent) - most, 0)
            + abs(stats.received - handed_over - behind)
            + len(self._got - self._sent)
            + self._twice
            + self._strangers
        )
        dropped = behind + stats.dropped_kernel
        return Balance(len(self._sent), handed_over, dropped, self._left, unaccounted)
