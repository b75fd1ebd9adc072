"""What happened in each interval of a run, as a line or as JSON."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .client import Client
from .histogram import Histogram
from .report import Report, duration, percentiles


class Intervals:
    """Compares the counts at the end of each interval with those before.

    Losses are those that the numbers of the datagrams prove, so datagrams that are
    still on their way aren't among them.
    """

    def __init__(
        self,
        client: Client,
        seconds: float,
        show: Callable[[Interval], None],
    ) -> None:
        self._client = client
        self._seconds = seconds
        self._show = show

    async def run(self) -> None:
        """Show an interval each time that one has passed, until cancelled."""
        begin = before_at = time.monotonic()
        before: list[Report] | None = None
        number = 0
        while True:
            number += 1
            await asyncio.sleep(
                max(0.0, begin + number * self._seconds - time.monotonic())
            )
            now = time.monotonic()
            reports = await self._client.poll()
            round_trips = self._client.new_round_trips
            self._client.new_round_trips = Histogram()
            for index, report in enumerate(reports):
                earlier = None if before is None else before[index]
                self._show(
                    Interval(
                        earlier,
                        report,
                        before_at - begin,
                        now - begin,
                        round_trips,
                        both=len(reports) > 1,
                    )
                )
            before, before_at = reports, now


class Interval:
    """One interval, in one direction."""

    def __init__(
        self,
        before: Report | None,
        after: Report,
        begin: float,
        end: float,
        round_trips: Histogram,
        *,
        both: bool,
    ) -> None:
        self._direction = after.direction
        self._begin, self._end = begin, end
        self._round_trips = round_trips
        self._both = both
        seconds = max(end - begin, 1e-6)
        self._sent: float | None = None
        if after.sent is not None:
            earlier = before.sent if before is not None else 0
            if earlier is not None:
                self._sent = (after.sent - earlier) / seconds
        self._received: float | None = None
        self._bits: float | None = None
        self._lost: int | None = None
        self._share = 0.0
        self._jitter: float | None = None
        counts = after.received
        if counts is not None and (before is None or before.received is not None):
            old = None if before is None else before.received
            arrived = counts.received - (old.received if old else 0)
            expected = counts.expected - (old.expected if old else 0)
            size = counts.received_bytes - (old.received_bytes if old else 0)
            self._received = arrived / seconds
            self._bits = size * 8 / seconds
            # One that comes after its interval is lost in that, and found in the next.
            self._lost = expected - arrived
            self._share = max(0, self._lost) / max(1, expected)
            self._jitter = counts.jitter

    def line(self) -> str:
        """Return the interval for people."""
        parts = [f"{self._begin:5.1f} - {self._end:5.1f} s"]
        if self._both:
            parts.append(f"{self._direction:<9}")
        if self._sent is not None:
            parts.append(f"sent {self._sent:,.0f}/s")
        if self._received is None or self._bits is None:
            parts.append("the other end didn't answer")
        else:
            bits = self._bits / 1e6
            parts.append(f"received {self._received:,.0f}/s ({bits:,.1f} Mbit/s)")
            parts.append(f"lost {self._lost:,} ({self._share:.2%})")
        if self._jitter is not None:
            parts.append(f"jitter {duration(self._jitter)}")
        median = percentiles(self._round_trips)["p50"]
        if median is not None:
            parts.append(f"round trip {duration(median)}")
        return "  ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return the interval for programs."""
        return {
            "kind": "interval",
            "direction": self._direction,
            "begin": round(self._begin, 6),
            "end": round(self._end, 6),
            "sent_per_second": self._sent,
            "received_per_second": self._received,
            "bits_per_second": self._bits,
            "lost": self._lost,
            "jitter": self._jitter,
            "round_trip_seconds": percentiles(self._round_trips),
        }
