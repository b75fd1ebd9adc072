"""Pure: the bounded queue of received datagrams, and its overflow policy.

No socket, no event loop, no clock.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence

from .._types import Overflow, Received

ANY = 1024
"""Datagrams that a drop policy wants per batch: it accepts all, but not all at once."""


class Inbox:
    """Received datagrams, oldest first, at most *capacity* of them.

    With ``"pause"``, nothing is ever dropped here: the caller checks :meth:`room`
    before it reads, and stops reading when there is none, so that datagrams wait in
    the kernel. A train that is read when there's room for one datagram is kept whole,
    so the inbox may exceed its capacity by one train.
    """

    __slots__ = ("at_once", "capacity", "dropped", "items", "overflow")

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        self.capacity: int = capacity
        self.overflow = overflow
        self.at_once: int = sys.maxsize
        """The number of datagrams that a consumer wants from one read."""
        self.items: deque[Received] = deque()
        self.dropped: int = 0
        """Datagrams dropped because the inbox was full."""

    def room(self) -> int:
        """Return the number of datagrams wanted now."""
        room = ANY
        if self.overflow == "pause":
            room = max(0, self.capacity - len(self.items))
        return room if room < self.at_once else self.at_once

    def put(self, datagrams: Sequence[Received]) -> None:
        """Add *datagrams* in order and apply the overflow policy."""
        items = self.items
        items.extend(datagrams)
        excess = len(items) - self.capacity
        if excess <= 0 or self.overflow == "pause":
            return
        self.dropped += excess
        drop = items.popleft if self.overflow == "drop-oldest" else items.pop
        for _ in range(excess):
            drop()

    def take(self, max_datagrams: int | None = None) -> list[Received]:
        """Remove and return the oldest *max_datagrams*, or all."""
        items = self.items
        if max_datagrams is None or max_datagrams >= len(items):
            taken = list(items)
            items.clear()
            return taken
        return [items.popleft() for _ in range(max_datagrams)]
