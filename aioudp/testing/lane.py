"""One direction of a link: what happens to a datagram between two addresses.

A lane decides when a datagram is sent, all at once: lost or not, and when it arrives.
So it needs no timers, but for a datagram that is held back. It has random streams of
its own, and draws only for the faults that are set.

Each fault that chance brings about is a :class:`Happening`. It can be vetoed, which is
how ``explore`` finds the fewest that still show a failure: the draws stay the same, and
what was vetoed does not take effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from . import draws
from .faults import MAX_MTU, Faults, GilbertElliott
from .flight import Flight

HOLD_LIMIT: Final = 1.0
"""Seconds after which a datagram that is held back arrives, if no other has passed."""

IPV4_HEADERS: Final = 28  # bytes, IPv4 and UDP (RFC 791, RFC 768)
IPV6_HEADERS: Final = 48  # bytes, IPv6 and UDP (RFC 8200, RFC 768)


class Happening(NamedTuple):
    """A fault that happened by chance."""

    lane: str
    """From where to where, as in ``"10.0.0.1>10.0.0.2"``."""

    number: int
    """Which datagram of the lane, from 0."""

    kind: str
    """``"loss"``, ``"corrupt"``, ``"duplicate"``, ``"reorder"`` or ``"jitter"``."""


class Air(Protocol):
    """What a lane asks of the network."""

    judge: Callable[[Happening], bool] | None
    """Asked, if there is one, whether a fault that was drawn takes effect."""

    def note(self, flight: Flight) -> None:
        """Add a datagram to the history."""

    def arrive(self, flight: Flight, at: float) -> None:
        """Have *flight* arrive at the time *at*; at once if that is now."""


class Lane:
    """The way from one address to another."""

    __slots__ = (
        "_air",
        "_bad",
        "_copy_draw",
        "_departures",
        "_free_at",
        "_held",
        "_jitter_draw",
        "_narrow",
        "_number",
        "_uniform",
        "faults",
        "headers",
        "name",
    )

    def __init__(self, air: Air, seed: object, source: str, destination: str) -> None:
        self.name = f"{source}>{destination}"
        self.headers = IPV6_HEADERS if ":" in source else IPV4_HEADERS
        self._air = air
        self._uniform = draws.stream("faults", seed, self.name).random
        self._jitter_draw = draws.stream("jitter", seed, self.name).random
        self._copy_draw = draws.stream("copies", seed, self.name).random
        self._bad = False  # the state of a Gilbert-Elliott channel
        self._free_at = 0.0
        self._departures: deque[float] = deque()
        self._held: Flight | None = None
        self._number = 0  # of the next datagram
        self.set_faults(Faults())

    def set_faults(self, faults: Faults) -> None:
        """Change what happens here from now on."""
        self.faults = faults
        self._narrow = faults.mtu < MAX_MTU

    def carry(self, flight: Flight) -> None:
        """Take a datagram, and decide what becomes of it."""
        faults, air, uniform = self.faults, self._air, self._uniform
        number, self._number = self._number, self._number + 1
        # Everything is drawn before anything is decided, so that what is vetoed does
        # not move the draws of what comes later.
        pieces = self.fragments(len(flight.data)) if self._narrow else 1
        lost = bool(faults.loss) and self._draw_loss(pieces)
        corrupt = bool(faults.corrupt) and uniform() < faults.corrupt
        doubled = bool(faults.duplicate) and uniform() < faults.duplicate
        held = bool(faults.reorder) and uniform() < faults.reorder
        late = self._draw_jitter(self._jitter_draw) if faults.jitter else 0.0

        if pieces > 1:
            flight.delayed(f"{pieces} fragments")
        if lost and self._happens(number, "loss"):
            flight.ended("lost", "" if pieces == 1 else "one of them")
            return
        if corrupt and self._happens(number, "corrupt"):
            flight.ended("corrupted")
            return
        leaves = flight.sent_at
        if faults.rate is not None:
            leaves = self._leaves(flight, faults.rate)
            if leaves < 0:
                flight.ended("queue full", f"queue={faults.queue}")
                return
        earliest = arrival = leaves + faults.delay
        if late and self._happens(number, "jitter"):
            arrival += late
        if doubled and self._happens(number, "duplicate"):
            copy = flight.copied()
            air.note(copy)
            late = self._draw_jitter(self._copy_draw) if faults.jitter else 0.0
            air.arrive(copy, earliest + late)
        if held and self._held is None and self._happens(number, "reorder"):
            flight.delayed("held back")
            self._held = flight
            air.arrive(flight, arrival + HOLD_LIMIT)
        else:
            air.arrive(flight, arrival)
            if self._held is not None:
                self._release(arrival)

    def _release(self, arrival: float) -> None:
        """Let what was held back arrive just behind a datagram that has passed it."""
        held, self._held = self._held, None
        if held is not None and held.fate == "in flight":
            self._air.arrive(held, arrival)

    def fragments(self, size: int) -> int:
        """Return in how many pieces a payload of *size* bytes travels."""
        header = self.headers - 8
        if size + self.headers <= self.faults.mtu:
            return 1
        # Fragments carry a multiple of 8 bytes (RFC 791); in IPv6 a header of 8 more.
        room = (self.faults.mtu - header - (8 if header == 40 else 0)) // 8 * 8
        return -(-(size + 8) // max(8, room))

    def _draw_loss(self, pieces: int) -> bool:
        loss, uniform = self.faults.loss, self._uniform
        if isinstance(loss, GilbertElliott):
            if uniform() < (loss.recover if self._bad else loss.enter):
                self._bad = not self._bad
            loss = loss.loss_in_bad if self._bad else loss.loss_in_good
        lost = uniform() < loss
        for _ in range(pieces - 1):
            lost = uniform() < loss or lost
        return lost

    def _draw_jitter(self, uniform: draws.Draw) -> float:
        faults = self.faults
        if faults.distribution == "uniform":
            return faults.jitter * uniform()
        return draws.jitter(faults.distribution, faults.jitter, uniform)

    def _leaves(self, flight: Flight, rate: float) -> float:
        """Return when the last bit is on the link; -1 if the queue is full."""
        now = flight.sent_at
        departures = self._departures
        while departures and departures[0] <= now:
            departures.popleft()
        if len(departures) > self.faults.queue:  # the one that is leaving does not wait
            return -1.0
        begins = max(now, self._free_at)
        self._free_at = begins + (len(flight.data) + self.headers) / rate
        departures.append(self._free_at)
        return self._free_at

    def _happens(self, number: int, kind: str) -> bool:
        judge = self._air.judge
        return judge is None or judge(Happening(self.name, number, kind))
