"""Pure: the requests in flight, indexed by peer and id, and by due time.

An answer counts only if it comes from the request's destination and has the request's
id, so both form the key. A request is removed from the table when it's answered or
given up. The due times are in a heap. Outdated ones are removed when they make up more
than half of it, and all of them when no request is in flight. So the table is never
larger than a small multiple of the number of requests in flight.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from .._types import Address

_SLACK: Final = 64  # outdated times that aren't worth a clean-up

_T = TypeVar("_T")


class Entry(Generic[_T]):
    """One request in flight."""

    __slots__ = ("_time", "id", "item", "peer", "pending")

    def __init__(self, peer: Address, id: Hashable, item: _T) -> None:
        self.peer = peer
        self.id = id
        self.item = item
        self.pending: bool = True
        """Whether it's in the table."""
        self._time: int = -1  # the number of its valid time in the heap


class Table(Generic[_T]):
    """The requests in flight from one port."""

    __slots__ = ("_count", "_heap", "_number", "_peers")

    def __init__(self) -> None:
        self._peers: dict[Address, dict[Hashable, Entry[_T]]] = {}
        self._heap: list[tuple[float, int, Entry[_T]]] = []
        self._number = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry[_T]]:
        for asked in self._peers.values():
            yield from asked.values()

    @property
    def times(self) -> int:
        """The number of times in the heap, including outdated ones."""
        return len(self._heap)

    def asked(self, peer: Address) -> Mapping[Hashable, Entry[_T]] | None:
        """Return the pending requests to *peer*, by id."""
        return self._peers.get(peer)

    def add(self, peer: Address, id: Hashable, item: _T) -> Entry[_T]:
        """Add a request. There must be none with this peer and id."""
        entry = Entry(peer, id, item)
        asked = self._peers.get(peer)
        if asked is None:
            asked = self._peers[peer] = {}
        asked[id] = entry
        self._count += 1
        return entry

    def remove(self, entry: Entry[_T]) -> None:
        """Remove a request and its time. Idempotent."""
        if not entry.pending:
            return
        entry.pending = False
        asked = self._peers[entry.peer]
        del asked[entry.id]
        if not asked:
            del self._peers[entry.peer]
        self._count -= 1
        entry._time = -1
        if len(self._heap) > 2 * self._count + _SLACK or not self._count:
            self._tidy()

    def schedule(self, entry: Entry[_T], due: float) -> None:
        """Set the due time of *entry*."""
        self._number += 1
        entry._time = self._number
        heappush(self._heap, (due, self._number, entry))
        if len(self._heap) > 2 * self._count + _SLACK:
            self._tidy()

    def next_due(self) -> float | None:
        """Return the earliest time at which a request may be due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Entry[_T]]:
        """Remove and return the requests that are due by *now*, earliest first."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, number, entry = heappop(self._heap)
            if entry._time == number:
                entry._time = -1
                found.append(entry)
        return found

    def _tidy(self) -> None:
        """Remove the outdated times."""
        if not self._count:
            self._heap.clear()
            return
        self._heap = [one for one in self._heap if one[2]._time == one[1]]
        heapify(self._heap)
