"""A server whose replies leave by a link that is slower than the requests come."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from typing import Final

import pytest

import aioudp
from aioudp._serving.service import Handler

from .links import Link
from .test_slow_link import slow_down
from .traffic import Sink, numbered

_REQUESTS: Final = 2000
_MEMORY: Final = 2_000_000  # bytes; all requests and replies at once would be 4 MB


async def _longest_pause() -> float:
    """Return the longest time between two turns of the loop, until cancelled."""
    loop = asyncio.get_running_loop()
    longest, before = 0.0, loop.time()
    try:
        while True:
            await asyncio.sleep(0.01)
            now = loop.time()
            longest, before = max(longest, now - before), now
    except asyncio.CancelledError:
        return longest


def sync_handler(data: bytes, addr: aioudp.Address) -> bytes:
    return data


async def async_handler(data: bytes, addr: aioudp.Address) -> bytes:
    return data


@pytest.mark.parametrize("handler", [sync_handler, async_handler])
async def test_memory_is_bounded_and_drops_are_counted(
    link: Link, host: str, sink: Sink, family: socket.AddressFamily, handler: Handler
) -> None:
    """Each request is answered or counted as dropped, and the loop goes on."""
    slow_down(link, "4mbit", queue=1_000_000)
    serving = aioudp.serve(
        handler,
        (host, 0),
        queue_size=64,
        receive_buffer=65_536,
        send_buffer=4096,
    )
    server = await serving
    watching = asyncio.create_task(_longest_pause())
    sent = 0
    tracemalloc.start()
    try:
        for number in range(_REQUESTS):
            sink.socket.sendto(numbered(number), (host, server.local_addr[1]))
            sent += 1
            if number % 20 == 0:
                await asyncio.sleep(0)  # a turn for the server
        assert await server.drain(20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await server.aclose()
    watching.cancel()
    pause = await watching

    stats = server.stats()
    assert stats.requests + stats.endpoint.dropped_kernel == sent == _REQUESTS
    assert stats.endpoint.dropped_kernel + stats.dropped_busy > 0
    assert stats.replies + stats.dropped_busy + stats.unsent == stats.requests
    assert (stats.failed, stats.unsent) == (0, 0)
    numbers = [int((await sink.recv())[:8]) for _ in range(stats.replies)]
    assert len(set(numbers)) == stats.replies
    assert peak < _MEMORY
    assert pause < 1.0
