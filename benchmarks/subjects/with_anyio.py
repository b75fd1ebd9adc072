"""anyio's UDP sockets, on asyncio or uvloop."""

from __future__ import annotations

import anyio
from anyio.abc import SocketAttribute

from ..worker import BURST, HOST, MARK, Job


async def receive(job: Job) -> None:
    """Receive with ``async for``."""
    async with await anyio.create_udp_socket(local_host=HOST) as sock:
        job.listening(sock.extra(SocketAttribute.local_address))
        await sock.receive()
        job.start()
        received = 0
        async for data, _ in sock:
            if len(data) == MARK:
                break
            received += 1
        job.stop(received)


async def send(job: Job) -> None:
    """Send with ``send``."""
    payload = job.payload
    async with await anyio.create_connected_udp_socket(*job.peer) as sock:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            for _ in range(BURST):
                await sock.send(payload)
            sent = burst * BURST
        job.stop(sent)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` what ``async for`` brings."""
    async with await anyio.create_udp_socket(local_host=HOST) as sock:
        job.listening(sock.extra(SocketAttribute.local_address))
        await sock.receive()
        job.start()
        echoed = 0
        async for data, (host, port) in sock:
            if len(data) == MARK:
                break
            await sock.sendto(data, host, port)
            echoed += 1
        job.stop(echoed)
