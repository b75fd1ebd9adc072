"""A program with one endpoint under a flood, and what becomes of the rest of it.

Its consumer is slow. Beside it a ticker should tick, and a second endpoint should
hand over what it gets. The second one also brings the mark that ends it all.
"""

from __future__ import annotations

import asyncio
import sys
import time
from statistics import quantiles
from typing import Final

import aioudp

from .. import footprint
from ..worker import HOST, MARK, TIMESTAMP, Job, say

assert sys.platform != "win32"  # as footprint

_TICK: Final = 0.010  # seconds
_SLOWNESS: Final = 0.001  # seconds that the consumer takes for each datagram


async def endure(job: Job, *, overflow: aioudp.Overflow) -> None:
    """Stand the flood until the mark comes; say what it did."""
    async with (
        aioudp.bind((HOST, 0), overflow=overflow) as flooded,
        aioudp.bind((HOST, 0)) as quiet,
    ):
        say({"port": flooded.local_addr[1], "quiet_port": quiet.local_addr[1]})
        latenesses: list[float] = []
        hand_overs: list[float] = []
        footprint.restart_peak()
        before = footprint.peak()
        async with asyncio.TaskGroup() as tasks:
            consumer = tasks.create_task(_consume(flooded))
            ticker = tasks.create_task(_tick(latenesses))
            async for data, _ in quiet:
                if len(data) == MARK:
                    break
                (sent_at,) = TIMESTAMP.unpack(data)
                hand_overs.append((time.monotonic_ns() - sent_at) / 1e9)
            consumer.cancel()
            ticker.cancel()
        grown = footprint.peak() - before
        _drain(flooded)
        stats = flooded.stats()
        say(
            {
                "received": stats.received,
                "dropped_queue": stats.dropped_queue,
                "dropped_kernel": stats.dropped_kernel,
                "tick_lateness_p99_seconds": _p99(latenesses),
                "tick_lateness_highest_seconds": max(latenesses),
                "hand_over_p99_seconds": _p99(hand_overs),
                "hand_over_highest_seconds": max(hand_overs),
                "memory_growth_bytes": grown,
            }
        )


async def _consume(endpoint: aioudp.Endpoint) -> None:
    async for _ in endpoint:
        await asyncio.sleep(_SLOWNESS)


async def _tick(latenesses: list[float]) -> None:
    due = time.monotonic()
    while True:
        due += _TICK
        await asyncio.sleep(due - time.monotonic())
        latenesses.append(time.monotonic() - due)


def _drain(endpoint: aioudp.Endpoint) -> None:
    """Take what is left, so that everything that was sent is accounted for."""
    while True:
        try:
            endpoint.recv_nowait()
        except BlockingIOError:
            return


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1]
