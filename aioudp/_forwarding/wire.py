"""Pure: packed batches, the format of many datagrams in one message.

Other languages can read it, too. This is version 1, little-endian, with ``n``
datagrams, ``s`` source addresses and ``l`` local addresses::

    bytes    field
    0  - 3   "UDPB"
    4        version: 1
    5        flags: 1 = has arrival times, 2 = has local addresses
    6  - 7   size of this header: 64
    8  - 15  front: the process that received the datagrams, a random number
    16 - 23  sequence: 1, 2, 3 ... for each front and partition
    24 - 31  when the batch was started, in nanoseconds since the epoch
    32 - 35  n
    36 - 39  s
    40 - 43  l
    44 - 47  size of the address table
    48 - 51  size of the payloads
    52 - 55  partition
    56 - 63  datagrams that this front has dropped before this batch

    int64 x n       arrival times in nanoseconds since the epoch, if flagged
    int32 x (n+1)   where each payload begins, and the last ends: Arrow's binary layout
    uint32 x n      for each datagram, the index of its source address
    uint32 x n      the index of its local address, if flagged
    the address table: s sources, then l local addresses
    the payloads, without gaps

The first byte of an address is its family. It's followed by, for 4: 4 bytes host,
uint16 port; for 6: 16 bytes host, uint16 port, uint32 flow information, uint32 scope;
for 1 (a UNIX socket): uint16 length, then that many bytes of its name.

The reader checks everything: lengths that don't add up, an index out of range and an
unknown version raise :class:`ValueError`.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import le
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

from .._types import Address

VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBHQQqIIIIIIQ")
PER_DATAGRAM: Final = 8 + 4 + 4 + 4
"""Maximum overhead per datagram, in bytes."""

_MAGIC: Final = b"UDPB"
_TIMES: Final = 1
_LOCAL: Final = 2
_PORT: Final = struct.Struct("<H")
_PORT_FLOW_SCOPE: Final = struct.Struct("<HII")
_IP_SIZE: Final = 27
_UNIX_SIZE: Final = 3 + 110  # a name has 108 bytes at most on Linux, 104 elsewhere
_SWAP: Final = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Columns:
    """Datagrams as columns, like those of a :class:`~aioudp.DatagramBatch`."""

    data: Any
    """The payloads, one after the other, in an object with the buffer protocol."""

    offsets: Sequence[int]
    """Where each begins and the last ends; the first needn't be 0."""

    sources: Sequence[Any]
    source_index: Sequence[int]
    timestamps_ns: Sequence[int]
    """When each arrived, in nanoseconds since the epoch; empty if unknown."""

    local_addrs: Sequence[Any] = ()
    local_addr_index: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.source_index)

    @property
    def size(self) -> int:
        """Bytes of the payloads."""
        return self.offsets[-1] - self.offsets[0]

    def address_bytes(self, count: int) -> int:
        """Return how long the addresses of *count* of the datagrams are, at most."""
        return sum(
            min(count, len(addrs))
            * (_IP_SIZE if type(addrs[0]) is tuple else _UNIX_SIZE)
            for addrs in (self.sources, self.local_addrs)
            if addrs
        )

    @property
    def packed_size(self) -> int:
        """Bytes that the datagrams take in a message, at most."""
        count = len(self)
        return self.size + PER_DATAGRAM * count + self.address_bytes(count)

    def part(self, start: int, stop: int) -> Columns:
        """Return some of the datagrams, without copying a payload."""
        return replace(
            self,
            offsets=self.offsets[start : stop + 1],
            source_index=self.source_index[start:stop],
            timestamps_ns=self.timestamps_ns[start:stop],
            local_addr_index=self.local_addr_index[start:stop],
        )


class PackedBatch(NamedTuple):
    """What a message holds."""

    front: int
    sequence: int
    began_ns: int
    partition: int
    dropped: int
    columns: Columns


# -- writing


def cut(columns: Columns, max_bytes: int) -> Iterator[Columns]:
    """Yield *columns* in parts whose packed size is at most *max_bytes*.

    A single datagram that is longer is a part of its own.
    """
    start, count = 0, len(columns)
    each = PER_DATAGRAM
    if count and columns.packed_size > max_bytes:  # then count an address for each
        shared = columns.address_bytes(1)
        if len(columns.sources) > 1 or len(columns.local_addrs) > 1:
            each += shared
        else:
            max_bytes -= shared
    while start < count:
        # Both terms grow with the index, so the place to cut can be searched for.
        base = columns.offsets[start]
        fits = bisect_right(
            range(start + 1, count + 1),
            max_bytes,
            key=lambda stop: columns.offsets[stop] - base + each * (stop - start),
        )
        stop = start + max(1, fits)
        yield columns if stop - start == count else columns.part(start, stop)
        start = stop


def split(columns: Columns, partitions: int) -> dict[int, Columns]:
    """Split *columns* by source, so that each source belongs to one partition."""
    chosen = [_partition(addr, partitions) for addr in columns.sources]
    if len(set(chosen)) == 1:
        return {chosen[0]: columns}
    found: dict[int, list[int]] = {}
    for index, source in enumerate(columns.source_index):
        found.setdefault(chosen[source], []).append(index)
    return {
        partition: _gather(columns, found[partition]) for partition in sorted(found)
    }


def _partition(addr: Address, partitions: int) -> int:
    """Return the partition of a source, the same in all processes on all machines."""
    return crc32(_pack_address(addr)) % partitions


def _gather(columns: Columns, indexes: Sequence[int]) -> Columns:
    offsets = columns.offsets
    view = memoryview(columns.data)
    pieces = [view[offsets[i] : offsets[i + 1]] for i in indexes]
    ends = array("i", [0])
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    times, local = columns.timestamps_ns, columns.local_addr_index
    return replace(
        columns,
        data=b"".join(pieces),
        offsets=ends,
        source_index=array("I", [columns.source_index[i] for i in indexes]),
        timestamps_ns=array("q", [times[i] for i in indexes] if times else ()),
        local_addr_index=array("I", [local[i] for i in indexes] if local else ()),
    )


def pack(
    parts: Sequence[Columns],
    *,
    front: int,
    sequence: int,
    began_ns: int,
    partition: int = 0,
    dropped: int = 0,
) -> bytes:
    """Return one message that holds the datagrams of all *parts*, in order."""
    columns = parts[0] if len(parts) == 1 else _join(parts)
    first, last = columns.offsets[0], columns.offsets[-1]
    offsets = columns.offsets
    if first:
        offsets = array("i", [offset - first for offset in offsets])
    sources, source_index = _used(columns.sources, columns.source_index)
    local, local_index = _used(columns.local_addrs, columns.local_addr_index)
    table = b"".join([*map(_pack_address, sources), *map(_pack_address, local)])
    flags = _TIMES * bool(columns.timestamps_ns) | _LOCAL * bool(local_index)
    header = HEADER.pack(
        _MAGIC,
        VERSION,
        flags,
        HEADER.size,
        front,
        sequence,
        began_ns,
        len(source_index),
        len(sources),
        len(local),
        len(table),
        last - first,
        partition,
        dropped,
    )
    return b"".join(
        (
            header,
            _bytes("q", columns.timestamps_ns),
            _bytes("i", offsets),
            _bytes("I", source_index),
            _bytes("I", local_index),
            table,
            memoryview(columns.data)[first:last],
        )
    )


def _join(parts: Sequence[Columns]) -> Columns:
    """Join the datagrams of several batches."""
    data = bytearray()
    offsets = array("i", [0])
    times = array("q")
    sources: dict[Address, int] = {}
    local: dict[Address | None, int] = {}
    source_index, local_index = array("I"), array("I")
    for part in parts:
        shift = len(data) - part.offsets[0]
        data += memoryview(part.data)[part.offsets[0] : part.offsets[-1]]
        offsets.extend([offset + shift for offset in part.offsets[1:]])
        times.extend(part.timestamps_ns)
        _extend(source_index, sources, part.sources, part.source_index)
        _extend(local_index, local, part.local_addrs, part.local_addr_index)
    return Columns(
        data, offsets, list(sources), source_index, times, list(local), local_index
    )


def _extend(
    index: array[int], known: dict[Any, int], addrs: Sequence[Any], more: Sequence[int]
) -> None:
    """Append the indexes of a part, as indexes into the table of all addresses."""
    places = [known.setdefault(addr, len(known)) for addr in addrs]
    if len(places) == 1:
        index.extend(places * len(more))
    else:
        index.extend([places[i] for i in more])


def _used(
    addrs: Sequence[Any], index: Sequence[int]
) -> tuple[Sequence[Any], Sequence[int]]:
    """Remove addresses that no datagram uses: they belong to other parts."""
    used = sorted(set(index))
    if len(used) == len(addrs):
        return addrs, index
    place = {old: new for new, old in enumerate(used)}
    return [addrs[i] for i in used], array("I", [place[i] for i in index])


def _bytes(code: str, column: Sequence[int]) -> Any:
    """Return the bytes of a column, in the byte order of the format."""
    if _SWAP or not isinstance(column, (array, memoryview)):
        column = array(code, column)
        if _SWAP:
            column.byteswap()
    return memoryview(column).cast("B") if len(column) else b""


@lru_cache(maxsize=65536)
def _pack_address(addr: Address | None) -> bytes:
    if isinstance(addr, tuple):
        if len(addr) == 2:
            return b"\x04" + inet_pton(AF_INET, addr[0]) + _PORT.pack(addr[1])
        host = inet_pton(AF_INET6, addr[0])
        return b"\x06" + host + _PORT_FLOW_SCOPE.pack(*addr[1:])
    name = os.fsencode(addr or b"")
    return b"\x01" + _PORT.pack(len(name)) + name


# -- reading


def unpack(message: bytes) -> PackedBatch:
    """Unpack a message.

    Raises:
        ValueError: If it isn't a packed batch, has another version, or is damaged.
    """
    if len(message) < HEADER.size or message[:4] != _MAGIC:
        raise ValueError("this message is no packed batch")
    if message[4] != VERSION:
        raise ValueError(f"version {message[4]} of packed batches is unknown here")
    fields = HEADER.unpack_from(message)
    _, _, flags, header_size, front, sequence, began_ns = fields[:7]
    n, source_count, local_count, table_size, size, partition, dropped = fields[7:]
    columns_size = (8 * n if flags & _TIMES else 0) + (4 * n if flags & _LOCAL else 0)
    columns_size += 4 * (n + 1) + 4 * n
    if header_size < HEADER.size:
        raise ValueError("this packed batch is damaged: its header is too short")
    if len(message) != header_size + columns_size + table_size + size:
        raise ValueError("this packed batch is damaged: its lengths do not add up")
    position = header_size
    view = memoryview(message)

    def column(code: Literal["i", "I", "q"], count: int) -> Sequence[int]:
        nonlocal position
        start, position = position, position + count * struct.calcsize(code)
        if not _SWAP:
            return view[start:position].cast(code)
        swapped = array(code, view[start:position].tobytes())
        swapped.byteswap()
        return swapped

    times = column("q", n if flags & _TIMES else 0)
    offsets = column("i", n + 1)
    source_index = column("I", n)
    local_index = column("I", n if flags & _LOCAL else 0)
    table = _read_addresses(view[position : position + table_size])
    if len(table) != source_count + local_count:
        raise ValueError("this packed batch is damaged: addresses are missing")
    if (
        offsets[0] != 0
        or offsets[n] != size
        or not all(map(le, offsets, offsets[1:]))
        or max(source_index, default=-1) >= source_count
        or max(local_index, default=-1) >= local_count
        or bool(local_count) > bool(flags & _LOCAL)
    ):
        raise ValueError("this packed batch is damaged: an index is out of range")
    columns = Columns(
        view[position + table_size :],
        offsets,
        tuple(table[:source_count]),
        source_index,
        times,
        tuple(table[source_count:]),
        local_index,
    )
    return PackedBatch(front, sequence, began_ns, partition, dropped, columns)


def _read_addresses(table: memoryview) -> list[Address]:
    found: list[Address] = []
    position = 0
    try:
        while position < len(table):
            addr, position = _read_address(table, position)
            found.append(addr)
    except (struct.error, ValueError, IndexError):
        raise ValueError(
            "this packed batch is damaged: an address cannot be read"
        ) from None
    return found


def _read_address(table: memoryview, position: int) -> tuple[Address, int]:
    family = table[position]
    position += 1
    if family == 4:
        host = inet_ntop(AF_INET, table[position : position + 4])
        (port,) = _PORT.unpack_from(table, position + 4)
        return (host, port), position + 6
    if family == 6:
        host = inet_ntop(AF_INET6, table[position : position + 16])
        rest = _PORT_FLOW_SCOPE.unpack_from(table, position + 16)
        return (host, *rest), position + 26
    if family != 1:
        raise ValueError(f"no family of addresses has the number {family}")
    (length,) = _PORT.unpack_from(table, position)
    position += 2
    name = bytes(table[position : position + length])
    if len(name) != length:
        raise ValueError("the name ends too early")
    return (name if name[:1] == b"\0" else os.fsdecode(name)), position + length
