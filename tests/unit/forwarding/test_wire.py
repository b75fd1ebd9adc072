"""Packed batches: what is written is read, and what is damaged is refused."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioudp._forwarding import wire
from aioudp._forwarding.wire import Columns

PEERS: tuple[Any, ...] = (
    ("192.0.2.1", 53),
    ("2001:db8::1", 65535, 7, 3),
    "/run/a.sock",
    b"\0abstract",
    "",
)

datagrams = st.lists(
    st.tuples(st.binary(max_size=40), st.sampled_from(PEERS), st.integers(0, 2**62)),
    min_size=1,
    max_size=30,
)


def columns_of(rows: list[tuple[bytes, Any, int]], *, local: bool = False) -> Columns:
    """Return datagrams as an endpoint would, with two unused sources."""
    offsets = array("i", [0])
    for data, _, _ in rows:
        offsets.append(offsets[-1] + len(data))
    index = array("I", [PEERS.index(addr) for _, addr, _ in rows])
    return Columns(
        b"".join(data for data, _, _ in rows),
        offsets,
        PEERS,
        index,
        array("q", [time for _, _, time in rows]),
        PEERS[:3] if local else (),
        array("I", [i % 3 for i in index]) if local else array("I"),
    )


def rows_of(columns: Columns) -> list[tuple[bytes, Any, int]]:
    data, offsets = bytes(columns.data), columns.offsets
    return [
        (
            data[offsets[i] : offsets[i + 1]],
            columns.sources[columns.source_index[i]],
            columns.timestamps_ns[i],
        )
        for i in range(len(columns))
    ]


def pack(*parts: Columns, **fields: int) -> bytes:
    return wire.pack(parts, **{"front": 1, "sequence": 2, "began_ns": 3, **fields})


@given(st.lists(datagrams, min_size=1, max_size=4), st.booleans())
def test_what_is_packed_is_unpacked(parts: list[Any], local: bool) -> None:
    """Several batches become one, in order, with every column."""
    message = pack(
        *(columns_of(rows, local=local) for rows in parts),
        front=2**63 - 1,
        partition=9,
        dropped=77,
    )
    packed = wire.unpack(message)

    assert packed[:5] == (2**63 - 1, 2, 3, 9, 77)
    assert rows_of(packed.columns) == [row for rows in parts for row in rows]
    assert (len(packed.columns.local_addr_index) > 0) is local


@given(datagrams, st.integers(1, 200))
def test_cutting_loses_nothing(rows: Any, limit: int) -> None:
    """The parts are no longer than the limit, but for one that is a single datagram."""
    parts = list(wire.cut(columns_of(rows), limit))

    assert [
        row for part in parts for row in rows_of(wire.unpack(pack(part)).columns)
    ] == rows
    for part in parts:
        assert len(part) == 1 or part.size + wire.PER_DATAGRAM * len(part) <= limit


@given(datagrams, st.integers(1, 5))
def test_a_source_has_one_partition(rows: Any, partitions: int) -> None:
    """Each datagram is in one part, those of one source in one, in their order."""
    parts = wire.split(columns_of(rows, local=True), partitions)

    assert sum(map(len, parts.values())) == len(rows)
    for peer in PEERS:
        theirs = [row for row in rows if row[1] == peer]
        found = [
            [row for row in rows_of(part) if row[1] == peer] for part in parts.values()
        ]
        assert [part for part in found if part] == ([theirs] if theirs else [])


def test_the_format_is_stable() -> None:
    """The bytes of version 1, which other languages read too."""
    rows: list[Any] = [(b"hello", ("192.0.2.1", 53), 5), (b"", ("192.0.2.1", 53), 6)]
    message = pack(columns_of(rows), front=0x0102030405060708)

    assert message.hex(" ", 8) == (
        "5544504201014000 0807060504030201 0200000000000000 0300000000000000 "
        "0200000001000000 0000000007000000 0500000000000000 0000000000000000 "
        "0500000000000000 0600000000000000 0000000005000000 0500000000000000 "
        "0000000004c00002 01350068656c6c6f"
    )


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    """Whatever is no packed batch is a ValueError."""
    with pytest.raises(ValueError, match="packed batch"):
        wire.unpack(garbage)


@given(st.data(), datagrams)
def test_damage_is_never_a_crash(data: st.DataObject, rows: Any) -> None:
    """A message with some bytes changed is refused, or read within its bounds."""
    message = bytearray(pack(columns_of(rows, local=True)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    try:
        packed = wire.unpack(bytes(message))
    except ValueError:
        return

    assert len(rows_of(packed.columns) if packed.columns.timestamps_ns else []) >= 0


def test_a_newer_version_is_named() -> None:
    """A reader that is too old says so."""
    message = bytearray(pack(columns_of([(b"x", PEERS[0], 1)])))
    message[4] = 2
    with pytest.raises(ValueError, match="version 2"):
        wire.unpack(bytes(message))


def test_a_message_that_contradicts_itself() -> None:
    """Local addresses that no datagram refers to, and a header that is too short."""
    columns = wire.Columns(
        b"x", [0, 1], [("127.0.0.1", 1)], [0], [1], [("127.0.0.1", 2)], [0]
    )
    message = bytearray(wire.pack([columns], front=1, sequence=1, began_ns=0))
    table = wire.HEADER.size + 8 + 8 + 4
    unflagged = message[:table] + message[table + 4 :]
    unflagged[5] = 1
    with pytest.raises(ValueError, match="out of range"):
        wire.unpack(bytes(unflagged))

    short = message[:20] + message[24:]
    short[6] = 60
    with pytest.raises(ValueError, match="header is too short"):
        wire.unpack(bytes(short))
