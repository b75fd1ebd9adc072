"""The write buffer: datagrams that ``sendto`` has buffered, and the water marks.

The accounting is asyncio's (``set_write_buffer_limits``): each datagram counts its
bytes and a header, so that empty ones can't pile up unnoticed. No socket, no event
loop.
"""

from __future__ import annotations

from typing import Any

HEADER_SIZE = 8  # bytes, the UDP header (RFC 768)
DEFAULT_HIGH = 64 * 1024  # bytes, asyncio's own default


class WriteBuffer:
    """A queue of datagrams with a size in bytes, a high and a low water mark."""

    __slots__ = ("_done", "high", "low", "paused", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Any]] = []
        """The datagrams, oldest first; those before :attr:`done` have been sent."""
        self._done = 0
        self.size = 0
        self.paused = False
        """Whether the protocol is paused."""
        self.set_limits()

    def __len__(self) -> int:
        return len(self.waiting) - self._done

    @property
    def done(self) -> int:
        """The index of the datagram to send next."""
        return self._done

    def set_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes, with asyncio's rules for missing values.

        Raises:
            ValueError: If not ``0 <= low <= high``.
        """
        if high is None:
            high = DEFAULT_HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"not 0 <= low <= high: low={low!r}, high={high!r}")
        self.high, self.low = high, low

    def append(self, data: bytes, addr: Any) -> None:
        """Append one datagram."""
        self.waiting.append((data, addr))
        self.size += len(data) + HEADER_SIZE

    def remove(self, count: int) -> None:
        """Remove the first *count* datagrams."""
        end = self._done + count
        if end == len(self.waiting):
            self.clear()
            return
        for data, _ in self.waiting[self._done : end]:
            self.size -= len(data) + HEADER_SIZE
        self._done = end
        if 2 * end >= len(self.waiting):  # moves each datagram once, on average
            del self.waiting[:end]
            self._done = 0

    def clear(self) -> None:
        """Remove all datagrams."""
        self.waiting = []
        self._done = 0
        self.size = 0
