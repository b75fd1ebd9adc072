"""The parts of ``aioudp bench`` that have no socket and no clock."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("click", reason="cannot: click: it is not installed")
pytest.importorskip("rich", reason="cannot: rich: it is not installed")

from aioudp.cli.bench import wire
from aioudp.cli.bench.histogram import Histogram
from aioudp.cli.bench.report import Received, Report, percentiles
from aioudp.cli.bench.tracker import WINDOW, Tracker
from aioudp.cli.bench.wire import Kind

# -- wire

NUMBERS = st.integers(0, 2**64 - 1)


@given(st.sampled_from(Kind), NUMBERS, st.integers(0, 2**16 - 1), NUMBERS, NUMBERS)
def test_a_header_is_read_as_it_was_written(
    kind: Kind, run: int, flow: int, number: int, time: int
) -> None:
    """All fields survive, whatever follows them."""
    header = wire.pack(kind, run, flow=flow, number=number, time=time)

    assert len(header) == wire.HEADER_SIZE
    assert wire.parse(header + b"more") == (kind, flow, run, number, time)


@given(st.binary(max_size=80))
def test_what_is_not_ours_is_no_header(data: bytes) -> None:
    """Nothing raises, and nothing without the magic is taken for ours."""
    header = wire.parse(data)

    assert header is None or data.startswith(wire.MAGIC)


@pytest.mark.parametrize("kind", [0, 14, 255])
def test_an_unknown_kind_is_no_header(kind: int) -> None:
    """A later version may have it."""
    known = wire.pack(Kind.HELLO, 1)
    position = len(wire.MAGIC)

    assert wire.parse(known[:position] + bytes([kind]) + known[position + 1 :]) is None


def test_data_is_written_and_read_the_short_way() -> None:
    """As with the header that is parsed in full."""
    buffer = bytearray(2 * wire.HEADER_SIZE)
    wire.pack_into(buffer, wire.HEADER_SIZE, 1, 2, 3, 4)
    data = bytes(buffer[wire.HEADER_SIZE :])

    assert data == wire.pack(Kind.DATA, 1, flow=2, number=3, time=4)
    assert data.startswith(wire.DATA)
    assert wire.unpack_data(data) == (2, 1, 3, 4)


# -- tracker


def tracked(numbers: list[int]) -> Tracker:
    tracker = Tracker()
    for number in numbers:
        tracker.add(number, 0, 0)
    return tracker


@given(st.lists(st.integers(0, 300), max_size=400))
def test_a_tracker_counts_as_a_set_does(numbers: list[int]) -> None:
    """Within the window everything is exact."""
    tracker = tracked(numbers)
    seen: set[int] = set()
    reordered = 0
    for number in numbers:
        reordered += number not in seen and number < max(seen, default=-1)
        seen.add(number)

    assert tracker.received == len(seen)
    assert tracker.duplicated == len(numbers) - len(seen)
    assert tracker.reordered == reordered
    assert tracker.late == 0


@given(st.lists(st.integers(0, 5 * WINDOW), max_size=60))
def test_nothing_is_counted_twice(numbers: list[int]) -> None:
    """Beyond the window it is late, once for each time."""
    tracker = tracked(numbers)

    counted = tracker.received + tracker.duplicated + tracker.late
    assert counted == len(numbers)
    assert tracker.received <= len(set(numbers))


@pytest.mark.parametrize("step", [1, WINDOW - 1, WINDOW, WINDOW + 1, 10 * WINDOW])
def test_the_window_moves_with_the_highest_number(step: int) -> None:
    """What it has passed is forgotten, what it has not is known."""
    tracker = tracked([0, step])

    assert (tracker.received, tracker.reordered) == (2, 0)
    tracker.add(step, 0, 0)
    assert tracker.duplicated == 1
    tracker.add(0, 0, 0)
    assert (tracker.duplicated, tracker.late) == ((2, 0) if step < WINDOW else (1, 1))


def test_an_even_flow_has_no_jitter() -> None:
    """However far apart the two clocks are."""
    tracker = Tracker()
    for number in range(100):
        tracker.add(number, number * 1000, 10**15 + number * 1000)

    assert tracker.jitter == 0


def test_jitter_is_that_of_rfc_3550() -> None:
    """J += (|D| - J) / 16, by hand for three datagrams."""
    tracker = Tracker()
    for number, late in enumerate((0, 16_000_000, 0)):
        tracker.add(number, number * 10**9, number * 10**9 + late)

    assert tracker.jitter == pytest.approx(0.001 + (0.016 - 0.001) / 16)


# -- histogram


@given(
    st.lists(st.integers(0, 10**13), min_size=1),
    st.floats(0.1, 100, allow_nan=False),
)
def test_a_percentile_is_hardly_above_the_true_one(
    values: list[int], percent: float
) -> None:
    """At most a 32nd, and never below."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    wanted = max(1, math.ceil(len(values) * percent / 100))
    true = sorted(values)[wanted - 1]

    found = histogram.percentile(percent)
    assert found is not None
    assert true / 1e9 <= found <= true * (1 + 1 / 32) / 1e9
    assert Histogram(histogram.buckets()).percentile(percent) == found


def test_no_durations_have_no_percentile() -> None:
    """None, not zero."""
    assert Histogram().percentile(50) is None


def test_a_clock_that_runs_backwards_counts_as_zero() -> None:
    """Two processors may disagree by a little."""
    histogram = Histogram()
    histogram.add(-5)

    assert histogram.percentile(50) == 0


# -- report


def received(**changes: Any) -> Received:
    return Received(**{"received": 90, "received_bytes": 90 * 100, **changes})


def report(**changes: Any) -> Report:
    known = {"payload": 100, "flows": 1, "seconds": 2.0, "sent": 100}
    return Report(**{**known, "send_errors": 0, "probes": 3, **changes})


def test_the_servers_counts_survive_json() -> None:
    """It goes over the wire."""
    counts = received(one_way=[(3, 1), (70, 2)], jitter=0.5)

    assert Received.from_json(json.loads(json.dumps(asdict(counts)))) == counts


@pytest.mark.parametrize(
    "content", [None, [], {}, {"received": "1"}, {**asdict(Received()), "one_way": 3}]
)
def test_nonsense_of_a_server_is_refused(content: Any) -> None:
    """With a ValueError, which the client takes for no answer."""
    with pytest.raises(ValueError, match="not a"):
        Received.from_json(content)


def test_lost_is_what_was_sent_and_not_received() -> None:
    """Duplicates do not make up for it."""
    assert report(received=received(duplicated=5)).lost == 10
    assert report().lost is None


@pytest.mark.parametrize(
    ("samples", "known"),
    [
        (0, []),
        (1, []),
        (2, ["p50"]),
        (9, ["p50"]),
        (10, ["p50", "p90"]),
        (98, ["p50", "p90"]),
        (99, ["p50", "p90"]),
        (100, ["p50", "p90", "p99"]),
        (999, ["p50", "p90", "p99"]),
        (1000, ["p50", "p90", "p99", "p99.9"]),
    ],
)
def test_a_percentile_needs_samples(samples: int, known: list[str]) -> None:
    """One at least must be beyond it, or it isn't printed, and null in JSON."""
    histogram = Histogram()
    histogram.add(1_000_000, times=samples)
    one = report(round_trips=histogram, received=received(one_way=[(5, samples)]))
    lines = dict(one._lines())

    found = percentiles(histogram)
    assert [name for name, value in found.items() if value is not None] == known
    for what in ("round trip", "one way"):
        shown = [name for name in lines if name.startswith(f"{what} p")]
        assert shown == [f"{what} {name}" for name in known]
    for key in ("round_trip_seconds", "one_way_seconds"):
        given = one.as_json()[key]
        assert [name for name in given if given[name] is not None] == known


def test_one_datagram_has_no_jitter() -> None:
    """It takes two."""
    assert "jitter" not in dict(report(received=received(jitter=None))._lines())


def test_the_numbers_received_prove_what_was_sent() -> None:
    """So a loss is known if the server doesn't say how many it sent."""
    counts = received(expected=95)

    assert report(sent=None, received=counts).lost == 5


def test_the_json_has_every_number() -> None:
    """Also if the server sent no counts."""
    content = report(received=received(one_way=[(5, 90)])).as_json()

    assert content["sent_per_second"] == 50
    assert content["lost"] == 10
    assert content["one_way_seconds"]["p50"] == 5e-9
    assert report().as_json()["lost"] is None
    assert json.dumps(content)


@pytest.mark.parametrize(
    ("drops", "most", "at_receiver", "on_the_way"),
    [
        (0, 0, "0", "10"),
        (10, 10, "10", "0"),
        (4, 4, "4", "6"),
        (2, 256, "2 to 10", "0 to 8"),
        (20, 20, "10", "0"),
    ],
)
def test_the_counts_say_where_datagrams_were_lost(
    drops: int, most: int, at_receiver: str, on_the_way: str
) -> None:
    """As far as they prove it: a dropped train leaves a range."""
    counts = received(kernel_drops=drops, kernel_drops_max=most, one_way=[(1, 90)])
    lines = dict(report(sent=100, received=counts)._lines())

    assert lines["... by this machine's receiver"] == at_receiver
    assert lines["... on the way"] == on_the_way


def test_another_machines_receiver_is_called_the_servers() -> None:
    """And without a loss there is nothing to attribute."""
    counts = received(kernel_drops=10, kernel_drops_max=10)

    assert "... by the server's receiver" in dict(
        report(sent=100, received=counts)._lines()
    )
    assert "... on the way" not in dict(report(sent=90, received=counts)._lines())
