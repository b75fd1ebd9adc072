"""What a link may do to a datagram: checked settings, and the verdicts of rules.

These are values only; ``lane`` applies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypedDict

from .draws import DISTRIBUTIONS, Distribution
from .flight import Flight

MIN_MTU: Final = 68
"""In bytes: every IPv4 link carries packets of this size whole (RFC 791)."""

MAX_MTU: Final = 65535
"""In bytes: the longest IPv4 packet, header included (RFC 791)."""


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Loss in bursts: a link is in a good or a bad state, each with its own loss.

    Before each datagram, the state may change. Bursts last ``1 / recover`` datagrams on
    average, and a share of ``enter / (enter + recover)`` of all datagrams is sent in
    the bad state. (E. N. Gilbert, 1960; E. O. Elliott, 1963.)

    Raises:
        ValueError: If a probability is not from 0 to 1.
    """

    enter: float
    """The probability of going from good to bad."""

    recover: float
    """The probability of going from bad to good."""

    loss_in_good: float = 0.0
    """The probability that a datagram is lost in the good state."""

    loss_in_bad: float = 1.0
    """The probability that a datagram is lost in the bad state."""

    def __post_init__(self) -> None:
        for name in ("enter", "recover", "loss_in_good", "loss_in_bad"):
            check_probability(name, getattr(self, name))


class FaultOptions(TypedDict, total=False):
    """The settings of a network, or of one link. Those left out don't change."""

    loss: float | GilbertElliott
    """The probability that a datagram is lost, or :class:`GilbertElliott` bursts. If a
    datagram is fragmented, each fragment may be lost, and the datagram with it."""

    delay: float
    """The time from one host to the other, in seconds."""

    jitter: float
    """Random delay that is added, in seconds; *distribution* is its shape. A datagram
    with less of it may overtake earlier ones."""

    distribution: Distribution
    """The shape of the jitter. Default ``"uniform"``."""

    duplicate: float
    """The probability that a datagram arrives twice, each copy with its own jitter."""

    reorder: float
    """The probability that a datagram is held back until the next one on its link has
    been delivered, for at most one second."""

    corrupt: float
    """The probability that bits of a datagram are flipped. The receiver detects it by
    the checksum, and drops the datagram (RFC 768)."""

    mtu: int
    """The longest packet in bytes, IP header included. A longer datagram is fragmented
    or, with ``dont_fragment``, not sent at all."""

    rate: float | None
    """Bytes per second that the link carries in each direction, headers included;
    ``None`` sets no limit."""

    queue: int
    """How many datagrams may wait for a link with a rate; more are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """All settings of a link, checked; see :class:`FaultOptions`.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range; the message names it.
    """

    loss: float | GilbertElliott = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    distribution: Distribution = "uniform"
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    mtu: int = MAX_MTU
    rate: float | None = None
    queue: int = 1000

    def __post_init__(self) -> None:
        if not isinstance(self.loss, GilbertElliott):
            check_probability("loss", self.loss)
        for name in ("duplicate", "reorder", "corrupt"):
            check_probability(name, getattr(self, name))
        for name in ("delay", "jitter"):
            check_seconds(name, getattr(self, name))
        if self.distribution not in DISTRIBUTIONS:
            listed = ", ".join(map(repr, DISTRIBUTIONS))
            raise ValueError(
                f"distribution must be one of {listed}; got {self.distribution!r}"
            )
        _check_int("mtu", self.mtu, MIN_MTU, MAX_MTU)
        _check_int("queue", self.queue, 0, 2**31 - 1)
        if self.rate is not None:
            check_seconds("rate", self.rate)
            if not self.rate:
                raise ValueError("rate must be positive, got 0; use loss=1.0 instead")

    def changed(self, options: FaultOptions) -> Faults:
        """Return these settings with some changed."""
        check_names(options)
        return replace(self, **options)


class Verdict:
    """A rule's decision about a datagram."""

    __slots__ = ()


class Pass(Verdict):
    """The datagram is treated like any other; faults apply."""

    __slots__ = ()


class Drop(Verdict):
    """The datagram is lost."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Deliver(Verdict):
    """The datagram arrives after *delay* seconds; no faults apply.

    Raises:
        ValueError: If *delay* is negative or not finite.
    """

    delay: float = 0.0

    def __post_init__(self) -> None:
        check_seconds("delay", self.delay)


Rule: TypeAlias = Callable[[Flight], "type[Pass | Drop] | Verdict | None"]
"""Called with each datagram when it is sent. ``None`` is :class:`Pass`."""


def check_names(options: Any) -> None:
    """Raise a TypeError if a setting doesn't exist."""
    for name in options:
        if name not in FaultOptions.__annotations__:
            known = ", ".join(FaultOptions.__annotations__)
            raise TypeError(f"there is no setting {name!r}; there are {known}")


def check_probability(name: str, value: object) -> None:
    """Raise if *value* isn't a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a probability, got {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value}")


def check_seconds(name: str, value: object) -> None:
    """Raise if *value* isn't a finite number from 0 up."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be from 0 up and finite, got {value}")


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
