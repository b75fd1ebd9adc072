"""Scenarios: interfaces that come and go, in a network of our own."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, Self

import aioudp

from . import namespace
from .account import Account
from .namespace import Hand
from .traffic import count_faults, finish, send, take
from .world import LANES, World, lasting, listed, networked, until

_PLACES: Final = LANES
"""Numbers of networks, groups and ports: few, so that each address comes again."""

_FIRST_PORT: Final = 20_000  # of our own; below those that the system chooses

_free: Final = deque(range(_PLACES))


@contextmanager
def place() -> Iterator[int]:
    """Reserve a number that no other scenario has at the moment."""
    number = _free.popleft()
    try:
        yield number
    finally:
        _free.append(number)


def adding(name: str, net: str) -> list[str]:
    """Return the commands that add an interface with an address."""
    return [*namespace.adding(name), f"address add {net}.1/24 brd + dev {name}"]


class Links:
    """Two interfaces of a scenario."""

    def __init__(self, hand: Hand, number: int) -> None:
        self._hand = hand
        self.nets = {hand.new_name(): f"10.{number}.{side}" for side in (1, 2)}
        self.names = tuple(self.nets)
        self.present = set(self.names)
        self.up = set(self.names)

    async def __aenter__(self) -> Self:
        for name, net in self.nets.items():
            await self._hand.do(*adding(name, net))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._hand.do(*(f"link del dev {name}" for name in self.present))

    async def change(self, rng: random.Random) -> None:
        """Take down, bring up, remove or add one of them."""
        name = rng.choice(self.names)
        if name not in self.present:
            await self._hand.do(*adding(name, self.nets[name]))
            self.present.add(name)
            self.up.add(name)
        elif rng.random() < 0.5:
            await self._hand.do(f"link del dev {name}")
            self.present.discard(name)
            self.up.discard(name)
        elif name in self.up:
            await self._hand.do(f"link set dev {name} down")
            self.up.discard(name)
        else:
            await self._hand.do(f"link set dev {name} up")
            self.up.add(name)


@listed(networked)
async def groups(world: World, rng: random.Random) -> None:
    """Two members of a group send while their interfaces come and go.

    A member joins a new interface when it sends, so what each must get is known: a
    copy by each interface that the sender reports and on which the member has joined.
    """
    assert world.hand is not None
    async with AsyncExitStack() as stack:
        number = stack.enter_context(place())
        group, port = f"239.255.2.{number}", _FIRST_PORT + number
        links = await stack.enter_async_context(Links(world.hand, number))
        first, second = [
            await stack.enter_async_context(
                aioudp.open_multicast(
                    group, port, interfaces=links.names, offload=False
                )
            )
            for _ in range(2)
        ]
        world.tally.did("open_multicast", 2)
        members = (first, second)
        joined = {member: set(links.names) for member in members}
        due = dict.fromkeys(members, 0)
        for _ in range(6):
            for sender in rng.sample(members, 2):
                joined[sender] = set(links.present)
                outcomes = await sender.send(b"to the group")
                count_faults(world.tally, outcomes)
                went = {one.interface for one in outcomes if one.sent}
                if went != links.up:
                    world.tally.surprise(f"sent by {outcomes}, up are {links.up}")
                for member in members:
                    due[member] += len(went & joined[member])
            await links.change(rng)
            world.tally.fault("an interface that came, went or changed")
            for member in members:
                joined[member] &= links.present
        for member in members:
            await _all_came(world, member, due[member], "groups")


@listed(networked)
async def broadcasts(world: World, rng: random.Random) -> None:
    """The same with broadcast, which needs no joining."""
    assert world.hand is not None
    async with AsyncExitStack() as stack:
        number = stack.enter_context(place())
        port = _FIRST_PORT + number
        links = await stack.enter_async_context(Links(world.hand, number))
        first, second = [
            await stack.enter_async_context(
                aioudp.open_broadcast(port, interfaces=links.names, offload=False)
            )
            for _ in range(2)
        ]
        world.tally.did("open_broadcast", 2)
        due = 0
        for _ in range(6):
            outcomes = await rng.choice((first, second)).send(b"to everybody")
            count_faults(world.tally, outcomes)
            went = {one.interface for one in outcomes if one.sent}
            if went != links.up:
                world.tally.surprise(f"sent by {outcomes}, up are {links.up}")
            due += len(went)
            await links.change(rng)
            world.tally.fault("an interface that came, went or changed")
        for one in (first, second):
            await _all_came(world, one, due, "broadcasts")


async def _all_came(world: World, endpoint: Any, due: int, where: str) -> None:
    def came() -> bool:
        stats = endpoint.stats()
        return bool(stats.received + stats.dropped_kernel >= due)

    await until(came)
    got = 0
    while True:
        try:
            endpoint.recv_nowait()
        except BlockingIOError:
            break
        got += 1
    stats = endpoint.stats()
    world.tally.flow(due, got, stats.dropped_kernel, f"{where}: {stats}")
    world.tally.did(where, got)


@listed(networked)
async def discovery(world: World, rng: random.Random) -> None:
    """A search by broadcast or in a group, some of them left early or cancelled."""
    assert world.hand is not None
    with place() as number:
        async with Links(world.hand, number) as links:
            await _discover(world, rng, links, number)


async def _discover(
    world: World, rng: random.Random, links: Links, number: int
) -> None:
    group = f"239.255.1.{number}" if rng.random() < 0.5 else None
    if group is None:
        responder: Any = aioudp.serve(lambda data, addr: data, ("0.0.0.0", 0))
    else:
        responder = aioudp.open_multicast(
            group, _FIRST_PORT + _PLACES + number, interfaces=links.names
        )
    async with responder as answering:
        port = answering.local_addr[1]
        answers = None
        if group is not None:
            answers = asyncio.create_task(_answer(answering))
        search = aioudp.discover(
            b"who?", port, timeout=0.5, interfaces=links.names[:1], group=group
        )
        found = 0
        way = rng.choice(("end", "break", "cancel"))
        try:
            async with asyncio.timeout(0.02 if way == "cancel" else 10):
                async for _ in search:
                    found += 1
                    if way == "break":
                        break
        except TimeoutError:
            world.tally.fault("cancelled search")
        await search.aclose()
        if way != "cancel" and not found:
            world.tally.surprise(f"nobody found, group {group}")
        world.tally.did("discover")
        if answers is not None:
            answering.close()
            await answers


async def _answer(endpoint: aioudp.MulticastEndpoint) -> None:
    async for data, addr in endpoint:
        await endpoint.send_to(data, addr)


@listed(networked)
async def address_gone(world: World, rng: random.Random) -> None:
    """The interface of bound endpoints disappears, with their address."""
    assert world.hand is not None
    with place() as number:
        await _lose_address(world, rng, world.hand, number)


async def _lose_address(
    world: World, rng: random.Random, hand: Hand, number: int
) -> None:
    name, host = hand.new_name(), f"10.{number}.3.1"
    here, there = (_FIRST_PORT + (2 + side) * _PLACES + number for side in (0, 1))
    account = Account()
    await hand.do(*adding(name, f"10.{number}.3"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hand.do, f"link del dev {name}")
        sender = await stack.enter_async_context(aioudp.bind((host, here)))
        receiver = await stack.enter_async_context(
            aioudp.bind((host, there), offload=False)
        )
        consumer = asyncio.create_task(take(world, rng, receiver, account))
        for _ in range(3):
            numbers = world.numbers(rng.choice((1, 30)))
            await send(world, rng, sender, receiver.local_addr, numbers, account)
        await hand.do(f"link del dev {name}")
        for _ in range(3):
            try:
                await sender.send(b"too late", receiver.local_addr)
            except OSError:
                world.tally.fault("an address that is gone")
            else:
                world.tally.surprise("sent from an address that is gone")
        await finish(world, rng, receiver, account, [consumer], "address_gone")


@listed(lasting)
async def old_members(world: World, rng: random.Random) -> None:
    """Endpoints that stay open send on all the interfaces there are at the moment."""
    if "members" not in world.standing:
        return
    broadcast, multicast, lock = world.standing["members"]
    async with lock:
        for endpoint in (broadcast, multicast):
            outcomes = await endpoint.send(b"x" * 32)
            world.tally.did("sent on all interfaces", len(outcomes))
            count_faults(world.tally, outcomes)
            await asyncio.sleep(0)
            while True:
                try:
                    endpoint.recv_nowait()
                except BlockingIOError:
                    break
