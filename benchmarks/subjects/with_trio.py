"""trio's socket module, on trio's own loop."""

from __future__ import annotations

import trio

from ..worker import BURST, HOST, MARK, MAX_DATAGRAM, Job


async def receive(job: Job) -> None:
    """Receive with ``recvfrom``."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((HOST, 0))
        job.listening(sock.getsockname())
        await sock.recvfrom(MAX_DATAGRAM)
        job.start()
        received = 0
        while True:
            data, _ = await sock.recvfrom(MAX_DATAGRAM)
            if len(data) == MARK:
                break
            received += 1
        job.stop(received)


async def send(job: Job) -> None:
    """Send with ``send``."""
    payload = job.payload
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.connect(job.peer)
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            for _ in range(BURST):
                await sock.send(payload)
            sent = burst * BURST
        job.stop(sent)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` what ``recvfrom`` brings."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((HOST, 0))
        job.listening(sock.getsockname())
        await sock.recvfrom(MAX_DATAGRAM)
        job.start()
        echoed = 0
        while True:
            data, addr = await sock.recvfrom(MAX_DATAGRAM)
            if len(data) == MARK:
                break
            await sock.sendto(data, addr)
            echoed += 1
        job.stop(echoed)
