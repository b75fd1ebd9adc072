"""Pure: a limit on the bytes sent to an address that may be forged.

An attacker who sends small requests with a victim's address makes a server flood the
victim with large replies. So the server sends an address at most a few times the bytes
received from it, until the address has been validated (RFC 9000 section 8.1). A
forgotten address starts with nothing, so a flood of forged addresses gains nothing.
"""

from __future__ import annotations

import math
from typing import Final

from .._types import Address

PEERS: Final = 65_536
"""Maximum number of addresses to keep. A guess."""

_LARGEST: Final = 65_535
"""Maximum received bytes that count: an address can't save up more than one large
datagram earns."""


class Budgets:
    """The remaining bytes for each of the most recent addresses."""

    __slots__ = ("_factor", "_left", "_peers")

    def __init__(self, factor: float, peers: int = PEERS) -> None:
        self._factor = factor
        self._peers = peers
        self._left: dict[Address, float] = {}  # the most recent is at the end

    def __len__(self) -> int:
        return len(self._left)

    def receive(self, peer: Address, size: int) -> None:
        """Count *size* bytes received from *peer*."""
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
        """Lift the limit for *peer*."""
        self._left.pop(peer, None)
        self._put(peer, math.inf)

    def _put(self, peer: Address, left: float) -> None:
        if len(self._left) >= self._peers:
            del self._left[next(iter(self._left))]
        self._left[peer] = left
