"""The program of ``aioudp relay``: a bad network between two real programs."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn

import aioudp

from .._system.addresses import format_address
from ..testing.flight import Flight, HopAddress
from ..testing.history import History
from ..testing.relay import LossyRelay
from . import console
from .formats import json_object
from .live import Live

if TYPE_CHECKING:
    from rich.table import Table


async def relay(
    local_addr: aioudp.Address,
    server: aioudp.Address,
    seed: int,
    faults: dict[str, Any],
    *,
    as_json: bool,
) -> NoReturn:
    """Relay until cancelled; then print what has become of the datagrams."""
    async with LossyRelay(local_addr, server, seed=seed, **faults) as bad:
        console.note(f"listening on {format_address(bad.local_addr)}")
        tally = Tally(bad.history)
        try:
            with Live(sys.stderr) as live:
                while True:
                    await asyncio.sleep(1)
                    tally.update()
                    if live.active:
                        live.show(tally.table(bad.clients))
        finally:
            tally.update()
            if as_json:
                console.emit(json_object(tally.as_json(bad.clients)))
            else:
                console.note(tally.summary(bad.clients))


class Tally:
    """What has become of the datagrams, in each direction.

    The history forgets its oldest records, so each is counted once: when its fate is
    known. Call :meth:`update` about once a second.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._read = 0  # records, including those that the history has forgotten
        self._pending: list[Flight] = []
        self._server: HopAddress | None = None  # known from the first datagram
        self.datagrams: list[int] = [0, 0]
        """To the server, and back, without copies."""
        self.fates: list[Counter[str]] = [Counter(), Counter()]
        """The fates of those, and of their copies, that aren't in flight."""
        self._new: list[Counter[str]] = [Counter(), Counter()]

    def update(self) -> None:
        """Count what has happened since the last call."""
        history = self._history
        new = list(islice(history, max(0, self._read - history.forgotten), None))
        self._read = history.forgotten + len(history)
        self._new = [Counter(), Counter()]
        for flight in new:
            self.datagrams[self._direction(flight)] += not flight.copy
        pending: list[Flight] = []
        for flight in chain(self._pending, new):
            if flight.fate == "in flight":
                pending.append(flight)
            else:
                self._new[self._direction(flight)][flight.fate] += 1
        self._pending = pending
        for total, counts in zip(self.fates, self._new, strict=True):
            total.update(counts)

    def summary(self, clients: int) -> str:
        """Return the line that is printed at the end."""
        every = self._every()
        counts = ", ".join(f"{count} {fate}" for fate, count in sorted(every.items()))
        noun = "client" if clients == 1 else "clients"
        total = sum(self.datagrams)
        return f"{total} datagrams of {clients} {noun}: {counts or 'none yet'}"

    def as_json(self, clients: int) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "clients": clients,
            "datagrams": sum(self.datagrams),
            "to_server": self.datagrams[0],
            "to_clients": self.datagrams[1],
            "fates": dict(sorted(self._every().items())),
        }

    def table(self, clients: int) -> Table:
        """Return the display: totals, and how many in the last second."""
        from rich.table import Table

        table = Table(title=f"{clients} {'client' if clients == 1 else 'clients'}")
        table.add_column("")
        for heading in ("to the server", "last second", "to clients", "last second"):
            table.add_column(heading, justify="right")
        fates = sorted({*self.fates[0], *self.fates[1]})
        for fate in fates:
            cells = [
                f"{counts[fate]:,}"
                for direction in (0, 1)
                for counts in (self.fates[direction], self._new[direction])
            ]
            table.add_row(fate, *cells)
        waiting = Counter(map(self._direction, self._pending))
        table.add_row("in flight", f"{waiting[0]:,}", "", f"{waiting[1]:,}", "")
        return table

    def _every(self) -> Counter[str]:
        every = self.fates[0] + self.fates[1]
        if self._pending:
            every["in flight"] = len(self._pending)
        return every

    def _direction(self, flight: Flight) -> int:
        if self._server is None:  # a client is always the first to send
            self._server = flight.destination
        return 0 if flight.destination == self._server else 1
