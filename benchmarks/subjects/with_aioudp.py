"""This library."""

from __future__ import annotations

import socket
from typing import Any

import aioudp

from ..worker import BURST, HOST, MANY, MARK, PEERS, Job

# Bytes of one send with segment_size: a few trains.
_CHUNK = 256 * 1024


async def receive(job: Job) -> None:
    """Receive with ``recv``, one datagram at a time."""
    async with aioudp.bind((HOST, 0)) as endpoint:
        job.listening(endpoint.local_addr)
        await endpoint.recv()
        job.start()
        received = 0
        while True:
            data, _ = await endpoint.recv()
            if len(data) == MARK:
                break
            received += 1
        job.stop(received)


async def receive_many(job: Job) -> None:
    """Receive with ``recv_many``, all that is there."""
    await _receive_many(job)


async def receive_many_singly(job: Job) -> None:
    """Receive with ``recv_many``, without UDP_GRO."""
    await _receive_many(job, offload=False)


async def _receive_many(job: Job, call: str = "recv_many", **options: Any) -> None:
    async with aioudp.bind((HOST, 0), **options) as endpoint:
        receive = getattr(endpoint, call)
        job.listening(endpoint.local_addr)
        await receive()
        job.start()
        received = 0
        while True:
            datagrams = await receive()
            received += len(datagrams)
            if len(datagrams[-1].data) == MARK:
                break
        # The mark is repeated until it has been seen.
        received -= sum(len(one.data) == MARK for one in datagrams)
        job.stop(received)


async def receive_batch(job: Job) -> None:
    """Receive with ``recv_batch``, all that is there, into one batch."""
    async with aioudp.bind((HOST, 0)) as endpoint:
        job.listening(endpoint.local_addr)
        batch = await endpoint.recv_batch()
        job.start()
        received = 0
        while True:
            await endpoint.recv_batch(into=batch)
            received += len(batch)
            if batch.offsets[-1] - batch.offsets[-2] == MARK:
                break
        received -= sum(len(data) == MARK for data, _ in batch)
        job.stop(received)


async def relay(job: Job) -> None:
    """Send on what ``recv_batch`` brings, with ``send_many``."""
    with socket.socket(type=socket.SOCK_DGRAM) as sink:  # which nobody reads
        sink.bind((HOST, 0))
        to = sink.getsockname()
        async with aioudp.bind((HOST, 0)) as endpoint:
            job.listening(endpoint.local_addr)
            batch = await endpoint.recv_batch()
            job.start()
            relayed = 0
            while True:
                await endpoint.recv_batch(into=batch)
                await endpoint.send_many(batch, addr=to)
                relayed += len(batch)
                if batch.offsets[-1] - batch.offsets[-2] == MARK:
                    break
            relayed -= sum(len(data) == MARK for data, _ in batch)
            job.stop(relayed)


async def receive_messages(job: Job) -> None:
    """Receive with ``recv_messages``, with packet info."""
    await _receive_many(job, "recv_messages", packet_info=True)


async def send(job: Job) -> None:
    """Send with ``send``, one datagram at a time."""
    payload = job.payload
    async with aioudp.connect(job.peer) as endpoint:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            for _ in range(BURST):
                await endpoint.send(payload)
            sent = burst * BURST
        job.stop(sent)


async def send_segments(job: Job) -> None:
    """Send with ``send`` and ``segment_size``, one buffer as many datagrams."""
    size = len(job.payload)
    count = _CHUNK // size
    chunk = job.payload * count
    async with aioudp.connect(job.peer) as endpoint:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            await endpoint.send(chunk, segment_size=size)
            sent = burst * count
        job.stop(sent)


async def send_many(job: Job) -> None:
    """Send with ``send_many``, a list of datagrams at a time."""
    datagrams = [(job.payload, None)] * MANY
    async with aioudp.connect(job.peer) as endpoint:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            await endpoint.send_many(datagrams)
            sent = burst * MANY
        job.stop(sent)


async def send_many_to_many(job: Job) -> None:
    """Send with ``send_many`` to one peer after the other."""
    _, port = job.peer
    peers = [(f"127.0.{i >> 8}.{i & 255}", port) for i in range(1, PEERS + 1)]
    datagrams = [(job.payload, peer) for peer in peers]
    async with aioudp.bind((HOST, 0)) as endpoint:
        job.wait_for_go()
        sent = 0
        for burst in job.bursts():
            await endpoint.send_many(datagrams)
            sent = burst * PEERS
        job.stop(sent)


async def echo(job: Job) -> None:
    """Answer with ``send`` what ``async for`` brings."""
    async with aioudp.bind((HOST, 0)) as endpoint:
        job.listening(endpoint.local_addr)
        await endpoint.recv()
        job.start()
        echoed = 0
        async for data, addr in endpoint:
            if len(data) == MARK:
                break
            await endpoint.send(data, addr)
            echoed += 1
        job.stop(echoed)
