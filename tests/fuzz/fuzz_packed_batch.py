"""A fuzz target: the reader of packed batches, which other machines send.

Whatever the message holds, ``unpack`` returns datagrams that ``pack`` writes and
``unpack`` reads again as the same, or raises the ``ValueError`` that it promises.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from typing import Any

from aioudp import Address
from aioudp._forwarding import wire
from tests.fuzz import driver


def datagrams(columns: wire.Columns) -> Iterator[tuple[Any, ...]]:
    """Yield everything that the columns say of each datagram."""
    data, offsets = memoryview(columns.data), columns.offsets
    for i, source in enumerate(columns.source_index):
        yield (
            bytes(data[offsets[i] : offsets[i + 1]]),
            columns.sources[source],
            columns.timestamps_ns[i] if columns.timestamps_ns else None,
            columns.local_addrs[columns.local_addr_index[i]]
            if columns.local_addr_index
            else None,
        )


def test_one_input(data: bytes) -> None:
    """Unpack it; what comes out must survive another round."""
    try:
        batch = wire.unpack(data)
    except ValueError:
        return
    found = list(datagrams(batch.columns))
    numbers = batch._asdict()
    columns = numbers.pop("columns")

    again = wire.unpack(wire.pack([columns], **numbers))

    assert again[:-1] == batch[:-1]
    assert list(datagrams(again.columns)) == found


def mutated(rng: random.Random) -> bytes:
    """Return a message that is right but for a little."""
    count = rng.randrange(4)
    sources: list[Address] = rng.choice(
        [
            [("192.0.2.1", 9)],
            [("2001:db8::1", 9, 0, 0), ("fe80::1", 9, 0, 3)],
            ["/run/a.sock", b"\0abstract", ""],
        ]
    )
    payloads = [rng.randbytes(rng.choice([0, 1, 5])) for _ in range(count)]
    offsets = array("i", [0])
    for payload in payloads:
        offsets.append(offsets[-1] + len(payload))
    timed = rng.random() < 0.5
    local = rng.random() < 0.5
    columns = wire.Columns(
        b"".join(payloads),
        offsets,
        sources,
        array("I", [rng.randrange(len(sources)) for _ in range(count)]),
        array("q", [rng.randrange(2**62) for _ in range(count)] if timed else ()),
        sources if local else (),
        array("I", [0] * count if local else ()),
    )
    message = wire.pack(
        [columns],
        front=rng.randrange(2**64),
        sequence=rng.randrange(2**64),
        began_ns=rng.randrange(2**63),
    )
    return driver.damaged(rng, message)


if __name__ == "__main__":
    driver.main(test_one_input, mutated, wire)
