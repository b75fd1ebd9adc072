"""Send as fast as a slow link allows, and no faster: a window, pacing, and back-off.

Two senders send 500 datagrams over a simulated link of 100 kB/s. The first sends them
all at once. The second has a window of unacknowledged datagrams, spread over a round
trip. It grows while all goes well, and is halved after a loss, as TCP's (RFC 5681).
"""

import asyncio
import struct

import aioudp
from aioudp import testing

COUNT = 500
NUMBER = struct.Struct("!I")
REST = bytes(1000 - NUMBER.size)
RECEIVER = ("10.0.0.2", 9999)


async def blast(endpoint: aioudp.Endpoint) -> int:
    await endpoint.send_many((NUMBER.pack(n) + REST, None) for n in range(COUNT))
    return COUNT


class PacedSender:
    """Sends numbered datagrams, each until it's acknowledged."""

    def __init__(self, endpoint: aioudp.Endpoint) -> None:
        self.endpoint = endpoint
        self.clock = asyncio.get_running_loop().time
        self.window = 2.0  # datagrams that may be under way
        self.threshold = float("inf")  # of the window: above it, it grows slowly
        self.round_trip: float | None = None  # seconds
        self.under_way: dict[int, tuple[float, bool]] = {}  # when sent, whether again
        self.lost: list[int] = []
        self.halved_at = 0.0

    async def send_all(self) -> int:
        """Return how many datagrams it took."""
        acknowledging = asyncio.create_task(self.receive_acknowledgements())
        waiting, sent = list(range(COUNT)), 0
        while waiting or self.lost or self.under_way:
            round_trip = self.round_trip or 1.0  # RFC 8085, section 3.1.1
            self.look_for_losses(self.clock() - 2 * round_trip)
            if len(self.under_way) < self.window and (waiting or self.lost):
                again = bool(self.lost)
                number = (self.lost or waiting).pop()
                self.under_way[number] = self.clock(), again
                await self.endpoint.send(NUMBER.pack(number) + REST)
                sent += 1
            await asyncio.sleep(round_trip / self.window)  # pacing
        acknowledging.cancel()
        return sent

    async def receive_acknowledgements(self) -> None:
        async for data, _ in self.endpoint:
            sent = self.under_way.pop(NUMBER.unpack(data)[0], None)
            if sent is None:
                continue
            self.window += 1 if self.window < self.threshold else 1 / self.window
            if not sent[1]:  # of one sent twice, nobody knows which was acknowledged
                sample = self.clock() - sent[0]
                smooth = self.round_trip or sample
                self.round_trip = smooth + (sample - smooth) / 8  # RFC 6298

    def look_for_losses(self, before: float) -> None:
        """Give up what is older; halve the window, at most once in a round trip."""
        for number, (sent_at, _) in list(self.under_way.items()):
            if sent_at < before:
                del self.under_way[number]
                self.lost.append(number)
                if sent_at > self.halved_at:
                    self.window = self.threshold = max(2.0, self.window / 2)
                    self.halved_at = self.clock()


async def acknowledge(endpoint: aioudp.Endpoint, received: set[int]) -> None:
    async for data, addr in endpoint:
        received.add(NUMBER.unpack_from(data)[0])
        await endpoint.send(data[: NUMBER.size], addr)


async def main() -> None:
    net = testing.SimulatedNetwork(delay=0.02, rate=100_000, queue=20)
    loop = asyncio.get_running_loop()
    for send in (blast, lambda endpoint: PacedSender(endpoint).send_all()):
        received: set[int] = set()
        async with net.bind(RECEIVER) as receiver:
            task = asyncio.create_task(acknowledge(receiver, received))
            async with net.host("10.0.0.1").connect(RECEIVER) as endpoint:
                start = loop.time()
                sent = await send(endpoint)
                print(f"{sent} sent in {loop.time() - start:.1f} s")
                await asyncio.sleep(1)
            task.cancel()
        print(f"{len(received)} of {COUNT} arrived")


testing.run(main())
