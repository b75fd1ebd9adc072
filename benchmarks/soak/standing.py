"""What stays open for the whole run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aioudp

from .account import NUMBER, numbered
from .world import World, until

_HOST: Final = "127.0.0.1"


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[None]:
    """Open everything that stays open, and close it with the block."""
    async with AsyncExitStack() as stack:

        async def enter(opening: Any) -> Any:
            return await stack.enter_async_context(opening)

        for overflow in ("pause", "drop-oldest", "drop-newest"):
            for transport in ("auto", "loop"):
                receiver = await enter(
                    aioudp.bind(
                        (_HOST, 0),
                        overflow=overflow,
                        transport=transport,
                        queue_size=50,
                        offload=False,
                    )
                )
                name = f"receiver {overflow} {transport}"
                world.standing[name] = receiver, asyncio.Lock()
        server = await enter(
            aioudp.serve(
                _answer,
                (_HOST, 0),
                dedupe=_id,
                accept=aioudp.RateLimit(10_000),
                offload=False,
            )
        )
        client = await enter(
            aioudp.open_client(None, key=_id, offload=False, local_addr=(_HOST, 0))
        )
        world.standing["server"] = client, server, asyncio.Lock()
        if world.hand is not None:
            broadcast = await enter(aioudp.open_broadcast(0))
            multicast = await enter(aioudp.open_multicast("239.255.0.9", 0))
            world.standing["members"] = broadcast, multicast, asyncio.Lock()
        try:
            yield
        finally:
            world.standing.clear()


IDS: Final = 16
"""Different requests to the server that stays open, which remembers them all."""

CROWD: Final = 4_100
"""Peers; more than some tables hold, which keep those that were used last."""

GREATER_CROWD: Final = 16_000
"""Peers that nearly fill the others, which are emptied when they are full. Where the
system has all ports to choose from, they would fill up during the run."""


async def meet_a_crowd(world: World, crowd: int) -> None:
    """Hear from and send to many peers, by as many addresses of this machine.

    Tables of addresses are bounded, and shared by all endpoints of a process. It would
    take some of them an hour to fill: growth that is no leak, and could hide one.
    """
    hosts = [f"127.1.{n // 250}.{1 + n % 250}" for n in range(crowd)]
    heard = 0

    class Hearing(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            nonlocal heard
            heard += 1

    async with (
        aioudp.bind(("0.0.0.0", 0)) as sender,
        aioudp.bind(("0.0.0.0", 0), packet_info=True, offload=False) as receiver,
    ):
        dropin, _ = await aioudp.create_datagram_endpoint(Hearing, ("0.0.0.0", 0))
        for number, host in enumerate(hosts):
            for to in (receiver.local_addr, dropin.get_extra_info("sockname")):
                await sender.send(b"hello", (host, to[1]), local_addr=host)
            if number % 100 == 99:
                await asyncio.sleep(0.01)
                while True:
                    try:
                        receiver.recv_nowait()
                    except BlockingIOError:
                        break
        await until(lambda: heard == crowd)
        stats = receiver.stats()
        world.tally.flow(
            2 * crowd, stats.received + heard, stats.dropped_kernel, "crowd"
        )
        dropin.abort()
    client, server, _ = world.standing["server"]
    for number in range(IDS):
        await client.request(numbered(number, 64), server.local_addr)


def _id(data: bytes) -> bytes:
    return data[:NUMBER]


async def _answer(data: bytes, addr: aioudp.Address) -> bytes:
    await asyncio.sleep(0)
    return data
