"""Receivers that come, wait, give up and are cancelled, on a bad network.

The network decides when datagrams arrive, and its history says in which order. Whatever
the schedule:

* Receivers return datagrams in the order of arrival, none of them twice.
* Each delivered datagram is returned or counted as dropped.
* Who waits when the endpoint is drained is woken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

import aioudp
from aioudp import testing
from aioudp.testing import SimulatedNetwork

SERVER: Final = ("10.0.0.1", 9999)
SENDERS: Final = 3
DATAGRAMS: Final = 40
RECEIVERS: Final = 4
SEEDS: Final = 12


class Receivers:
    """Tasks that share an endpoint, and what they have returned, in order."""

    def __init__(self, endpoint: aioudp.Endpoint) -> None:
        self.endpoint = endpoint
        self.returned: list[bytes] = []

    async def take(self) -> None:
        """Receive once, in one of the ways there are."""
        endpoint = self.endpoint
        match random.randrange(4):
            case 0:
                taken = [await endpoint.recv()]
            case 1:
                taken = await endpoint.recv_many()
            case 2:
                taken = await endpoint.recv_many(2)
            case _:
                taken = [await anext(endpoint)]
        self.returned += [datagram.data for datagram in taken]

    async def run(self) -> None:
        """Receive until the endpoint ends; give up and come back now and then."""
        while True:
            task = asyncio.create_task(self.take())
            if random.random() < 0.5:
                await asyncio.wait([task], timeout=random.expovariate(20))
                for _ in range(random.randrange(3)):  # as something arrives, perhaps
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                continue
            if isinstance(
                task.exception(), (aioudp.EndpointClosedError, StopAsyncIteration)
            ):
                return
            task.result()


async def keep_the_laws(net: SimulatedNetwork, **options: Any) -> None:
    async with net.bind(SERVER, **options) as server:
        receivers = Receivers(server)
        tasks = [asyncio.create_task(receivers.run()) for _ in range(RECEIVERS)]
        await asyncio.gather(*(send(net, sender) for sender in range(SENDERS)))
        await asyncio.sleep(2)  # what is still on its way arrives
        assert not any(task.done() for task in tasks)
        server.drain()
        async with asyncio.timeout(1):
            await asyncio.gather(*tasks)
        stats = server.stats()

    arrivals: dict[bytes, list[float]] = {}
    for flight in net.history:
        if flight.destination == SERVER and flight.fate == "delivered":
            assert flight.arrived_at is not None
            arrivals.setdefault(flight.data, []).append(flight.arrived_at)
    assert stats.received == sum(map(len, arrivals.values()))
    assert len(receivers.returned) + stats.dropped_queue == stats.received
    latest = 0.0
    for data in receivers.returned:  # those of one instant in any order
        later = [at for at in arrivals[data] if at >= latest]
        assert later, data
        latest = min(later)
        arrivals[data].remove(latest)


async def send(net: SimulatedNetwork, sender: int) -> None:
    async with net.bind((f"10.0.0.{2 + sender}", 0)) as endpoint:
        for number in range(DATAGRAMS):
            await endpoint.send(b"%d of %d" % (number, sender), SERVER)
            await asyncio.sleep(random.choice([0, 0, 0.01, 0.2]))


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "pause": {"queue_size": 2, "overflow": "pause"},
    "drop-newest": {"queue_size": 2, "overflow": "drop-newest"},
    "drop-oldest": {"queue_size": 2, "overflow": "drop-oldest"},
}


def laws_with(options: dict[str, Any]) -> Callable[[SimulatedNetwork], Any]:
    return lambda net: keep_the_laws(net, **options)


@pytest.mark.parametrize("name", OPTIONS)
def test_receivers_that_give_up(name: str) -> None:
    """The laws above hold, whatever the seed."""
    failure = testing.explore(
        laws_with(OPTIONS[name]),
        seeds=SEEDS,
        processes=1,
        loss=0.1,
        delay=0.05,
        jitter=0.05,
        duplicate=0.1,
        reorder=0.1,
    )

    assert failure is None, str(failure)
