"""Random numbers that are the same on every machine, Python version and run.

A stream is seeded by text, which :class:`random.Random` hashes with SHA-512, so
neither hash order nor the platform's word size can leak in. Each direction of each
link has streams of its own: what happens on one link does not move the draws of
another.

The C library's ``log`` and ``exp`` differ in the last bit between systems. So what is
drawn is made of comparisons, sums and square roots alone, which IEEE 754 defines to
the last bit.
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
mean ``jitter``. ``"pareto"`` has it too, and a heavy tail: one in a hundred is five
times as long (shape 2).
"""

DISTRIBUTIONS: Final = get_args(Distribution)

Draw: TypeAlias = Callable[[], float]


def stream(*names: object) -> Random:
    """Return a generator that depends on *names* and on nothing else."""
    return Random(">".join(map(str, names)))


def jitter(distribution: Distribution, scale: float, uniform: Draw) -> float:
    """Draw a delay, in seconds."""
    if distribution == "uniform":
        return scale * uniform()
    if distribution == "normal":
        # The sum of twelve: variance 1, and no tail beyond 6 standard deviations.
        deviation = sum(uniform() for _ in range(12)) - 6.0
        return max(0.0, scale * (1.0 + deviation / 4.0))
    if distribution == "exponential":
        return scale * _exponential(uniform)
    return scale * (1.0 / math.sqrt(1.0 - uniform()) / 2.0)


def _exponential(uniform: Draw) -> float:
    """Draw from the exponential distribution of mean 1, by comparisons alone.

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
