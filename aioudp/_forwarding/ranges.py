"""Pure: sets of sequence numbers, stored as ranges, of which there is usually one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Ranges:
    """A set of positive numbers, which are mostly added in order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # included
        for start, end in ranges:
            self.update(start, end)

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.pairs() == other.pairs()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranges({self.pairs()})"

    @property
    def count(self) -> int:
        """How many ranges there are."""
        return len(self._starts)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the first and last number of each range."""
        return list(zip(self._starts, self._ends, strict=True))

    def add(self, number: int) -> bool:
        """Add one number; return whether it is new."""
        if number in self:
            return False
        self.update(number, number)
        return True

    def update(self, start: int, end: int) -> None:
        """Add all numbers from *start* to *end*."""
        # The ranges that overlap the new one, or touch it, become one with it.
        first = bisect_right(self._ends, start - 2)
        last = bisect_right(self._starts, end + 1)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def forget(self, keep: int) -> int:
        """Keep the last *keep* ranges; return how many numbers the others had."""
        before = len(self)
        del self._starts[:-keep], self._ends[:-keep]
        return before - len(self)

    def missing(self) -> int:
        """Return how many numbers between 1 and the greatest are missing."""
        return self._ends[-1] - len(self) if self._ends else 0
