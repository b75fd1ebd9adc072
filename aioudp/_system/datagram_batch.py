"""Pure: many datagrams without an object for each.

A batch stores datagrams in columns. One block of memory contains all payloads, one
after the other. Other columns contain where each begins, who sent it, and its packet
info. Columns support the buffer protocol, so ``numpy.frombuffer``,
``pyarrow.py_buffer`` and ``memoryview.cast`` use them without a copy. The batch creates
a :class:`~aioudp.Datagram` only when a row is accessed.

Storage. Each column is a bytearray that belongs to the batch. It may be longer than the
part in use, and the properties return read-only views of that part. A bytearray can't
be resized while a view of it exists. This is how a batch detects that it can't be
recycled; it needs no flag.

The rows of one train differ only in their payloads. The readable twin stores a train as
one *run*, and expands it into rows when a column is accessed. The compiled twin writes
the rows at once.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    Self,
    SupportsIndex,
    overload,
)

from .._types import AddressT_co, Datagram, Message, Received

MAX_BATCH_BYTES: Final = 2**31 - 1
"""Maximum bytes per batch: offsets have 32 bits."""

_EMPTY: Final = -1  # as segment size: there is no datagram yet ...
_DIFFERENT: Final = -2  # ... or they are of several sizes
_BLOCK: Final = 65536  # bytes; neither a datagram nor a train is longer


class DatagramBatch(Sequence[Datagram[AddressT_co]], Generic[AddressT_co]):
    """Datagrams that arrived together, oldest first, returned by ``recv_batch``.

    It's a sequence of :class:`~aioudp.Datagram` objects, which are created on access.
    The columns are read-only views. An array that uses a column without a copy keeps
    its memory alive, and the batch can't be recycled while it exists.
    """

    __slots__ = (
        "_count",
        "_data",
        "_hop_limits",
        "_info",
        "_interfaces",
        "_offsets",
        "_place_index",
        "_place_numbers",
        "_places",
        "_runs",
        "_segment",
        "_size",
        "_source_index",
        "_source_numbers",
        "_sources",
        "_stamps",
        "_tos",
    )

    __hash__: ClassVar[None] = None  # type: ignore[assignment] # it's mutable

    def __init__(self) -> None:
        self._data = bytearray()
        self._offsets = bytearray(4)
        self._source_index = bytearray()
        self._stamps = bytearray()
        self._tos = bytearray()
        self._hop_limits = bytearray()
        self._place_index = bytearray()
        self._interfaces = bytearray()
        self._sources: list[AddressT_co] = []
        self._source_numbers: dict[Any, int] = {}
        self._places: list[tuple[AddressT_co | None, bool | None]] = []
        self._place_numbers: dict[tuple[Any, bool | None], int] = {}
        self._runs: list[tuple[int, ...]] = []
        self._clear()

    def _clear(self) -> None:
        self._info = False  # whether it has the columns of packet info
        self._count = self._size = 0
        self._segment = _EMPTY
        for table in (
            self._sources,
            self._source_numbers,
            self._places,
            self._place_numbers,
            self._runs,
        ):
            table.clear()

    # -- the columns

    @property
    def data(self) -> memoryview:
        """All payloads, one after the other, without gaps."""
        return memoryview(self._data)[: self._size].toreadonly()

    @property
    def offsets(self) -> memoryview:
        """Where each payload begins in :attr:`data`, and where the last one ends.

        ``len(batch) + 1`` integers of 32 bits (``"i"``): Arrow's layout of binary data.
        """
        return self._column(self._offsets, 4 * (self._count + 1), "i")

    @property
    def segment_size(self) -> int | None:
        """The length of each payload in bytes; ``None`` if they differ."""
        return self._segment if self._segment >= 0 else None

    @property
    def sources(self) -> tuple[AddressT_co, ...]:
        """The distinct addresses of the senders."""
        return tuple(self._sources)

    @property
    def source_index(self) -> memoryview:
        """The index of each datagram's sender in :attr:`sources` (``"I"``)."""
        return self._column(self._source_index, 4 * self._count, "I")

    @property
    def timestamps_ns(self) -> memoryview | None:
        """When each datagram arrived, in nanoseconds since the epoch; 0 if unknown
        (``"q"``).

        Like the other columns of packet info, it's ``None`` if the endpoint was opened
        without ``packet_info=True``.
        """
        return self._information(self._stamps, 8, "q")

    @property
    def tos(self) -> memoryview | None:
        """The type of service or traffic class of each (``"B"``); 0 if unknown."""
        return self._information(self._tos, 1, "B")

    @property
    def hop_limit(self) -> memoryview | None:
        """The remaining time to live or hop limit of each (``"B"``); 0 if unknown."""
        return self._information(self._hop_limits, 1, "B")

    @property
    def interfaces(self) -> memoryview | None:
        """The index of the interface that received each (``"I"``); 0 if unknown."""
        return self._information(self._interfaces, 4, "I")

    @property
    def local_addrs(self) -> tuple[AddressT_co | None, ...] | None:
        """The destination addresses of the datagrams, for :attr:`local_addr_index`.

        An item is ``None`` if the address is unknown.
        """
        return tuple(addr for addr, _ in self._places) if self._info else None

    @property
    def local_addr_index(self) -> memoryview | None:
        """The index of each datagram's destination in :attr:`local_addrs` (``"I"``)."""
        return self._information(self._place_index, 4, "I")

    def _column(
        self, column: bytearray, used: int, kind: Literal["i", "I", "q", "B"]
    ) -> memoryview:
        if self._runs:
            self._write_down()
        return memoryview(column)[:used].cast(kind).toreadonly()

    def _information(
        self, column: bytearray, size: int, kind: Literal["i", "I", "q", "B"]
    ) -> memoryview | None:
        if not self._info:
            return None
        return self._column(column, size * self._count, kind)

    # -- a sequence

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: SupportsIndex) -> Datagram[AddressT_co]: ...
    @overload
    def __getitem__(self, index: slice) -> DatagramBatch[AddressT_co]: ...
    def __getitem__(
        self, index: SupportsIndex | slice
    ) -> Datagram[AddressT_co] | DatagramBatch[AddressT_co]:
        if isinstance(index, slice):
            part: DatagramBatch[AddressT_co] = DatagramBatch()
            part._extend([self._row(row) for row in range(*index.indices(self._count))])
            part._trim()
            return part
        row = range(self._count)[index]  # checks it
        offsets, sources = self.offsets, self.source_index
        payload = bytes(self.data[offsets[row] : offsets[row + 1]])
        return Datagram(payload, self._sources[sources[row]])

    def __iter__(self) -> Iterator[Datagram[AddressT_co]]:
        data, begin = self.data, 0
        for end, source in zip(self.offsets[1:], self.source_index, strict=True):
            yield Datagram(bytes(data[begin:end]), self._sources[source])
            begin = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (DatagramBatch, list, tuple)):
            return NotImplemented
        if len(other) != self._count:
            return False
        if isinstance(other, DatagramBatch) and self.data != other.data:
            return False
        return all(one == two for one, two in zip(self, other, strict=True))

    def __repr__(self) -> str:
        count, sources = self._count, len(self._sources)
        return (
            f"<DatagramBatch of {count} datagram{'s' * (count != 1)}, "
            f"{self._size} bytes, from {sources} source{'s' * (sources != 1)}>"
        )

    # -- used by the twins and the endpoint

    def _recycle(self) -> None:
        """Remove all datagrams, and keep the memory.

        Raises:
            BufferError: If a view of a column still exists.
        """
        for column in (
            self._data,
            self._offsets,
            self._source_index,
            self._stamps,
            self._tos,
            self._hop_limits,
            self._place_index,
            self._interfaces,
        ):
            try:
                column.append(0)
                column.pop()
            except BufferError:
                raise BufferError(
                    "a batch cannot be recycled while its columns are viewed"
                ) from None
        self._clear()

    def _swap(self, other: DatagramBatch[Any]) -> None:
        """Swap content and memory with another batch."""
        for name in DatagramBatch.__slots__:
            mine = getattr(self, name)
            setattr(self, name, getattr(other, name))
            setattr(other, name, mine)

    def _trim(self) -> None:
        """Release unused memory, for batches that won't be recycled."""
        if self._runs:
            self._write_down()
        count = self._count
        del self._data[self._size :]
        del self._offsets[4 * (count + 1) :]
        del self._source_index[4 * count :]
        if self._info:
            del self._stamps[8 * count :]
            del self._tos[count:]
            del self._hop_limits[count:]
            del self._place_index[4 * count :]
            del self._interfaces[4 * count :]

    def _reserve(self, size: int = _BLOCK) -> None:
        """Make room for *size* more bytes."""
        missing = self._size + size - len(self._data)
        if missing > 0 and not self._data:
            self._data = bytearray(missing)
        elif missing > 0:
            self._data += bytes(max(missing, len(self._data)))

    def _add_run(
        self, length: int, segment_size: int, addr: Any, info: Any = None
    ) -> None:
        """Add the datagrams in the *length* bytes after the part in use."""
        count, last = 1, length
        if 0 < segment_size < length:
            count = -(-length // segment_size)
            last = length - segment_size * (count - 1)
        else:
            segment_size = length
        number = self._source_numbers.get(addr)
        if number is None:
            number = self._number_source(addr)
        run: tuple[int, ...] = (count, segment_size, last, number)
        if info is not None:
            self._info = True
            place = self._number_place(info[0], info[8])
            run = (*run, info[6] or 0, info[2] or 0, info[3] or 0, place, info[1] or 0)
        self._runs.append(run)
        if self._segment == _EMPTY:
            self._segment = segment_size
        if last != segment_size or segment_size != self._segment:
            self._segment = _DIFFERENT
        self._size += length
        self._count += count

    def _number_source(self, addr: Any) -> int:
        number = self._source_numbers[addr] = len(self._sources)
        self._sources.append(addr)
        return number

    def _number_place(self, local_addr: Any, unicast: bool | None) -> int:
        place = local_addr, unicast
        number = self._place_numbers.get(place)
        if number is None:
            number = self._place_numbers[place] = len(self._places)
            self._places.append(place)
        return number

    def _write_down(self) -> None:
        """Expand the runs into rows."""
        runs, self._runs = self._runs, []
        row = self._count - sum(run[0] for run in runs)
        begin = int.from_bytes(self._offsets[4 * row : 4 * row + 4], sys.byteorder)
        offsets, sources = array("i"), array("I")
        stamps, tos, hops = array("q"), array("B"), array("B")
        places, interfaces = array("I"), array("I")
        for count, size, last, source, *info in runs:
            end = begin + size * (count - 1)
            if count > 1:
                offsets.extend(range(begin + size, end + 1, size))
            begin = end + last
            offsets.append(begin)
            sources.extend([source] * count)
            if self._info:
                stamp, kind, hop, place, interface = info
                stamps.extend([stamp] * count)
                tos.extend([kind] * count)
                hops.extend([hop] * count)
                places.extend([place] * count)
                interfaces.extend([interface] * count)
        self._offsets[4 * (row + 1) :] = offsets.tobytes()
        self._source_index[4 * row :] = sources.tobytes()
        self._stamps[8 * row :] = stamps.tobytes()
        self._tos[row:] = tos.tobytes()
        self._hop_limits[row:] = hops.tobytes()
        self._place_index[4 * row :] = places.tobytes()
        self._interfaces[4 * row :] = interfaces.tobytes()

    def _extend(self, datagrams: Iterable[Received]) -> None:
        """Add copies of *datagrams*: either all or none are messages."""
        for one in datagrams:
            size = len(one.data)
            self._reserve(size)
            self._data[self._size : self._size + size] = one.data
            info = tuple(one[2:]) if isinstance(one, Message) else None
            self._add_run(size, 0, one.addr, info)

    def _row(self, row: int) -> Received:
        """Return a datagram as it would be queued: a message if it has packet info."""
        datagram = self[row]
        if not self._info:
            return datagram
        local_addr, unicast = self._places[
            self._column(self._place_index, 4 * self._count, "I")[row]
        ]
        stamp = self._column(self._stamps, 8 * self._count, "q")[row]
        hop_limit = self._hop_limits[row]
        interface = self._column(self._interfaces, 4 * self._count, "I")[row]
        return Message(
            *datagram,
            local_addr,
            interface or None,
            self._tos[row] if hop_limit else None,  # the kernel reports both or neither
            hop_limit or None,
            stamp / 1e9 if stamp else None,
            timestamp_ns=stamp or None,
            unicast=unicast,
        )

    def _cut(self, max_datagrams: int) -> list[Received]:
        """Remove and return the datagrams from an index on."""
        if max_datagrams >= self._count:
            return []
        offsets, sources = self.offsets.tolist(), self.source_index.tolist()
        rest = [self._row(row) for row in range(max_datagrams, self._count)]
        self._count, self._size = max_datagrams, offsets[max_datagrams]
        if not max_datagrams:
            self._clear()
            return rest
        known = max(sources[:max_datagrams]) + 1
        for addr in self._sources[known:]:
            del self._source_numbers[addr]
        del self._sources[known:]
        if self._segment == _DIFFERENT:
            size = offsets[1]
            if size and offsets[: max_datagrams + 1] == list(
                range(0, size * max_datagrams + 1, size)
            ):
                self._segment = size
        return rest

    def _leave_out(self, addrs: frozenset[Any]) -> None:
        """Remove the datagrams that came from *addrs*."""
        if addrs.isdisjoint(self._sources):
            return
        sources = [self._sources[number] for number in self.source_index]
        kept = [self._row(row) for row, addr in enumerate(sources) if addr not in addrs]
        self._recycle()
        self._extend(kept)

    @classmethod
    def _of(cls, datagrams: Iterable[Received]) -> Self:
        """Return a batch of copies of *datagrams*."""
        batch = cls()
        batch._extend(datagrams)
        return batch
