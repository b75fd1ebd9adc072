"""The event loop's own datagram transport and protocol, asyncio's or uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..worker import BURST, HOST, MARK, Job


class Listener(asyncio.DatagramProtocol):
    """Counts the datagrams between the marks."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.count = 0
        self.started = False
        self.ended = asyncio.Event()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) == MARK:
            self.mark()
        else:
            self.count += 1

    def mark(self) -> None:
        if not self.started:
            self.started = True
            self.job.start()
        elif not self.ended.is_set():
            self.job.stop(self.count)
            self.ended.set()


class Echo(Listener):
    """Sends back the datagrams between the marks."""

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) == MARK:
            self.mark()
        else:
            self.transport.sendto(data, addr)
            self.count += 1


Opens = Callable[..., Awaitable[tuple[asyncio.DatagramTransport, Any]]]


async def listen(job: Job, protocol_class: type[Listener], opens: Opens) -> None:
    """Listen with a protocol, on the transport that *opens* gives."""
    transport, protocol = await opens(lambda: protocol_class(job), local_addr=(HOST, 0))
    job.listening(transport.get_extra_info("sockname"))
    await protocol.ended.wait()
    transport.close()


async def receive(job: Job) -> None:
    """Receive with ``datagram_received``."""
    await listen(job, Listener, asyncio.get_running_loop().create_datagram_endpoint)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` in ``datagram_received``."""
    await listen(job, Echo, asyncio.get_running_loop().create_datagram_endpoint)


async def send(job: Job) -> None:
    """Send with ``sendto``; the loop gets its turn after each burst."""
    await talk(job, asyncio.get_running_loop().create_datagram_endpoint)


async def talk(job: Job, opens: Opens) -> None:
    """Send bursts on the transport that *opens* gives."""
    payload = job.payload
    transport, _ = await opens(asyncio.DatagramProtocol, remote_addr=job.peer)
    job.wait_for_go()
    sent = 0
    for burst in job.bursts():
        for _ in range(BURST):
            transport.sendto(payload)
        sent = burst * BURST
        await asyncio.sleep(0)
    job.stop(sent)
    transport.close()
