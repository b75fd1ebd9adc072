"""Pure: a rate limit for each peer, with one token bucket per peer.

A limited number of recent peers is kept. A forgotten peer starts with a full bucket
again.
"""

from __future__ import annotations

from collections.abc import Hashable
from socket import AF_INET6, inet_pton
from typing import Final

from .._types import Address

_LINK_LOCAL: Final = "fe80:"


def peer_of(addr: Address) -> Hashable:
    """Return the peer that an address belongs to: its host, regardless of the port.

    For IPv6, it's the network of 64 bits, because a host may use any address in it
    (RFC 4291 section 2.5.4). Link-local addresses are separate peers.
    """
    if not isinstance(addr, tuple):
        return addr
    host = addr[0]
    if ":" not in host or host.startswith(_LINK_LOCAL) or host == "::1":
        return host
    return inet_pton(AF_INET6, host.partition("%")[0])[:8]


class Buckets:
    """The token buckets of the most recent peers."""

    __slots__ = ("_buckets", "_burst", "_peers", "_rate")

    def __init__(self, rate: float, burst: float, peers: int) -> None:
        self._rate = rate
        self._burst = burst
        self._peers = peers
        # The number of tokens and its time; the most recent peer is at the end.
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: Hashable, now: float) -> bool:
        """Take a token of *peer* if it has one; return whether it did."""
        tokens, since = self._buckets.pop(peer, (self._burst, now))
        tokens = min(tokens + (now - since) * self._rate, self._burst)
        if taken := tokens >= 1:
            tokens -= 1
        if len(self._buckets) >= self._peers:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[peer] = (tokens, now)
        return taken
