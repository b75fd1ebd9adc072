"""A file transfer that looks right, and a search that finds its bug."""

from __future__ import annotations

import asyncio

import aioudp
from aioudp import testing

FILE = b"The quick brown fox jumps over the lazy dog."
RECEIVER = ("10.0.0.1", 5000)
SENDER = ("10.0.0.2", 5001)


async def send_file(endpoint: aioudp.Endpoint, data: bytes) -> None:
    """Send numbered blocks, each again and again until it's acknowledged."""
    blocks = [data[start : start + 8] for start in range(0, len(data), 8)]
    for number, block in enumerate(blocks):
        while True:
            await endpoint.send(b"%d:%s" % (number, block))
            try:
                async with asyncio.timeout(0.5):
                    await endpoint.recv()
            except TimeoutError:
                continue
            break


async def receive_file(endpoint: aioudp.Endpoint, blocks: dict[int, bytes]) -> None:
    """Acknowledge each block. To receive one twice does no harm."""
    async for packet, sender in endpoint:
        number, _, block = packet.partition(b":")
        blocks[int(number)] = block
        await endpoint.send(b"got " + number, sender)


async def transfer(net: testing.SimulatedNetwork) -> None:
    """Send a file from one host to another, and compare."""
    blocks: dict[int, bytes] = {}
    async with (
        net.bind(RECEIVER) as receiver,
        net.connect(RECEIVER, local_addr=SENDER) as sender,
    ):
        receiving = asyncio.create_task(receive_file(receiver, blocks))
        await send_file(sender, FILE)
        await asyncio.sleep(1)  # for what is still under way
        receiver.close()
        await receiving
    received = b"".join(blocks[number] for number in sorted(blocks))
    assert received == FILE, f"the file is now {received!r}"


if __name__ == "__main__":
    failure = testing.explore(
        transfer, seeds=100, loss=0.1, duplicate=0.1, delay=0.02, jitter=0.01
    )
    print(failure or "no failure in 100 runs")
