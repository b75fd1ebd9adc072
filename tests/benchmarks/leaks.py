"""Scenarios for the soak that leak: each in a way of its own, and one that doesn't.

``python -m tests.benchmarks.leaks NAME SPEC`` runs a process of the soak with nothing
but the scenario of that name.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from typing import Any, Final

import aioudp
from benchmarks.soak import process, world
from benchmarks.soak.account import Account, numbered
from benchmarks.soak.world import World

_WAIT: Final = 0.05  # seconds; so that what is kept is never too much

kept: list[Any] = []


async def nothing(world: World, rng: random.Random) -> None:
    """One datagram, accounted for."""
    account = Account()
    async with aioudp.bind(("127.0.0.1", 0), offload=False) as endpoint:
        (number,) = world.numbers(1)
        account.sent([number])
        await endpoint.send(numbered(number), endpoint.local_addr)
        account.got((await endpoint.recv()).data)
    world.tally.settle(account.balance(endpoint.stats()), "nothing")


async def a_list(world: World, rng: random.Random) -> None:
    """Closed endpoints stay in a list."""
    async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
        kept.append(endpoint)


async def memory(world: World, rng: random.Random) -> None:
    """Memory that holds no objects is never freed."""
    kept.append(b"x" * 262_144)
    await asyncio.sleep(_WAIT)


async def a_descriptor(world: World, rng: random.Random) -> None:
    """Descriptors stay open."""
    kept.append(os.dup(0))
    await asyncio.sleep(_WAIT)


async def a_datagram(world: World, rng: random.Random) -> None:
    """A datagram is taken from the kernel by somebody else."""
    account = Account()
    async with aioudp.bind(("127.0.0.1", 0), offload=False) as endpoint:
        (number,) = world.numbers(1)
        account.sent([number])
        await endpoint.send(numbered(number), endpoint.local_addr)
        with socket.socket(fileno=os.dup(endpoint.fileno())) as thief:
            thief.recv(100)
    world.tally.settle(account.balance(endpoint.stats()), "a_datagram")


async def a_warning(world: World, rng: random.Random) -> None:
    """What was forgotten open was closed after all, and doesn't warn."""
    async with aioudp.bind(("127.0.0.1", 0)):
        world.tally.forgot()


async def an_exception(world: World, rng: random.Random) -> None:
    """A call fails that may not."""
    raise ZeroDivisionError


if __name__ == "__main__":
    chosen = globals()[sys.argv.pop(1)]
    for scenarios in (world.anywhere, world.lasting, world.networked, world.alone):
        scenarios.clear()
    world.anywhere.append(chosen)
    world.alone.append(nothing)
    process.main()
