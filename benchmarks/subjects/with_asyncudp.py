"""asyncudp: an awaitable socket over the event loop's transport."""

from __future__ import annotations

import asyncio

import asyncudp

from ..worker import BURST, HOST, MARK, Job


async def receive(job: Job) -> None:
    """Receive with ``recvfrom``."""
    async with await asyncudp.create_socket(local_addr=(HOST, 0)) as sock:
        job.listening(sock.getsockname())
        await sock.recvfrom()
        job.start()
        received = 0
        while True:
            data, _ = await sock.recvfrom()
            if len(data) == MARK:
                break
            received += 1
        job.stop(received)


async def send(job: Job) -> None:
    """Send with ``sendto``; the loop gets its turn after each burst."""
    payload = job.payload
    async with await asyncudp.create_socket(remote_addr=job.peer) as sock:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            for _ in range(BURST):
                sock.sendto(payload)
            sent = burst * BURST
            await asyncio.sleep(0)
        job.stop(sent)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` what ``recvfrom`` brings."""
    async with await asyncudp.create_socket(local_addr=(HOST, 0)) as sock:
        job.listening(sock.getsockname())
        await sock.recvfrom()
        job.start()
        echoed = 0
        while True:
            data, addr = await sock.recvfrom()
            if len(data) == MARK:
                break
            sock.sendto(data, addr)
            echoed += 1
        job.stop(echoed)
