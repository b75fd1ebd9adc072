"""A batch of datagrams: its columns, its sequence, and its memory."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest

from aioudp import DatagramBatch
from aioudp._system.prepared_batch import PreparedBatch
from aioudp._types import Datagram, Message

HERE: Final = ("192.0.2.1", 1)
THERE: Final = ("192.0.2.2", 2)
LOCAL: Final = ("192.0.2.9", 9)

SOME: Final = [
    Datagram(b"one", HERE),
    Datagram(b"", THERE),
    Datagram(b"three", HERE),
]


def batch_of(*datagrams: Any) -> DatagramBatch:
    return DatagramBatch._of(datagrams)


def train(payload: bytes, size: int, addr: Any = HERE) -> DatagramBatch:
    """Return a batch of one train."""
    batch = DatagramBatch()
    batch._reserve()
    batch._data[: len(payload)] = payload
    batch._add_run(len(payload), size, addr)
    return batch


def message(data: bytes, **fields: Any) -> Message:
    known: dict[str, Any] = {
        "local_addr": LOCAL,
        "interface": 3,
        "tos": 4,
        "hop_limit": 5,
        "timestamp": 6.000000007,
        "timestamp_ns": 6_000_000_007,
        "unicast": True,
    }
    return Message(data, HERE, **known | fields)


def test_the_columns() -> None:
    """Payloads without gaps, offsets as Arrow has them, senders by number."""
    batch = batch_of(*SOME)

    assert bytes(batch.data) == b"onethree"
    assert (batch.offsets.format, batch.offsets.tolist()) == ("i", [0, 3, 3, 8])
    assert batch.sources == (HERE, THERE)
    assert (batch.source_index.format, batch.source_index.tolist()) == ("I", [0, 1, 0])
    assert batch.timestamps_ns is batch.tos is batch.hop_limit is None
    assert batch.local_addrs is None
    assert batch.local_addr_index is batch.interfaces is None


def test_the_columns_of_packet_information() -> None:
    """One value for each datagram, of fixed width; 0 is unknown."""
    other = ("192.0.2.8", 9)
    batch = batch_of(
        message(b"1"),
        message(b"2", local_addr=other, tos=255, timestamp_ns=7),
        message(b"3", interface=None, tos=None, hop_limit=None, timestamp_ns=None),
    )
    columns = {
        name: getattr(batch, name)
        for name in ("timestamps_ns", "tos", "hop_limit", "interfaces")
    }

    assert {name: column.tolist() for name, column in columns.items()} == {
        "timestamps_ns": [6_000_000_007, 7, 0],
        "tos": [4, 255, 0],
        "hop_limit": [5, 5, 0],
        "interfaces": [3, 3, 0],
    }
    assert [column.format for column in columns.values()] == ["q", "B", "B", "I"]
    assert batch.local_addrs == (LOCAL, other)
    assert batch.local_addr_index is not None
    assert batch.local_addr_index.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("payloads", "size"),
    [
        ([], None),
        ([b""], 0),
        ([b"", b""], 0),
        ([b"ab", b"cd"], 2),
        ([b"ab", b"c"], None),
        ([b"a", b"bc"], None),
        ([b"", b"a"], None),
    ],
)
def test_the_segment_size(payloads: list[bytes], size: int | None) -> None:
    """It is the length of each, if all are equally long."""
    batch = batch_of(*(Datagram(data, HERE) for data in payloads))

    assert batch.segment_size == size


@pytest.mark.parametrize(
    ("size", "segment_size", "payloads"),
    [
        (2, 2, [b"ab", b"cd", b"ef"]),
        (4, None, [b"abcd", b"ef"]),
        (6, 6, [b"abcdef"]),
        (9, 6, [b"abcdef"]),
        (0, 6, [b"abcdef"]),
        (5, None, [b"abcde", b"f"]),
    ],
)
def test_a_train_is_as_many_rows(
    size: int, segment_size: int | None, payloads: list[bytes]
) -> None:
    """Each of the size that the kernel names, the last of what is left."""
    batch = train(b"abcdef", size)

    assert [data for data, _ in batch] == payloads
    assert batch.segment_size == segment_size
    assert len(batch) == len(payloads)
    assert batch.offsets[-1] == 6


def test_a_train_behind_others() -> None:
    """Its rows begin where the others end, and what was looked at stays right."""
    batch = batch_of(*SOME)
    assert len(batch.offsets) == 4
    del batch._data[batch._size :]
    batch._reserve(4)
    batch._data[8:12] = b"xxyy"
    batch._add_run(4, 2, THERE)

    assert batch == [*SOME, (b"xx", THERE), (b"yy", THERE)]


def test_it_is_a_sequence() -> None:
    """Of datagrams, by index and by slice, forwards and backwards."""
    batch = batch_of(*SOME)

    assert list(batch) == SOME
    assert all(type(one) is Datagram for one in batch)
    assert [batch[index] for index in range(-3, 3)] == SOME * 2
    assert list(reversed(batch)) == SOME[::-1]
    assert (batch.index(SOME[1]), batch.count(SOME[2])) == (1, 1)
    assert SOME[0] in batch
    for part in (slice(1, None), slice(None, None, -1), slice(5, 9), slice(0, 3, 2)):
        assert batch[part] == SOME[part]
        assert isinstance(batch[part], DatagramBatch)
    for index in (3, -4):
        with pytest.raises(IndexError):
            batch[index]


def test_a_slice_keeps_what_the_kernel_knows() -> None:
    """It has the other columns too, and its own memory."""
    batch = batch_of(message(b"1"), message(b"2", tos=9))
    part = batch[1:]

    batch._recycle()

    assert part.tos is not None
    assert (list(part), part.tos.tolist()) == ([(b"2", HERE)], [9])


def test_equality() -> None:
    """With batches and lists of the same datagrams, and with nothing else."""
    batch = batch_of(*SOME)

    assert batch == batch_of(*SOME) == SOME
    assert batch == tuple(SOME)
    assert batch != SOME[:2]
    assert batch != batch_of(*SOME[:2])
    assert batch != batch_of(SOME[0], Datagram(b"", HERE), SOME[2])
    assert batch != batch_of(SOME[0], SOME[1], Datagram(b"thre3", HERE))
    assert batch != batch_of(Datagram(b"onet", HERE), SOME[1], Datagram(b"hree", HERE))
    assert batch != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(batch)


def test_repr_tells_and_does_not_flood() -> None:
    """How many, how much and from whom, however large it is."""
    assert repr(batch_of(*SOME)) == (
        "<DatagramBatch of 3 datagrams, 8 bytes, from 2 sources>"
    )
    assert repr(train(b"a" * 60_000, 60_000)) == (
        "<DatagramBatch of 1 datagram, 60000 bytes, from 1 source>"
    )


def test_columns_cannot_be_written_to() -> None:
    """They are views of what may be on its way out."""
    batch = batch_of(message(b"payload"))

    for name in ("data", "offsets", "source_index", "tos", "timestamps_ns"):
        assert getattr(batch, name).readonly


def test_a_view_keeps_the_memory_alive() -> None:
    """Also when the batch is gone."""
    data = batch_of(*SOME).data

    assert bytes(data) == b"onethree"


@pytest.mark.parametrize("column", ["data", "offsets", "source_index", "tos"])
def test_it_is_not_recycled_while_it_is_viewed(column: str) -> None:
    """It stays as it is; when the view is gone it can be."""
    datagrams = [message(b"1"), message(b"2")]
    batch = batch_of(*datagrams)
    view = getattr(batch, column)[1:]

    with pytest.raises(BufferError, match="while its columns are viewed"):
        batch._recycle()
    assert batch == [(b"1", HERE), (b"2", HERE)]
    view.release()
    batch._recycle()
    assert (list(batch), batch.sources, batch.segment_size) == ([], (), None)
    assert batch.tos is None


def test_recycling_keeps_the_memory() -> None:
    """And nothing of what was in it."""
    batch = train(b"x" * 1000, 10)
    assert len(batch.offsets) == 101
    before = len(batch._data)

    batch._recycle()
    batch._extend(SOME)

    assert len(batch._data) == before
    assert batch == SOME
    assert batch.offsets.tolist() == [0, 3, 3, 8]


def test_trimming_gives_memory_back() -> None:
    """A batch that is kept costs its payloads and its columns."""
    batch = train(b"x" * 1000, 10)

    batch._trim()

    assert (len(batch._data), len(batch._offsets)) == (1000, 404)
    assert batch == [(b"x" * 10, HERE)] * 100


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_cutting_gives_the_rest_as_it_would_be_queued(kept: int) -> None:
    """As messages, with packet information; the batch is as if it had not come."""
    messages = [message(b"1"), message(b"22"), message(b"3")]
    messages[1] = messages[1]._replace(addr=THERE)
    batch = batch_of(*messages)

    rest = batch._cut(kept)

    assert rest == messages[kept:]
    assert batch == [Datagram(one.data, one.addr) for one in messages[:kept]]
    assert batch.sources == tuple(dict.fromkeys(one.addr for one in messages[:kept]))
    assert batch.segment_size == (1 if kept == 1 else None)


def test_rows_survive_a_round_trip_as_messages() -> None:
    """Whatever the kernel left out."""
    messages = [
        message(b"1"),
        message(b"2", interface=None),
        message(b"3", timestamp=None, timestamp_ns=None),
        message(b"4", tos=None, hop_limit=None),
        message(b"5", local_addr=None, unicast=None),
        message(b"6", unicast=False),
    ]

    assert batch_of(*messages)._cut(0) == messages


def test_many_sources_are_numbered_once() -> None:
    """Whatever the order in which they send."""
    peers = [("192.0.2.1", port) for port in range(1, 301)]
    batch = batch_of(*(Datagram(b"x", peers[n * 7 % 300]) for n in range(900)))

    assert sorted(batch.sources) == peers
    assert [batch.sources[n] for n in batch.source_index] == [
        peers[n * 7 % 300] for n in range(900)
    ]


def test_prepared_rows() -> None:
    """Each is a payload and its destination, as the twins send them."""
    batch = batch_of(*SOME)
    prepared = PreparedBatch(batch, [HERE, THERE], batch.source_index)

    assert list(prepared) == SOME
    assert prepared[1:] == SOME[1:]
    assert list(prepared.part(1, 3)) == SOME[1:]
    assert list(prepared.part(1, 3).part(1, 2)) == SOME[2:]
    assert [addr for _, addr in PreparedBatch(batch, [THERE], None)] == [THERE] * 3
    with pytest.raises(IndexError):
        prepared.part(0, 1)[1]


def test_what_is_prepared_is_not_recycled() -> None:
    """It is on its way out."""
    batch = batch_of(*SOME)
    prepared = PreparedBatch(batch, [None], None)

    with pytest.raises(BufferError):
        batch._recycle()
    del prepared
    batch._recycle()


def test_it_cannot_be_copied_by_accident() -> None:
    """A copy shares nothing with the batch: that of a slice is one."""
    batch = batch_of(*SOME)
    whole = batch[:]

    assert copy.copy(SOME) == whole
    batch._recycle()
    assert whole == SOME
