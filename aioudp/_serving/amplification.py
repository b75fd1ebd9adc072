"""Pure: how many bytes may be sent to an address that may be forged.

Who sends a small request in somebody else's name makes a server flood that victim with
its large reply. So an address is sent at most a few times the bytes that came from it,
until it has proved that it receives what it is sent (RFC 9000 section 8.1). An address
that is forgotten begins with nothing, so a flood of forged ones gains nothing by it.
"""

from __future__ import annotations

import math
from typing import Final

from .._types import Address

PEERS: Final = 65_536
"""How many addresses to keep. A guess."""

_LARGEST: Final = 65_535
"""Bytes received that count at most: no address saves up more than one large datagram
would earn."""


class Budgets:
    """What is left to send to each address, of those that were heard last."""

    __slots__ = ("_factor", "_left", "_peers")

    def __init__(self, factor: float, peers: int = PEERS) -> None:
        self._factor = factor
        self._peers = peers
        self._left: dict[Address, float] = {}  # who was heard last is at the end

    def __len__(self) -> int:
        return len(self._left)

    def receive(self, peer: Address, size: int) -> None:
        """Count *size* bytes that came from *peer*."""
        left = self._left.pop(peer, 0.0)
        if left < math.inf:
            left = min(left + self._factor * size, self._factor * _LARGEST)
        self._put(peer, left)

    def spend(self, peer: Address, size: int) -> int:
        """Return how many of *size* bytes may be sent to *peer*, and count them."""
        left = self._left.get(peer, 0.0)
        granted = size if left >= size else int(left)
        if peer in self._left:
            self._left[peer] = left - granted
        return granted

    def validate(self, peer: Address) -> None:
        """Let *peer* have as much as it likes: it has proved itself."""
        self._left.pop(peer, None)
        self._put(peer, math.inf)

    def _put(self, peer: Address, left: float) -> None:
        if len(self._left) >= self._peers:
            del self._left[next(iter(self._left))]
        self._left[peer] = left
