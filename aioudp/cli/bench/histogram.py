"""Percentiles of durations, in bounded memory.

Buckets grow with the value: each power of two is divided into 32, so a percentile is
never more than 1/32 above the true one, from a nanosecond to hours, with a few hundred
integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

_BITS: Final = 5


class Histogram:
    """Counts of durations in nanoseconds."""

    __slots__ = ("_counts", "count")

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        self._counts: dict[int, int] = dict(counts)
        self.count: int = sum(self._counts.values())

    def add(self, nanoseconds: int, times: int = 1) -> None:
        """Count a duration; a negative one counts as 0."""
        bucket = _bucket(max(0, nanoseconds))
        self._counts[bucket] = self._counts.get(bucket, 0) + times
        self.count += times

    def percentile(self, percent: float) -> float | None:
        """Return the percentile in seconds; ``None`` if there are no durations."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(self.count * percent / 100))
        for bucket in sorted(self._counts):
            wanted -= self._counts[bucket]
            if wanted <= 0:
                break
        return _highest(bucket) / 1e9

    def buckets(self) -> list[tuple[int, int]]:
        """Return the counts, from which the constructor makes the same histogram."""
        return sorted(self._counts.items())


def _bucket(value: int) -> int:
    """Return the number of a value's bucket: the power of two, then the 32nd of it."""
    excess = max(0, value.bit_length() - _BITS - 1)
    return (excess << _BITS) + (value >> excess)


def _highest(bucket: int) -> int:
    """Return the highest value of a bucket."""
    if bucket < 2 << _BITS:
        return bucket
    excess = (bucket >> _BITS) - 1
    return ((((bucket & ((1 << _BITS) - 1)) | 1 << _BITS) + 1) << excess) - 1
