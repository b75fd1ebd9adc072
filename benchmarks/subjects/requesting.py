"""Requests, beside the same round trips made with ``send`` and ``recv``."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from statistics import median

import aioudp

from ..worker import Job

_BLOCK = 20
"""Round trips of one kind, before those of the next."""


async def round_trips(job: Job) -> None:
    """Time round trips of each kind, in turns."""
    peer, data = job.peer, job.payload
    host = (peer[0], 0)
    async with (
        aioudp.connect(peer) as connected,
        aioudp.bind(host) as endpoint,
        aioudp.bind(host, icmp_errors=True) as told,
        aioudp.open_client(peer) as client,
        aioudp.open_client(local_addr=host) as anywhere,
        aioudp.open_client(peer, key=lambda data: data[:8]) as keyed,
    ):

        async def connected_by_hand() -> None:
            await connected.send(data)
            await connected.recv()

        async def by_hand() -> None:
            await endpoint.send(data, peer)
            await endpoint.recv()

        async def told_by_hand() -> None:
            await told.send(data, peer)
            await told.recv()

        kinds: dict[str, Callable[[], Awaitable[object]]] = {
            "send + recv, connected": connected_by_hand,
            "request, connected": lambda: client.request(data),
            "request, connected, key": lambda: keyed.request(data),
            "send + recv": by_hand,
            "send + recv, icmp_errors": told_by_hand,
            "request": lambda: anywhere.request(data, peer),
        }
        job.wait_for_go()
        times: dict[str, list[float]] = {name: [] for name in kinds}
        job.start()
        deadline = time.perf_counter() + job.seconds
        while time.perf_counter() < deadline:
            for name, trip in kinds.items():
                for _ in range(_BLOCK):
                    begun = time.perf_counter()
                    await trip()
                    times[name].append(time.perf_counter() - begun)
        count = sum(map(len, times.values()))
        job.stop(count, **{name: median(them) for name, them in times.items()})


async def in_flight(job: Job, most: int) -> None:
    """Keep as many requests as possible in flight, up to *most*."""
    numbers = itertools.count()
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while time.perf_counter() < deadline:
            number = next(numbers).to_bytes(8, "big")
            await client.request(number + job.payload[8:])
            answered += 1

    async with aioudp.open_client(
        job.peer, key=lambda data: data[:8], in_flight=most
    ) as client:
        job.wait_for_go()
        job.start()
        deadline = time.perf_counter() + job.seconds
        await asyncio.gather(*(ask() for _ in range(most)))
        stats = client.stats()
        job.stop(answered, retransmitted=stats.retransmitted)
