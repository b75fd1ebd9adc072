"""Show the three overflow policies with a receiver that is slower than its sender.

Each receiver has room for 50 datagrams and gets a burst of 300. With "pause", the
others wait in the kernel's buffer; the other two policies drop from one end of the
queue. Every drop is counted.
"""

import asyncio
import contextlib
from typing import Literal

import aioudp

BURST = 300  # datagrams


async def receive_slowly(endpoint: aioudp.Endpoint) -> list[int]:
    """Return the received numbers, once nothing has come for 0.3 seconds."""
    numbers = []
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.3):
                data, _ = await endpoint.recv()
            numbers.append(int(data))
            await asyncio.sleep(0.001)  # the work that makes it slow
    return numbers


async def burst(overflow: Literal["pause", "drop-oldest", "drop-newest"]) -> None:
    local_addr = ("127.0.0.1", 0)
    async with (
        aioudp.bind(local_addr, queue_size=50, overflow=overflow) as receiver,
        aioudp.connect(receiver.local_addr) as sender,
    ):
        await sender.send_many((b"%d" % number, None) for number in range(BURST))
        numbers = await receive_slowly(receiver)
        stats = receiver.stats()
    lost = stats.dropped_queue + stats.dropped_kernel
    print(f"{overflow}: {len(numbers)} of {BURST} came, {lost} were dropped;")
    print(f"    the first was {numbers[0]}, the last {numbers[-1]}")


async def main() -> None:
    await burst("pause")
    await burst("drop-oldest")
    await burst("drop-newest")


if __name__ == "__main__":
    asyncio.run(main())
