"""Pure: a batch of datagrams as records of a capture file.

Making headers for each datagram takes longer than receiving it. But datagrams that
arrived as one train differ in nothing but their payloads. Over IPv4, where the UDP
checksum may be 0 for none, such a run has the same headers throughout, and is written
with one ``join``. IPv6 requires the checksum, so there each datagram has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import sub
from typing import Any, Final

from .._types import Address
from .datagram_batch import DatagramBatch
from .pcap import RECORD, headers

_UNSPECIFIED: Final = {False: "0.0.0.0", True: "::"}
_KEPT: Final = 10_000  # headers, for as many combinations of sender and length
_HOP_LIMIT: Final = 64  # for a datagram whose own is unknown


class BatchRecords:
    """Makes the records; *port* is the one that the datagrams were sent to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers: dict[tuple[Any, ...], bytes] = {}

    def of(self, batch: DatagramBatch, now_ns: int) -> Iterator[tuple[int, bytes]]:
        """Yield the records of each run, and how many datagrams it has.

        *now_ns* is the time of datagrams whose own is unknown, since 1970.
        """
        data, offsets = bytes(batch.data), batch.offsets.tolist()
        sources, places = batch.sources, batch.local_addrs or (None,)
        for start, stop, row in _runs(batch, offsets):
            size, stamp, source, place, tos, hop_limit = row
            key = (sources[source], places[place], size, tos, hop_limit)
            begin, end = offsets[start], offsets[stop]
            if size:
                payloads = [data[at : at + size] for at in range(begin, end, size)]
            else:
                payloads = [b""] * (stop - start)
            v6 = ":" in str(sources[source][0])
            fixed = b"" if v6 else self._known(key)
            length = size + (48 if v6 else 28)
            time = divmod(stamp or now_ns, 1_000_000_000)
            fixed = RECORD.pack(*time, length, length) + fixed
            if v6:
                yield (
                    stop - start,
                    b"".join(fixed + self._made(key, one) + one for one in payloads),
                )
            else:
                yield stop - start, fixed + fixed.join(payloads)

    def _known(self, key: tuple[Any, ...]) -> bytes:
        made = self._headers.get(key)
        if made is None:
            if len(self._headers) >= _KEPT:
                self._headers.clear()
            made = self._headers[key] = self._made(key, None)
        return made

    def _made(self, key: tuple[Any, ...], data: bytes | None) -> bytes:
        source, place, size, tos, hop_limit = key
        return headers(
            source[:2],
            (_host(place, v6=":" in source[0]), self._port),
            size,
            tos=tos,
            hop_limit=hop_limit or _HOP_LIMIT,
            data=data,
        )


def _host(place: Address | None, *, v6: bool) -> str:
    """Return the host that a datagram was sent to, in its sender's family."""
    if isinstance(place, tuple) and (":" in place[0]) == v6:
        return str(place[0])
    return _UNSPECIFIED[v6]


def _runs(
    batch: DatagramBatch, offsets: list[int]
) -> Iterator[tuple[int, int, list[int]]]:
    """Yield where each run starts and stops, and its row of the columns."""
    count = len(batch)
    if not count:
        return
    views = (
        batch.timestamps_ns,
        batch.source_index,
        batch.local_addr_index,
        batch.tos,
        batch.hop_limit,
    )
    size = batch.segment_size
    row = [size or 0, *(view[0] if view else 0 for view in views)]
    changing: list[tuple[int, list[int]]] = []
    if size is None:
        changing.append((0, list(map(sub, offsets[1:], offsets))))
    for index, view in enumerate(views, 1):
        if view and view.tobytes() != view[:1].tobytes() * count:
            changing.append((index, view.tolist()))
    if not changing:
        yield 0, count, row
        return
    rows = list(zip(*(column for _, column in changing), strict=True))
    start = 0
    for values, same in groupby(rows):
        stop = start + sum(1 for _ in same)
        for (index, _), value in zip(changing, values, strict=True):
            row[index] = value
        yield start, stop, row
        start = stop
