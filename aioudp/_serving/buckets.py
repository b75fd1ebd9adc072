"""Pure: how often each peer may come, with one token bucket for each.

The peers that came last are kept, so many of them. One that is forgotten begins with a
full bucket again.
"""

from __future__ import annotations

from collections.abc import Hashable
from socket import AF_INET6, inet_pton
from typing import Final

from .._types import Address

_LINK_LOCAL: Final = "fe80:"


def peer_of(addr: Address) -> Hashable:
    """Return who is meant by an address: its host, whatever the port.

    Of IPv6, it is the network of 64 bits: whoever has one address there may have any
    (RFC 4291 section 2.5.4). On a link they are neighbours, and each is one.
    """
    if not isinstance(addr, tuple):
        return addr
    host = addr[0]
    if ":" not in host or host.startswith(_LINK_LOCAL) or host == "::1":
        return host
    return inet_pton(AF_INET6, host.partition("%")[0])[:8]


class Buckets:
    """The token buckets of the peers that came last."""

    __slots__ = ("_buckets", "_burst", "_peers", "_rate")

    def __init__(self, rate: float, burst: float, peers: int) -> None:
        self._rate = rate
        self._burst = burst
        self._peers = peers
        # Tokens and when that was so; who came last is at the end.
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: Hashable, now: float) -> bool:
        """Take a token of *peer*, if it has one; say whether that is so."""
        tokens, since = self._buckets.pop(peer, (self._burst, now))
        tokens = min(tokens + (now - since) * self._rate, self._burst)
        if taken := tokens >= 1:
            tokens -= 1
        if len(self._buckets) >= self._peers:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[peer] = (tokens, now)
        return taken
