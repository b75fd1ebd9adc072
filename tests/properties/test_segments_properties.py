"""Trains lose nothing, merge nothing that differs, and keep their limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from aioudp._system.segments import MAX_TRAIN_BYTES, run_end, split_train, train_length

segment_sizes = st.integers(1, 2000)
limits = st.sampled_from([1, 2, 64, 128])
peers = st.sampled_from([None, ("192.0.2.1", 1), ("192.0.2.1", 2), "/run/socket"])
payloads = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([bytes(1200), bytes(1472), bytes(40_000), bytes(MAX_TRAIN_BYTES)]),
)
datagrams = st.lists(st.tuples(payloads, peers), min_size=1, max_size=300)
# Runs are rare in the lists above; here most of a list is one.
similar = st.tuples(
    payloads, peers, st.integers(1, 300), st.lists(st.tuples(payloads, peers))
).map(lambda parts: [(parts[0], parts[1])] * parts[2] + parts[3])
batches = datagrams | similar


@given(
    st.integers(0, 5), segment_sizes, st.binary(max_size=2000), st.binary(min_size=1)
)
def test_a_train_is_split_into_what_it_was_made_of(
    whole: int, segment_size: int, last: bytes, filling: bytes
) -> None:
    """Joining equal datagrams and a shorter one, and splitting, changes nothing."""
    segment = (filling * segment_size)[:segment_size]
    made_of = [segment] * whole + [last[:segment_size]] * bool(last)

    assert split_train(b"".join(made_of), segment_size) == made_of


@given(st.binary(max_size=5000), segment_sizes)
@example(b"", 1000)
@example(b"abc", 3)
@example(b"abc", 65535)
@example(bytes(65535), 1472)
def test_the_pieces_of_a_train_are_the_train(train: bytes, segment_size: int) -> None:
    """Nothing is lost, all have the segment size, and only the last may be shorter."""
    pieces = split_train(train, segment_size)

    assert b"".join(pieces) == train
    assert all(len(piece) == segment_size for piece in pieces[:-1])
    assert all(0 < len(piece) <= segment_size for piece in pieces[-1:])


@given(st.integers(1, 65535), limits)
@example(MAX_TRAIN_BYTES // 2, 128)
@example(MAX_TRAIN_BYTES // 2 + 1, 128)
@example(MAX_TRAIN_BYTES, 128)
@example(MAX_TRAIN_BYTES + 1, 128)
def test_a_train_keeps_both_limits(segment_size: int, max_segments: int) -> None:
    """Whole datagrams, at least one, and no more than the kernel or a device takes."""
    length = train_length(segment_size, max_segments)
    count, rest = divmod(length, segment_size)

    assert rest == 0
    assert 1 <= count <= max_segments
    assert count == 1 or length <= MAX_TRAIN_BYTES


@given(st.integers(1, 65535), limits)
@example(MAX_TRAIN_BYTES // 2, 128)
@example(MAX_TRAIN_BYTES // 2 + 1, 128)
@example(MAX_TRAIN_BYTES, 128)
@example(MAX_TRAIN_BYTES + 1, 128)
def test_a_train_is_as_long_as_it_may_be(segment_size: int, max_segments: int) -> None:
    """One datagram more would break a limit."""
    length = train_length(segment_size, max_segments)

    assert (
        length // segment_size == max_segments
        or length + segment_size > MAX_TRAIN_BYTES
    )


def runs(batch: list[tuple[bytes, Any]], max_segments: int) -> list[Any]:
    """Cut a batch into its runs, from the first datagram to the last."""
    found = []
    start = 0
    while start < len(batch):
        end = run_end(batch, start, max_segments)
        assert end > start
        found.append(batch[start:end])
        start = end
    return found


@given(batches, limits)
def test_the_runs_of_a_batch_are_the_batch(batch: list[Any], max_segments: int) -> None:
    """Every datagram is in one run, in order."""
    found = runs(batch, max_segments)

    assert [datagram for run in found for datagram in run] == batch


@given(batches, limits)
def test_a_run_is_a_train(batch: list[Any], max_segments: int) -> None:
    """One peer, one size, only the last shorter, no empty ones, within the limits."""
    for run in runs(batch, max_segments):
        sizes = [len(data) for data, _ in run]
        assert len({addr for _, addr in run}) == 1
        if len(run) > 1:
            assert set(sizes[:-1]) == {sizes[0]}
            assert 0 < sizes[-1] <= sizes[0]
            assert sum(sizes) <= MAX_TRAIN_BYTES
        assert len(run) <= max_segments


@given(batches, limits)
def test_a_run_arrives_as_its_datagrams(batch: list[Any], max_segments: int) -> None:
    """Sent as one train, it is split into the same again."""
    for run in runs(batch, max_segments):
        made_of = [data for data, _ in run]
        if made_of[0]:
            assert split_train(b"".join(made_of), len(made_of[0])) == made_of


@given(batches, limits)
def test_a_run_is_as_long_as_it_may_be(batch: list[Any], max_segments: int) -> None:
    """Whatever follows it could not have been part of it."""
    found = runs(batch, max_segments)

    for run, following in pairwise(found):
        (first, peer), (last, _), (data, addr) = run[0], run[-1], following[0]
        full = len(run) == train_length(len(first) or 1, max_segments) // (
            len(first) or 1
        )
        assert (
            full
            or peer != addr
            or not first
            or not data
            or len(data) > len(first)
            or len(last) < len(first)
        )
