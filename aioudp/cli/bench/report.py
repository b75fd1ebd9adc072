"""Pure: the result of a run, as JSON and as text.

A percentile is shown only if there are enough samples for it: at least one beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from .histogram import Histogram

PERCENTILES: Final = (50, 90, 99, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The counts of the end that receives; the server sends them as JSON."""

    received: int = 0
    expected: int = 0
    """Datagrams that were sent, as far as the numbers received prove it."""
    received_bytes: int = 0
    duplicated: int = 0
    reordered: int = 0
    late: int = 0
    kernel_drops: int = 0
    """Drops because the server's receive buffer was full, of datagrams from any sender.
    A train counts as one."""
    kernel_drops_max: int = 0
    """The largest number of datagrams that these can stand for."""
    seconds: float = 0.0
    """Between the first and the last datagram."""
    jitter: float | None = 0.0
    """Seconds; the mean over the flows. ``None`` with fewer than two datagrams."""
    one_way: list[tuple[int, int]] | None = None
    """Buckets of the one-way histogram; ``None`` if the clocks differ."""

    @classmethod
    def from_json(cls, content: Any) -> Received:
        """Parse the counts that a server sent.

        Raises:
            ValueError: If *content* is invalid.
        """
        if not isinstance(content, Mapping):
            raise ValueError("not a JSON object")
        known = {name: content.get(name) for name in cls.__dataclass_fields__}
        buckets = known.pop("one_way")
        for name, value in known.items():
            if name == "jitter" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} is not a number: {value!r}")
        try:
            one_way = buckets and [(int(a), int(b)) for a, b in buckets]
        except (TypeError, ValueError):
            raise ValueError(f"not a histogram: {buckets!r}") from None
        return cls(**known, one_way=one_way)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a whole run, in one direction."""

    direction: str = "to-server"
    payload: int
    flows: int
    seconds: float
    sent: int | None
    """``None`` if the server sent them, and didn't report it."""
    send_errors: int
    probes: int
    round_trips: Histogram = field(default_factory=Histogram)
    received: Received | None = None
    """``None`` if the server received them, and didn't report its counts."""

    @property
    def lost(self) -> int | None:
        """Datagrams that never arrived."""
        if self.received is None:
            return None
        sent = self.received.expected if self.sent is None else self.sent
        return max(0, sent - self.received.received)

    @property
    def lost_at_receiver(self) -> tuple[int, int] | None:
        """How many of the lost datagrams found the receiver's buffer full: between
        these.

        If other senders used it at the same time, it may be fewer.
        """
        counts, lost = self.received, self.lost
        if counts is None or lost is None:
            return None
        return min(lost, counts.kernel_drops), min(lost, counts.kernel_drops_max)

    def as_json(self) -> dict[str, Any]:
        """Return the result for programs: seconds, bytes, datagrams."""
        counts: dict[str, Any] = {}
        one_way = None
        if self.received is not None:
            counts = asdict(self.received)
            del counts["one_way"], counts["expected"]
            counts["receiving_seconds"] = counts.pop("seconds")
            one_way = self.received.one_way
        rate = None
        if self.sent is not None:
            rate = self.sent / self.seconds if self.seconds else 0.0
        return {
            "kind": "result",
            "direction": self.direction,
            "payload": self.payload,
            "flows": self.flows,
            "seconds": self.seconds,
            "sent": self.sent,
            "sent_per_second": rate,
            "send_errors": self.send_errors,
            "lost": self.lost,
            "lost_at_receiver": self.lost_at_receiver,
            **counts,
            "probes": self.probes,
            "probes_answered": self.round_trips.count,
            "round_trip_seconds": percentiles(self.round_trips),
            "one_way_seconds": None
            if one_way is None
            else percentiles(Histogram(one_way)),
        }

    def as_text(self) -> Iterator[str]:
        """Yield the result for people, line by line."""
        lines = self._lines()
        width = max(len(name) for name, _ in lines)
        for name, value in lines:
            yield f"{name:<{width}}  {value}"

    def _losses(self) -> list[tuple[str, str]]:
        """Return where datagrams were lost, as far as the counts prove it."""
        if not self.lost or self.lost_at_receiver is None or self.received is None:
            return []
        low, high = self.lost_at_receiver
        here = self.received.one_way is not None or self.direction == "to-client"
        whose = "this machine's" if here else "the server's"
        return [
            (f"... by {whose} receiver", _range(low, high)),
            ("... on the way", _range(self.lost - high, self.lost - low)),
        ]

    def _lines(self) -> list[tuple[str, str]]:
        flows = "1 flow" if self.flows == 1 else f"{self.flows} flows"
        lines = [("datagrams", f"{self.payload} bytes, {flows}")]
        if self.sent is None:
            lines.append(("sent", "unknown: the server sent no result"))
        else:
            lines += [
                ("sent", f"{self.sent:,}"),
                ("sent per second", _rate(self.sent, self.seconds, self.payload)),
            ]
        if self.send_errors:
            lines.append(("refused by the system", f"{self.send_errors:,}"))
        counts = self.received
        if counts is None:
            lines.append(("received", "unknown: the server sent no result"))
        else:
            share = (self.lost or 0) / max(1, self.sent or counts.expected)
            size = counts.received_bytes / max(1, counts.received + counts.duplicated)
            rate = _rate(counts.received, counts.seconds, size)
            lines += [
                ("received", f"{counts.received:,}"),
                ("received per second", rate),
                ("lost", f"{self.lost:,} ({share:.2%})"),
                *self._losses(),
                ("reordered", f"{counts.reordered:,}"),
                ("duplicated", f"{counts.duplicated:,}"),
            ]
            if counts.late:
                lines.append(("too late to classify", f"{counts.late:,}"))
            if counts.jitter is not None:
                lines.append(("jitter", duration(counts.jitter)))
        lines += _latencies("round trip", self.round_trips)
        lines.append(("probes answered", f"{self.round_trips.count} of {self.probes}"))
        if counts is not None:
            if counts.one_way is None:
                lines.append(("one way", "unknown: two machines, two clocks"))
            else:
                lines += _latencies("one way", Histogram(counts.one_way))
        return lines


def percentiles(histogram: Histogram) -> dict[str, float | None]:
    """Return each percentile in seconds; ``None`` if there are too few samples.

    The 99th of 98 samples would be the highest, which says nothing about one in a
    hundred.
    """
    return {
        f"p{percent:g}": histogram.percentile(percent)
        if histogram.count >= round(100 / (100 - percent))
        else None
        for percent in PERCENTILES
    }


def duration(seconds: float) -> str:
    """Return a duration with its unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _latencies(name: str, histogram: Histogram) -> list[tuple[str, str]]:
    return [
        (f"{name} {key}", duration(value))
        for key, value in percentiles(histogram).items()
        if value is not None
    ]


def _rate(datagrams: int, seconds: float, size: float) -> str:
    if not seconds:
        return "-"
    rate = datagrams / seconds
    return f"{rate:,.0f} ({rate * size * 8 / 1e6:,.1f} Mbit/s)"
