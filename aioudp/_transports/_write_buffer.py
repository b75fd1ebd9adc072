"""Datagrams that ``sendto`` took and the kernel did not yet, and their water marks.

The accounting is asyncio's (``set_write_buffer_limits``): each datagram counts its
bytes, and a header as well, so that empty ones cannot pile up unseen. Knows neither
socket nor loop. Imports nothing of the package.
"""

from __future__ import annotations

from collections import deque
from typing import Any

HEADER_SIZE = 8  # bytes, the UDP header (RFC 768)
DEFAULT_HIGH = 64 * 1024  # bytes, asyncio's own default


class WriteBuffer:
    """A queue of datagrams with a size in bytes, a high and a low water mark."""

    __slots__ = ("_datagrams", "high", "low", "paused", "size")

    def __init__(self) -> None:
        self._datagrams: deque[tuple[bytes, Any]] = deque()
        self.size = 0
        self.paused = False
        """Whether the protocol was told to pause writing."""
        self.set_limits()

    def __len__(self) -> int:
        return len(self._datagrams)

    def set_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes, with asyncio's rules for what is left out.

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
        """Queue one datagram behind the others."""
        self._datagrams.append((data, addr))
        self.size += len(data) + HEADER_SIZE

    def first(self) -> tuple[bytes, Any]:
        """Return the datagram to send next."""
        return self._datagrams[0]

    def remove_first(self) -> None:
        """Forget the datagram returned by :meth:`first`."""
        data, _ = self._datagrams.popleft()
        self.size -= len(data) + HEADER_SIZE

    def clear(self) -> None:
        """Forget every datagram."""
        self._datagrams.clear()
        self.size = 0
