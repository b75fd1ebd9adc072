"""One direction of a link: what happens to a datagram between two addresses.

When a datagram is sent, its lane decides everything at once: whether it is lost, and
when it arrives. So only a datagram that is held back needs a timer. A lane has its own
random streams, and draws only for the faults that are set.

Each random fault is a :class:`Happening`. ``explore`` vetoes some of them to find the
fewest that still cause a failure: the draws stay the same, but a vetoed fault doesn't
take effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from . import draws
from .faults import MAX_MTU, Faults, GilbertElliott
from .flight import Flight

HOLD_LIMIT: Final = 1.0
"""A datagram that is held back arrives after these seconds, if no other passes it."""

IPV4_HEADERS: Final = 28  # bytes, IPv4 and UDP (RFC 791, RFC 768)
IPV6_HEADERS: Final = 48  # bytes, IPv6 and UDP (RFC 8200, RFC 768)


class Happening(NamedTuple):
    """A random fault that took effect."""

    lane: str
    """The direction, as in ``"10.0.0.1>10.0.0.2"``."""

    number: int
    """The datagram's number in this direction, from 0."""

    kind: str
    """``"loss"``, ``"corrupt"``, ``"duplicate"``, ``"reorder"`` or ``"jitter"``."""


class Air(Protocol):
    """What a lane needs from the network."""

    judge: Callable[[Happening], bool] | None
    """If set, decides whether a fault that was drawn takes effect."""

    def note(self, flight: Flight) -> None:
        """Add a datagram to the history."""

    def arrive(self, flight: Flight, at: float) -> None:
        """Deliver *flight* at the time *at*; at once if that is now."""


class Lane:
    """One direction of the link between two addresses."""

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
        self.name: str = f"{source}>{destination}"
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
        """Change the settings from now on."""
        self.faults: Faults = faults
        self._narrow = faults.mtu < MAX_MTU

    def carry(self, flight: Flight) -> None:
        """Accept a datagram, and decide what happens to it."""
        faults, air, uniform = self.faults, self._air, self._uniform
        number, self._number = self._number, self._number + 1
        # Everything is drawn before anything is decided, so that a veto doesn't affect
        # later draws.
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
        """Deliver what was held back right after the datagram that passed it."""
        held, self._held = self._held, None
        if held is not None and held.fate == "in flight":
            self._air.arrive(held, arrival)

    def fragments(self, size: int) -> int:
        """Return how many fragments a payload of *size* bytes needs."""
        header = self.headers - 8
        if size + self.headers <= self.faults.mtu:
            return 1
        # Fragments carry a multiple of 8 bytes (RFC 791); IPv6 adds a header of 8.
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
