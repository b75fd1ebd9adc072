"""Keep the way through a NAT open, and notice when the peer is gone.

The network is simulated, so ten minutes take no time. After 300 seconds, a server sends
news to a client behind a NAT. After 400 seconds, the network is cut.
"""

import asyncio
import random

import aioudp
from aioudp import testing

SERVER = ("198.51.100.1", 9999)
INTERVAL = 20.0  # seconds: not below 15 (RFC 8085, section 3.5), below the NAT's 30
MISSED = 3  # keep-alives without an answer, after which the peer is gone
PING, PONG = b"ping", b"pong"


class PeerGoneError(Exception):
    """Nothing came from the peer for a while."""


class Conversation:
    def __init__(self, endpoint: aioudp.Endpoint) -> None:
        self.endpoint = endpoint
        self.clock = asyncio.get_running_loop().time
        self.sent_at = self.heard_at = self.clock()

    async def send(self, data: bytes) -> None:
        self.sent_at = self.clock()
        await self.endpoint.send(data)

    async def recv(self) -> bytes:
        """Return what the peer says, other than signs of life."""
        while True:
            data, _ = await self.endpoint.recv()
            self.heard_at = self.clock()
            if data != PONG:
                return data

    async def keep_alive(self) -> None:
        """Run beside the conversation. Raise PeerGoneError once the peer is silent."""
        while True:
            if self.clock() - self.heard_at > (MISSED + 1) * INTERVAL:
                raise PeerGoneError
            # Not all clients at once, even if all were started at once.
            due = self.sent_at + INTERVAL * random.uniform(0.8, 1) - self.clock()
            if due > 0:
                await asyncio.sleep(due)
            else:
                await self.send(PING)


async def serve() -> None:
    """Answer keep-alives, and send news to all clients after 300 seconds."""
    clients: set[aioudp.Address] = set()

    async def announce() -> None:
        await asyncio.sleep(300)
        await endpoint.send_to_all(b"news", list(clients))

    async with aioudp.bind(SERVER) as endpoint, asyncio.TaskGroup() as group:
        group.create_task(announce())
        async for data, addr in endpoint:
            clients.add(addr)
            if data == PING:
                await endpoint.send(PONG, addr)


async def listen(*, keeping_alive: bool) -> None:
    async with aioudp.connect(SERVER) as endpoint, asyncio.timeout(600):
        conversation = Conversation(endpoint)
        await conversation.send(b"hello")
        async with asyncio.TaskGroup() as group:
            if keeping_alive:
                group.create_task(conversation.keep_alive())
            while True:
                data = await conversation.recv()
                print("after", round(conversation.clock()), "s:", data)


async def main(*, keeping_alive: bool) -> None:
    net = testing.SimulatedNetwork(delay=0.05)
    home = net.nat("203.0.113.1", timeout=30)
    with net.host(SERVER[0]):
        serving = asyncio.create_task(serve())
    asyncio.get_running_loop().call_later(400, net.partition, SERVER[0])
    with home.host("192.168.1.2"):
        try:
            await listen(keeping_alive=keeping_alive)
        except* TimeoutError:
            print("nothing came")
        except* (PeerGoneError, ConnectionRefusedError):
            print("after", round(asyncio.get_running_loop().time()), "s: it's gone")
    serving.cancel()


testing.run(main(keeping_alive=False))
testing.run(main(keeping_alive=True))
