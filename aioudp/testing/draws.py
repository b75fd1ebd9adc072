"""Random numbers that are the same on every machine, Python version and run.

A stream is seeded with text, which :class:`random.Random` hashes with SHA-512. So
neither hash order nor the platform's word size matters. Each direction of each link has
its own streams: what happens on one link doesn't affect the draws of another.

The C library's ``log`` and ``exp`` differ in the last bit between systems. So the
distributions use only comparisons, basic arithmetic and square roots, which IEEE 754
defines to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Final, Literal, TypeAlias, get_args

Distribution: TypeAlias = Literal["uniform", "normal", "exponential", "pareto"]
"""The shape of the jitter.

``"uniform"`` lies between 0 and ``jitter``. ``"normal"`` has the mean ``jitter`` and a
standard deviation of a quarter of it, and is never negative. ``"exponential"`` has the
mean ``jitter``. So does ``"pareto"``, with a heavy tail: one in a hundred is five times
as long (shape 2).
"""

DISTRIBUTIONS: Final = get_args(Distribution)

Draw: TypeAlias = Callable[[], float]


def stream(*names: object) -> Random:
    """Return a generator that depends on *names* only."""
    return Random(">".join(map(str, names)))


def jitter(distribution: Distribution, scale: float, uniform: Draw) -> float:
    """Draw a delay, in seconds."""
    if distribution == "uniform":
        return scale * uniform()
    if distribution == "normal":
        # The sum of twelve has variance 1, and no tail beyond 6 standard deviations.
        deviation = sum(uniform() for _ in range(12)) - 6.0
        return max(0.0, scale * (1.0 + deviation / 4.0))
    if distribution == "exponential":
        return scale * _exponential(uniform)
    return scale * (1.0 / math.sqrt(1.0 - uniform()) / 2.0)


def _exponential(uniform: Draw) -> float:
    """Draw from the exponential distribution with mean 1, by comparisons only.

    J. von Neumann, "Various techniques used in connection with random digits", 1951.
    """
    whole = 0
    while True:
        first = last = uniform()
        run = 1
        while (drawn := uniform()) <= last:
            last = drawn
            run += 1
        if run % 2:
            return whole + first
        whole += 1
