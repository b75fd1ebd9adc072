"""Pure: what a front holds until the stream engine has it, in bounded memory.

A batch waits until it is published, and is kept until it is answered. One without an
answer, for too long or because the connection is gone, is published again: the engine
knows it by its id and stores it once. So a batch is always in one of these states::

    waiting    -> published    there is a connection, and a place among the unanswered
    waiting    -> dropped      the overflow policy made room
    published  -> waiting      no answer in time, or the connection is gone
    published  -> acknowledged, refused        the engine answered

Only what was never published is dropped, and it gets its sequence number when it is
published first. So a gap in the numbers that somebody reads is always a loss in the
engine, never the policy's doing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from .._types import Overflow


@dataclass(slots=True, eq=False)
class Batch:
    """Datagrams that become one message."""

    message: bytearray
    datagrams: int
    partition: int = 0
    sequence: int = 0
    """Its number; 0 until it is published."""
    deadline: float = field(default=0.0)
    """When to publish it again, in the loop's time."""


class Ledger:
    """The batches of one front, and the counts of their datagrams."""

    __slots__ = (
        "_capacity",
        "_limit",
        "_overflow",
        "_published",
        "_sequences",
        "_waiting",
        "acknowledged",
        "dropped",
        "published",
        "refused",
        "republished",
        "size",
        "waiting",
    )

    def __init__(self, capacity: int, unanswered: int, overflow: Overflow) -> None:
        self._capacity: Final = capacity  # bytes
        self._limit: Final = unanswered  # batches
        self._overflow: Final = overflow
        self._waiting: deque[Batch] = deque()
        self._published: dict[tuple[int, int], Batch] = {}
        self._sequences: dict[int, int] = {}
        self.size = 0
        """Bytes of all the messages held."""
        self.waiting = self.published = self.dropped = 0
        self.acknowledged = self.refused = 0
        """Datagrams, as the names say."""
        self.republished = 0
        """Batches that were published once more."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._published)

    @property
    def full(self) -> bool:
        """Whether there is no room, so that receiving should pause."""
        return self.size >= self._capacity

    @property
    def pauses(self) -> bool:
        """Whether the overflow policy leaves datagrams in the kernel."""
        return self._overflow == "pause"

    def add(self, batch: Batch) -> None:
        """Take a new batch, and drop by the policy what there is no room for."""
        if self._overflow == "drop-newest" and self.full:
            self.dropped += batch.datagrams
            return
        self._waiting.append(batch)
        self.size += len(batch.message)
        self.waiting += batch.datagrams
        if self._overflow == "drop-oldest":
            self._make_room()

    def _make_room(self) -> None:
        kept: deque[Batch] = deque()
        while self._waiting and self.size > self._capacity and len(self._waiting) > 1:
            batch = self._waiting.popleft()
            if batch.sequence:  # it may be in the engine already
                kept.append(batch)
                continue
            self.size -= len(batch.message)
            self.waiting -= batch.datagrams
            self.dropped += batch.datagrams
        self._waiting.extendleft(reversed(kept))

    def next(self, deadline: float) -> Batch | None:
        """Return the batch to publish now, if there is one and a place for it.

        It counts as unanswered from now on, until *deadline* in the loop's time.
        """
        if not self._waiting or len(self._published) >= self._limit:
            return None
        batch = self._waiting.popleft()
        if batch.sequence:
            self.republished += 1
        else:
            batch.sequence = self._sequences.get(batch.partition, 0) + 1
            self._sequences[batch.partition] = batch.sequence
            self.waiting -= batch.datagrams
            self.published += batch.datagrams
        batch.deadline = deadline
        self._published[batch.partition, batch.sequence] = batch
        return batch

    def answer(self, partition: int, sequence: int, *, stored: bool) -> bool:
        """Note the engine's answer. Returns whether it was still awaited."""
        batch = self._published.pop((partition, sequence), None)
        if batch is None:
            batch = self._waiting_again(partition, sequence)
        if batch is None:
            return False
        self.size -= len(batch.message)
        if stored:
            self.acknowledged += batch.datagrams
        else:
            self.refused += batch.datagrams
        return True

    def _waiting_again(self, partition: int, sequence: int) -> Batch | None:
        """Take out a batch whose answer came late."""
        for batch in self._waiting:
            if (batch.partition, batch.sequence) == (partition, sequence):
                self._waiting.remove(batch)
                return batch
        return None

    def retry(self, partition: int, sequence: int) -> None:
        """Let one batch be published again: the engine had no room for it."""
        if batch := self._published.pop((partition, sequence), None):
            self._put_back([batch])

    def expire(self, now: float) -> int:
        """Let what waited too long be published again; return how many batches."""
        late = [batch for batch in self._published.values() if batch.deadline <= now]
        for batch in late:
            del self._published[batch.partition, batch.sequence]
        self._put_back(late)
        return len(late)

    def disconnect(self) -> None:
        """Let everything unanswered be published again."""
        batches = list(self._published.values())
        self._published.clear()
        self._put_back(batches)

    def _put_back(self, batches: list[Batch]) -> None:
        self._waiting.extendleft(reversed(batches))

    @property
    def batches(self) -> int:
        """How many different batches were published."""
        return sum(self._sequences.values())
