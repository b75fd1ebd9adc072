"""Pure: the batches that a front keeps until the engine has stored them.

A batch waits until it's published, and is kept until it's answered. If the answer takes
too long, or the connection is lost, the batch is published again; the engine recognizes
its id and stores it once. Memory is bounded. A batch is always in one of these states::

    waiting    -> published    there is a connection, and not too many are unanswered
    waiting    -> dropped      the overflow policy made room
    published  -> waiting      no answer in time, or the connection was lost
    published  -> acknowledged, refused        the engine answered

Only batches that were never published are dropped, and a batch gets its sequence number
when it's first published. So a gap in the numbers always means a loss in the engine,
never a drop by the policy.

What is published again goes before what is new, the earliest first. Where the order
matters, a partition has one batch on its way at a time: with two, the engine could take
the second and have no room for the first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from .._types import Overflow


@dataclass(slots=True, eq=False)
class Batch:
    """The datagrams of one message."""

    message: bytearray
    datagrams: int
    partition: int = 0
    sequence: int = 0
    """Its number; 0 until it is published."""
    place: int = 0
    """How many batches were added before it."""
    deadline: float = field(default=0.0)
    """When to publish it again, in the loop's time."""


class Ledger:
    """The batches of one front, and the counts of their datagrams."""

    __slots__ = (
        "_added",
        "_again",
        "_capacity",
        "_limit",
        "_new",
        "_ordered",
        "_overflow",
        "_published",
        "_sequences",
        "acknowledged",
        "dropped",
        "published",
        "refused",
        "republished",
        "size",
        "waiting",
    )

    def __init__(
        self,
        capacity: int,
        unanswered: int,
        overflow: Overflow,
        *,
        ordered: bool = False,
    ) -> None:
        self._capacity: Final = capacity  # bytes
        self._limit: Final = unanswered  # batches
        self._overflow: Final = overflow
        self._ordered: Final = ordered
        self._new: OrderedDict[int, deque[Batch]] = OrderedDict()  # by partition
        self._again: dict[tuple[int, int], Batch] = {}  # published before
        self._published: dict[tuple[int, int], Batch] = {}
        self._sequences: dict[int, int] = {}
        self._added = 0
        self.size = 0
        """The size of all messages kept, in bytes."""
        self.waiting = self.published = self.dropped = 0
        self.acknowledged = self.refused = 0
        """In datagrams."""
        self.republished = 0
        """Batches that were published again."""

    def __len__(self) -> int:
        new = sum(map(len, self._new.values()))
        return new + len(self._again) + len(self._published)

    @property
    def full(self) -> bool:
        """Whether the memory is full, so that receiving should pause."""
        return self.size >= self._capacity

    @property
    def pauses(self) -> bool:
        """Whether the overflow policy leaves datagrams in the kernel."""
        return self._overflow == "pause"

    def add(self, batch: Batch) -> None:
        """Add a new batch; if there is no room, the overflow policy drops one."""
        if self._overflow == "drop-newest" and self.full:
            self.dropped += batch.datagrams
            return
        self._added += 1
        batch.place = self._added
        self._new.setdefault(batch.partition, deque()).append(batch)
        self.size += len(batch.message)
        self.waiting += batch.datagrams
        if self._overflow == "drop-oldest":
            while self.size > self._capacity:
                oldest = min(queue[0].place for queue in self._new.values())
                if oldest == batch.place:  # the newest is kept
                    return
                self._drop(oldest)

    def _drop(self, place: int) -> None:
        for partition, queue in self._new.items():
            if queue[0].place == place:
                batch = self._take_new(partition)
                self.size -= len(batch.message)
                self.dropped += batch.datagrams
                return

    def _take_new(self, partition: int) -> Batch:
        queue = self._new[partition]
        batch = queue.popleft()
        self.waiting -= batch.datagrams
        if queue:
            self._new.move_to_end(partition)  # the others have their turn
        else:
            del self._new[partition]
        return batch

    def next(self, deadline: float) -> Batch | None:
        """Return the batch to publish now, if any.

        It counts as unanswered from now on, until *deadline* in the loop's time.
        """
        if len(self._published) >= self._limit:
            return None
        if self._again:
            key = min(self._again, key=lambda key: self._again[key].place)
            batch = self._again.pop(key)
            self.republished += 1
        else:
            partition = self._next_partition()
            if partition is None:
                return None
            batch = self._take_new(partition)
            batch.sequence = self._sequences.get(partition, 0) + 1
            self._sequences[partition] = batch.sequence
            self.published += batch.datagrams
        batch.deadline = deadline
        self._published[batch.partition, batch.sequence] = batch
        return batch

    def _next_partition(self) -> int | None:
        """Return a partition with a new batch that may be published."""
        busy = {partition for partition, _ in self._published} if self._ordered else ()
        return next((one for one in self._new if one not in busy), None)

    def answer(self, partition: int, sequence: int, *, stored: bool) -> bool:
        """Note the engine's answer; return whether it was still awaited."""
        key = partition, sequence
        batch = self._published.pop(key, None) or self._again.pop(key, None)
        if batch is None:
            return False
        self.size -= len(batch.message)
        if stored:
            self.acknowledged += batch.datagrams
        else:
            self.refused += batch.datagrams
        return True

    def retry(self, partition: int, sequence: int) -> None:
        """Schedule a batch to be published again, because the engine had no room."""
        if batch := self._published.pop((partition, sequence), None):
            self._again[partition, sequence] = batch

    def expire(self, now: float) -> int:
        """Schedule overdue batches to be published again; return their number."""
        late = [key for key, batch in self._published.items() if batch.deadline <= now]
        for key in late:
            self._again[key] = self._published.pop(key)
        return len(late)

    def disconnect(self) -> None:
        """Schedule all unanswered batches to be published again."""
        self._again.update(self._published)
        self._published.clear()

    @property
    def batches(self) -> int:
        """How many distinct batches were published."""
        return sum(self._sequences.values())
