"""What a flood of one endpoint does to the rest of the program.

There are two floods. One has single datagrams, whose drops the kernel counts exactly.
The other has trains, which cause the most work at once; the kernel counts a dropped
train as one drop.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

from .formatting import markdown, quantity
from .harness import READY_PATIENCE, RESULT_PATIENCE
from .parties import Parties, Party
from .processes import Child, started
from .worker import HOST, MARK, TIMESTAMP

LATENESS_PROMISE: Final = 0.050
"""Seconds that 99 of 100 ticks may be late."""

HAND_OVER_PROMISE: Final = 0.100
"""Seconds that a datagram for another endpoint may take."""

POLICIES: Final = ("pause", "drop-oldest", "drop-newest")

_PAYLOAD: Final = 64  # bytes
_PROBE_INTERVAL: Final = 0.020  # seconds


async def measure(
    parties: Parties, loop: str, overflow: str, *, trains: bool
) -> dict[str, Any]:
    """Flood one endpoint for the time of *parties*, and return the results."""
    party = Party("subjects.flooded:endure", loop)
    patience = RESULT_PATIENCE + parties.seconds
    async with started(parties.listener(party, {"overflow": overflow})) as program:
        ports = await program.read(READY_PATIENCE)
        flood = parties.talker(parties.flood(trains=trains), ports["port"], _PAYLOAD)
        async with started(flood) as flooding:
            await flooding.read(READY_PATIENCE)
            flooding.go()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((HOST, ports["quiet_port"]))
                told = await _probe_until_told(probe, flooding, patience)
                probe.send(b"m" * MARK)
                seen = await program.read(patience)
    accounted = seen["received"] + seen["dropped_kernel"]
    return {
        "loop": loop,
        "overflow": overflow,
        "flood": "trains" if trains else "singles",
        "sent": told["datagrams"],
        "unaccounted": told["datagrams"] - accounted,
        **seen,
    }


async def _probe_until_told(
    probe: socket.socket, flooding: Child, patience: float
) -> dict[str, Any]:
    telling = asyncio.create_task(flooding.read(patience))
    while not telling.done():
        probe.send(TIMESTAMP.pack(time.monotonic_ns()))
        await asyncio.wait({telling}, timeout=_PROBE_INTERVAL)
    return await telling


def render(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table."""
    header = [
        "loop, overflow, flood",
        "tick p99, ms",
        "hand-over max, ms",
        "memory, MiB",
        "sent",
        "received",
        "dropped, queue",
        "dropped, kernel",
        "unaccounted",
    ]
    return markdown(header, [list(_line(row)) for row in rows])


def _line(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['loop']}, {row['overflow']}, {row['flood']}"
    yield f"{row['tick_lateness_p99_seconds'] * 1e3:.1f}"
    yield f"{row['hand_over_highest_seconds'] * 1e3:.1f}"
    yield f"{row['memory_growth_bytes'] / 2**20:.1f}"
    yield quantity(row["sent"])
    yield quantity(row["received"])
    yield quantity(row["dropped_queue"])
    yield quantity(row["dropped_kernel"])
    yield "trains" if row["flood"] == "trains" else str(row["unaccounted"])
