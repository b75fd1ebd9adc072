"""The program of ``aioudp listen --rates``: who sends how much, and what is dropped."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aioudp

from .._system.addresses import format_address
from .._system.receive_queue import memory
from . import console
from .escaping import printable
from .formats import address_fields, counts, json_object, summary
from .live import Live
from .running import FAILURE

if TYPE_CHECKING:
    from rich.console import RenderableType

_INTERVAL: Final = 1.0  # seconds

MAX_PEERS: Final = 10_000
"""How many peers are told apart. Anybody can forge any number of them."""

_SHOWN: Final = 20  # peers, those with the highest rates


async def watch(
    addr: aioudp.Address,
    family: int,
    *,
    as_json: bool,
    count: int | None,
    patience: float | None,
) -> int:
    """Show rates each second, for *count* datagrams, or until *patience* seconds pass
    without one.
    """
    async with aioudp.bind(addr, family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        with Live(None if as_json else sys.stdout, keep=True) as live:
            try:
                return await _watch(endpoint, live, as_json, count, patience)
            finally:
                # Leave the terminal to the statistics.
                live.__exit__(None, None, None)
                console.note(summary(endpoint.stats()))


async def _watch(
    endpoint: aioudp.Endpoint[Any],
    live: Live,
    as_json: bool,
    left: int | None,
    patience: float | None,
) -> int:
    clock = asyncio.get_running_loop().time
    counting = left is not None
    peers = Peers()
    gauge = Gauge(endpoint)
    shown_at, heard_at = clock(), clock()
    batch: aioudp.DatagramBatch | None = None
    while left is None or left > 0:
        deadline = shown_at + _INTERVAL
        if patience is not None:
            deadline = min(deadline, heard_at + patience)
        gauge.sample()
        try:
            async with asyncio.timeout_at(deadline):
                batch = await endpoint.recv_batch(left, into=batch)
        except TimeoutError:
            batch = None
        else:
            peers.add(batch)
            heard_at = clock()
            left = None if left is None else left - len(batch)
        now = clock()
        if now - shown_at >= _INTERVAL or left == 0:
            _show(live, peers, gauge, now - shown_at, as_json)
            shown_at = now
        if patience is not None and now - heard_at >= patience:
            return FAILURE if counting else 0
    return 0


def _show(
    live: Live, peers: Peers, gauge: Gauge, seconds: float, as_json: bool
) -> None:
    overview = Overview(peers, gauge, max(seconds, 1e-3))
    if as_json:
        console.emit(json_object(overview.as_json(time.time())))
    elif live.active:
        live.show(overview.table())
    else:
        console.emit(overview.line())
    peers.next_interval()
    gauge.peak = 0


@dataclass(slots=True)
class Peer:
    """What one sender has sent: in all, and in this interval."""

    datagrams: int = 0
    size: int = 0
    new_datagrams: int = 0
    new_size: int = 0

    def add(self, datagrams: int, size: int) -> None:
        self.datagrams += datagrams
        self.size += size
        self.new_datagrams += datagrams
        self.new_size += size


class Peers:
    """The senders; those beyond :data:`MAX_PEERS` are counted together."""

    def __init__(self) -> None:
        self.known: dict[aioudp.Address, Peer] = {}
        self.others: Peer = Peer()

    def add(self, batch: aioudp.DatagramBatch) -> None:
        """Count the datagrams of a batch."""
        sources, offsets = batch.sources, batch.offsets
        if len(sources) == 1:
            self._peer(sources[0]).add(len(batch), len(batch.data))
            return
        datagrams: Counter[int] = Counter(batch.source_index)
        sizes = [0] * len(sources)
        start = 0
        for source, end in zip(batch.source_index, offsets[1:], strict=True):
            sizes[source] += end - start
            start = end
        for source, number in datagrams.items():
            self._peer(sources[source]).add(number, sizes[source])

    def next_interval(self) -> None:
        """Begin a new interval."""
        for peer in (*self.known.values(), self.others):
            peer.new_datagrams = peer.new_size = 0

    def busiest(self) -> list[tuple[aioudp.Address, Peer]]:
        """Return those that sent most in this interval."""
        ranked = sorted(
            self.known.items(),
            key=lambda item: (item[1].new_size, item[1].size),
            reverse=True,
        )
        return ranked[:_SHOWN]

    def _peer(self, addr: aioudp.Address) -> Peer:
        peer = self.known.get(addr)
        if peer is None:
            if len(self.known) >= MAX_PEERS:
                return self.others
            peer = self.known[addr] = Peer()
        return peer


class Gauge:
    """How full the kernel's receive buffer is, and what was dropped."""

    def __init__(self, endpoint: aioudp.Endpoint[Any]) -> None:
        self._endpoint = endpoint
        self._socket: socket.socket = endpoint.get_extra_info("socket")
        self.peak: int = 0
        """The most bytes at once in this interval, as the kernel counts them."""
        self.size: int | None = None
        """Bytes; ``None`` if the system doesn't tell."""
        self.sample()

    def sample(self) -> None:
        """Look at the buffer; best before it's read."""
        found = memory(self._socket)
        if found is not None:
            self.peak, self.size = max(self.peak, found[0]), found[1]

    def stats(self) -> aioudp.Stats:
        return self._endpoint.stats()


class Overview:
    """One interval, as a line, as a table and as JSON."""

    def __init__(self, peers: Peers, gauge: Gauge, seconds: float) -> None:
        everybody = (*peers.known.values(), peers.others)
        self._peers = peers
        self._gauge = gauge
        self._seconds = seconds
        self._datagrams = sum(peer.new_datagrams for peer in everybody) / seconds
        self._size = sum(peer.new_size for peer in everybody) / seconds
        self._counts = counts(gauge.stats())

    def line(self) -> str:
        """Return the interval in one line."""
        number = len(self._peers.known)
        more = " or more" if self._peers.others.datagrams else ""
        low, high = self._counts["dropped"], self._counts["dropped_max"]
        dropped = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        line = (
            f"{number:,}{more} {'peer' if number == 1 else 'peers'}, "
            f"{self._datagrams:,.0f} datagrams/s, {_bytes(self._size)}/s, "
            f"dropped {dropped}"
        )
        size = self._gauge.size
        return line if not size else f"{line}, buffer {self._gauge.peak / size:.0%}"

    def table(self) -> RenderableType:
        """Return the line, and a row for each of the busiest peers."""
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("peer")
        for heading in ("datagrams/s", "bytes/s", "datagrams", "bytes"):
            table.add_column(heading, justify="right")
        rows = [
            (printable(format_address(addr)), peer)
            for addr, peer in self._peers.busiest()
        ]
        hidden = len(self._peers.known) - len(rows)
        if self._peers.others.datagrams:
            rows.append(("others", self._peers.others))
        from rich.text import Text

        for name, peer in rows:
            table.add_row(
                Text(name),
                f"{peer.new_datagrams / self._seconds:,.0f}",
                _bytes(peer.new_size / self._seconds),
                f"{peer.datagrams:,}",
                _bytes(peer.size),
            )
        below = [f"... and {hidden:,} more"] if hidden > 0 else []
        return Group(Text(self.line()), table, *below)

    def as_json(self, now: float) -> dict[str, Any]:
        """Return the interval for programs."""
        return {
            "time": round(now, 6),
            "seconds": round(self._seconds, 6),
            "peers": len(self._peers.known),
            "datagrams_per_second": round(self._datagrams, 1),
            "bytes_per_second": round(self._size, 1),
            **self._counts,
            "buffer_used": self._gauge.peak if self._gauge.size else None,
            "buffer_size": self._gauge.size,
            "busiest": [
                {
                    **address_fields(addr),
                    "datagrams_per_second": round(
                        peer.new_datagrams / self._seconds, 1
                    ),
                    "bytes_per_second": round(peer.new_size / self._seconds, 1),
                    "received": peer.datagrams,
                    "received_bytes": peer.size,
                }
                for addr, peer in self._peers.busiest()
            ],
        }


def _bytes(number: float) -> str:
    """Return a number of bytes with three digits at least, and a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
