"""Pure: what has arrived of a run's flows, at the end that receives them."""

from __future__ import annotations

from aioudp import Stats

from . import wire
from .histogram import Histogram
from .report import Received
from .tracker import MAX_NUMBER, Tracker


class Arrivals:
    """Counts the datagrams of one run. The times are monotonic, in nanoseconds."""

    def __init__(self, flows: int, *, same_clock: bool) -> None:
        self.trackers: list[Tracker] = [Tracker() for _ in range(flows)]
        self.one_way: Histogram | None = Histogram() if same_clock else None
        self.bytes: int = 0
        self._first_ns = 0
        self._last_ns = 0

    def add(self, data: bytes, now_ns: int) -> bool:
        """Count a DATA datagram; return whether it belongs to a flow."""
        flow, _, number, sent_ns = wire.unpack_data(data)
        if flow >= len(self.trackers) or number >= MAX_NUMBER:
            return False
        self.bytes += len(data)
        if not self._first_ns:
            self._first_ns = now_ns
        self._last_ns = now_ns
        self.trackers[flow].add(number, sent_ns, now_ns)
        if self.one_way is not None:
            self.one_way.add(now_ns - sent_ns)
        return True

    def result(self, drops: Stats) -> Received:
        """Return the counts so far; *drops* has what the kernel dropped meanwhile."""
        flows = self.trackers
        active = [flow.jitter for flow in flows if flow.received > 1]
        return Received(
            received=sum(flow.received for flow in flows),
            expected=sum(flow.expected for flow in flows),
            received_bytes=self.bytes,
            duplicated=sum(flow.duplicated for flow in flows),
            reordered=sum(flow.reordered for flow in flows),
            late=sum(flow.late for flow in flows),
            kernel_drops=drops.dropped_kernel,
            kernel_drops_max=drops.dropped_kernel_max,
            seconds=(self._last_ns - self._first_ns) / 1e9,
            jitter=sum(active) / len(active) if active else None,
            one_way=None if self.one_way is None else self.one_way.buckets(),
        )
