"""Pure: the datagrams of a batch on their way out, without an object for each.

It is what ``prepare`` gives for other datagrams, a sequence of payload and destination,
so the readable twin sends it like any other. The compiled twin reads the columns: what
stands together in the batch, is equally long and goes to one peer is a train already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from .datagram_batch import DatagramBatch


class PreparedBatch(Sequence[tuple[bytes, Any]]):
    """Some rows of a batch, each with a destination that the socket takes.

    *targets* has the distinct destinations and *numbers*, a buffer of ``"I"``, the
    index of each row's own; without *numbers* all rows go to the first one. While it
    exists the batch cannot be recycled.
    """

    __slots__ = ("data", "numbers", "offsets", "start", "stop", "targets")

    def __init__(
        self,
        batch: DatagramBatch,
        targets: list[Any],
        numbers: memoryview | None,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self.data = batch.data
        self.offsets = batch.offsets
        self.targets = targets
        self.numbers = numbers
        self.start = start
        self.stop = len(batch) if stop is None else stop

    def part(self, start: int, stop: int) -> PreparedBatch:
        """Return the rows from *start* to *stop*."""
        part: PreparedBatch = object.__new__(PreparedBatch)
        part.data, part.offsets = self.data, self.offsets
        part.targets, part.numbers = self.targets, self.numbers
        part.start, part.stop = self.start + start, self.start + stop
        return part

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> tuple[bytes, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[bytes, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(self.start, self.stop)[index]  # checks it
        payload = bytes(self.data[self.offsets[row] : self.offsets[row + 1]])
        number = 0 if self.numbers is None else self.numbers[row]
        return payload, self.targets[number]
