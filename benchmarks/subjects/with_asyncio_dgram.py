"""asyncio-dgram: awaitable streams over the event loop's transport."""

from __future__ import annotations

import asyncio_dgram

from ..worker import BURST, HOST, MARK, Job


async def receive(job: Job) -> None:
    """Receive with ``recv``."""
    stream = await asyncio_dgram.bind((HOST, 0))
    job.listening(stream.sockname)
    await stream.recv()
    job.start()
    received = 0
    while True:
        data, _ = await stream.recv()
        if len(data) == MARK:
            break
        received += 1
    job.stop(received)
    stream.close()


async def send(job: Job) -> None:
    """Send with ``send``."""
    payload = job.payload
    stream = await asyncio_dgram.connect(job.peer)
    job.wait_for_go()
    sent = 0
    for burst in job.bursts():
        for _ in range(BURST):
            await stream.send(payload)
        sent = burst * BURST
    job.stop(sent)
    stream.close()


async def echo(job: Job) -> None:
    """Answer with ``send`` what ``recv`` brings."""
    stream = await asyncio_dgram.bind((HOST, 0))
    job.listening(stream.sockname)
    await stream.recv()
    job.start()
    echoed = 0
    while True:
        data, addr = await stream.recv()
        if len(data) == MARK:
            break
        await stream.send(data, addr)
        echoed += 1
    job.stop(echoed)
    stream.close()
