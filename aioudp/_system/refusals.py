"""Pure: which destinations refuse trains, and for how long that is believed.

A train may be refused for the sake of one route: its MTU (Linux before 6.13 answers
EINVAL there, and not EMSGSIZE: udp_send_skb() in net/ipv4/udp.c), or a device that
cannot segment. Other peers have nothing to do with it, and a route may change. So a
refusal holds for one destination, and for :data:`SINGLES` datagrams; then a train is
tried again. That attempt is one system call in so many, so nothing is lost if it fails.
"""

from __future__ import annotations

import logging
from typing import Final

from .addresses import SocketAddress
from .send_options import Steered

SINGLES: Final = 1024
"""Datagrams that go out singly after a refusal, before a train is tried again."""

MAX_DESTINATIONS: Final = 256
"""Destinations remembered; the one remembered longest makes way for a new one, and is
tried again sooner."""

logger = logging.getLogger("aioudp")


class Refusals:
    """The destinations of one socket to which datagrams go singly for a while."""

    __slots__ = ("_left", "_logged")

    def __init__(self) -> None:
        self._left: dict[SocketAddress, int] = {}
        self._logged = False

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, addr: SocketAddress | Steered, fd: int, reason: str) -> None:
        """Remember that *addr* refused a train; log the first refusal of a socket."""
        peer = _peer(addr)
        if peer not in self._left and len(self._left) >= MAX_DESTINATIONS:
            del self._left[next(iter(self._left))]
        self._left[peer] = SINGLES
        logger.log(
            logging.DEBUG if self._logged else logging.INFO,
            "segmentation offload is off for the next %d datagrams "
            "from fd %d to %s: %s",
            SINGLES,
            fd,
            "the peer" if peer is None else peer,
            reason,
        )
        self._logged = True

    def covers(self, addr: SocketAddress | Steered, datagrams: int = 1) -> bool:
        """Say whether the next *datagrams* to *addr* go singly, and count them."""
        peer = _peer(addr)
        left = self._left.get(peer)
        if left is None:
            return False
        if left <= 0:
            del self._left[peer]
            return False
        self._left[peer] = left - datagrams
        return True

    def destinations(self) -> list[SocketAddress]:
        """Return them, as the socket takes them; ``None`` is the connected peer."""
        return list(self._left)


def _peer(addr: SocketAddress | Steered) -> SocketAddress:
    return addr.addr if type(addr) is Steered else addr
