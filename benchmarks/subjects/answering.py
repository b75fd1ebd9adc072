"""Servers under load, each of which sends back what it receives.

The harness says on standard input when the clocks start and stop, so that no server has
to look for a mark in what it receives.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import aioudp

from ..worker import HOST, Job


async def serve(job: Job) -> None:
    """Answer with ``serve``."""
    async with aioudp.serve(lambda data, addr: data, (HOST, 0)) as server:
        await _measure(job, server.local_addr, lambda: server.stats().replies)


async def serve_async(job: Job) -> None:
    """Answer with ``serve`` and a coroutine function."""

    async def answer(data: bytes, addr: Any) -> bytes:
        return data

    async with aioudp.serve(answer, (HOST, 0)) as server:
        await _measure(job, server.local_addr, lambda: server.stats().replies)


async def by_hand(job: Job) -> None:
    """Answer with a loop of ``recv_many`` and ``send_many``."""
    answered = 0

    async def answer(endpoint: aioudp.Endpoint[Any]) -> None:
        nonlocal answered
        while True:
            datagrams = await endpoint.recv_many()
            await endpoint.send_many(datagrams)
            answered += len(datagrams)

    async with aioudp.bind((HOST, 0)) as endpoint:
        answering = asyncio.create_task(answer(endpoint))
        await _measure(job, endpoint.local_addr, lambda: answered)
        answering.cancel()


class _Echo(asyncio.DatagramProtocol):
    """Sends back what it receives."""

    def __init__(self) -> None:
        self.answered = 0

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)
        self.answered += 1


async def with_protocol(job: Job) -> None:
    """Answer with the event loop's own datagram protocol."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Echo, local_addr=(HOST, 0)
    )
    addr = transport.get_extra_info("sockname")
    await _measure(job, addr, lambda: protocol.answered)
    transport.close()


async def _measure(job: Job, addr: Any, count: Callable[[], int]) -> None:
    """Count what is answered between two lines on standard input."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    job.listening(addr)
    await lines.get()
    before = count()
    job.start()
    await lines.get()
    job.stop(count() - before)
    loop.remove_reader(sys.stdin)
