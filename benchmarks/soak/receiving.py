"""Scenarios: datagrams to endpoints of every kind, and what becomes of them."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import AsyncExitStack
from typing import Any

import aioudp

from .account import Account, number_of, numbered
from .traffic import arrived, finish, send, take
from .world import World, anywhere, lasting, listed, until


def options_for_a_receiver(rng: random.Random) -> dict[str, Any]:
    """Return options by chance; most leave the kernel's drops countable."""
    options: dict[str, Any] = {
        "transport": rng.choice(("auto", "auto", "loop")),
        "overflow": rng.choice(("pause", "drop-oldest", "drop-newest")),
        "queue_size": rng.choice((1, 8, 64, 1024)),
        "offload": rng.random() < 0.15,
        "packet_info": rng.random() < 0.3,
    }
    if rng.random() < 0.4:
        options["receive_buffer"] = rng.choice((2048, 16384))
    if rng.random() < 0.15:
        options["max_datagram_size"] = 64
    if options["transport"] == "auto" and rng.random() < 0.2:
        options["icmp_errors"] = True
    return options


@listed(anywhere)
async def receive(world: World, rng: random.Random) -> None:
    """Bind or connect, be sent bursts in every way, receive in every way, end."""
    host = rng.choice(world.hosts)
    options = options_for_a_receiver(rng)
    account = Account()
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(aioudp.bind((host, 0)))
        if connected := rng.random() < 0.3:
            opening = aioudp.connect(sender.local_addr, **options)
        else:
            opening = aioudp.bind((host, 0), **options)
        receiver = await stack.enter_async_context(opening)
        world.tally.did("connect" if connected else "bind")
        consumers = [
            asyncio.create_task(
                take(
                    world,
                    rng,
                    receiver,
                    account,
                    messages=options["packet_info"],
                    slow=rng.choice((0, 0, 0.2)),
                )
            )
            for _ in range(rng.choice((0, 1, 1, 2, 3)))
        ]
        for _ in range(rng.randint(1, 4)):
            numbers = world.numbers(rng.choice((1, 3, 40, 120)))
            await send(world, rng, sender, receiver.local_addr, numbers, account)
            await asyncio.sleep(0)
        await finish(world, rng, receiver, account, consumers, f"receive {options}")


@listed(anywhere)
async def overflow(world: World, rng: random.Random) -> None:
    """Nobody receives, until the queue and the kernel's buffer are full."""
    host = rng.choice(world.hosts)
    for policy in ("pause", "drop-oldest", "drop-newest"):
        account = Account()
        options: dict[str, Any] = {"overflow": policy, "queue_size": 8}
        async with (
            aioudp.bind((host, 0)) as sender,
            aioudp.bind(
                (host, 0), offload=False, receive_buffer=2048, **options
            ) as receiver,
        ):
            numbers = world.numbers(100)
            await send(world, rng, sender, receiver.local_addr, numbers, account)
            before = receiver.stats()
            await until(lambda: receiver.stats() != before, 0.05)  # noqa: B023
            await finish(world, rng, receiver, account, [], f"overflow {policy}")


@listed(anywhere)
async def unix(world: World, rng: random.Random) -> None:
    """The same over UNIX datagram sockets, with a path or an abstract name."""
    addr: Any = world.path()
    if rng.random() < 0.5:
        addr = b"\0" + str(addr).encode()
    options = options_for_a_receiver(rng)
    for name in ("packet_info", "icmp_errors", "receive_buffer", "offload"):
        options.pop(name, None)
    account = Account()
    async with aioudp.bind(addr, **options) as receiver:
        async with aioudp.connect(addr) as sender:
            world.tally.did("unix")
            consumer = asyncio.create_task(take(world, rng, receiver, account))
            for _ in range(rng.randint(1, 3)):
                numbers = world.numbers(rng.choice((1, 5, 30)))
                await send(world, rng, sender, None, numbers, account, inet=False)
            await arrived(receiver, account, aioudp.Stats())
        await finish(world, rng, receiver, account, [consumer], "unix")


@listed(anywhere)
async def cancelled_receivers(world: World, rng: random.Random) -> None:
    """Tasks that receive are cancelled at random: no datagram goes with them."""
    host = rng.choice(world.hosts)
    account = Account()
    options: dict[str, Any] = {"transport": rng.choice(("auto", "loop"))}
    async with (
        aioudp.bind((host, 0)) as sender,
        aioudp.bind((host, 0), offload=False, **options) as receiver,
    ):
        tasks: set[asyncio.Task[None]] = set()
        for _ in range(30):
            way = rng.choice((_recv, _recv_many, _recv_batch, _recv_in_time))
            tasks.add(asyncio.create_task(way(receiver, account)))
            if rng.random() < 0.6:
                numbers = world.numbers(rng.randint(1, 4))
                await send(world, rng, sender, receiver.local_addr, numbers, account)
            for _ in range(rng.randint(0, 2)):
                await asyncio.sleep(0)
            for task in rng.sample(sorted(tasks, key=id), min(len(tasks), 2)):
                if task.cancel():
                    world.tally.fault("cancelled receiver")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
        consumer = asyncio.create_task(take(world, rng, receiver, account))
        await finish(world, rng, receiver, account, [consumer], "cancelled_receivers")


async def _recv(receiver: aioudp.Endpoint, account: Account) -> None:
    account.got((await receiver.recv()).data)


async def _recv_many(receiver: aioudp.Endpoint, account: Account) -> None:
    for data, _ in await receiver.recv_many(3):
        account.got(data)


async def _recv_batch(receiver: aioudp.Endpoint, account: Account) -> None:
    for data, _ in await receiver.recv_batch():
        account.got(data)


async def _recv_in_time(receiver: aioudp.Endpoint, account: Account) -> None:
    try:
        async with asyncio.timeout(0.001):
            account.got((await receiver.recv()).data)
    except TimeoutError:
        pass


@listed(anywhere)
async def relay(world: World, rng: random.Random) -> None:
    """Batches are passed on, to one address or to many."""
    host = rng.choice(world.hosts)
    into, out = Account(), Account()
    async with (
        aioudp.bind((host, 0)) as sender,
        aioudp.bind((host, 0), offload=False) as middle,
        aioudp.bind((host, 0), offload=False) as receiver,
    ):
        consumer = asyncio.create_task(take(world, rng, receiver, out))
        batch = aioudp.DatagramBatch()
        for _ in range(4):
            numbers = world.numbers(rng.randint(1, 50))
            await send(world, rng, sender, middle.local_addr, numbers, into)
            batch = await middle.recv_batch(into=batch)
            passed = [number_of(data) for data, _ in batch]
            for data, _ in batch:
                into.got(data)
            out.sent(passed)
            if rng.random() < 0.5:
                await middle.send_many(batch, addr=receiver.local_addr)
            else:
                await middle.send_many(batch, addrs=[receiver.local_addr] * len(batch))
            world.tally.did("relayed", len(passed))
        numbers = world.numbers(1)
        out.sent(numbers)
        await sender.send_to_all(numbered(*numbers), [receiver.local_addr])
        await finish(world, rng, middle, into, [], "relay, middle")
        await finish(world, rng, receiver, out, [consumer], "relay, receiver")


@listed(anywhere)
async def adopted(world: World, rng: random.Random) -> None:
    """A socket is adopted, with datagrams in its queue, and restored at the end."""
    host = rng.choice(world.hosts)
    account = Account()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    async with aioudp.bind((host, 0)) as sender:
        sock.bind((host, 0))
        addr = sock.getsockname()
        numbers = world.numbers(rng.choice((0, 3)))
        for number in numbers:
            account.sent([number])
            await sender.send(numbered(number, 20), addr)
        transport: Any = rng.choice(("auto", "loop"))
        receiver = await aioudp.adopt(sock, offload=False, transport=transport)
        world.tally.did("adopt")
        consumer = asyncio.create_task(take(world, rng, receiver, account))
        await send(world, rng, sender, addr, world.numbers(20), account)
        await finish(world, rng, receiver, account, [consumer], f"adopted {transport}")


class _Counting(asyncio.DatagramProtocol):
    """An ordinary protocol, which pauses reading now and then."""

    def __init__(self, account: Account, rng: random.Random) -> None:
        self.account = account
        self.rng = rng
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.account.got(data)
        if self.rng.random() < 0.02 and self.transport.is_reading():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


class _CountingLists(_Counting):
    def datagrams_received(self, datagrams: list[aioudp.Datagram]) -> None:
        for data, _ in datagrams:
            self.account.got(data)


class _CountingBatches(_Counting):
    def datagram_batch_received(self, batch: aioudp.DatagramBatch) -> None:
        for data, _ in batch:
            self.account.got(data)


@listed(anywhere)
async def dropin(world: World, rng: random.Random) -> None:
    """An asyncio protocol on the drop-in, fed by another one's ``sendto``."""
    host = rng.choice(world.hosts)
    account = Account()
    kind = rng.choice((_Counting, _CountingLists, _CountingBatches))
    transport, protocol = await aioudp.create_datagram_endpoint(
        lambda: kind(account, rng), (host, 0)
    )
    addr: Any = transport.get_extra_info("sockname")
    sender, sending = await aioudp.create_datagram_endpoint(
        lambda: _Counting(Account(), rng), remote_addr=addr[:2]
    )
    world.tally.did("create_datagram_endpoint", 2)
    for _ in range(rng.randint(1, 4)):
        numbers = world.numbers(rng.choice((1, 10, 60)))
        account.sent(numbers)
        for number in numbers:
            sender.sendto(numbered(number, 100))
        world.tally.did("sendto", len(numbers))
        await asyncio.sleep(0)
    await until(lambda: account.count_got == account.count_sent)
    for end in (sender, transport):
        end.close() if rng.random() < 0.5 else end.abort()
    await asyncio.gather(protocol.lost, sending.lost)
    world.tally.settle(account.balance(transport.stats()), f"dropin {kind.__name__}")


@listed(lasting)
async def old_receiver(world: World, rng: random.Random) -> None:
    """An endpoint that stays open gets a burst, larger than its queue."""
    name = rng.choice([one for one in world.standing if one.startswith("receiver")])
    receiver, lock = world.standing[name]
    account = Account()
    async with lock, aioudp.bind((receiver.local_addr[0], 0)) as sender:
        before = receiver.stats()
        for _ in range(rng.randint(1, 3)):
            numbers = world.numbers(rng.choice((1, 20, 100)))
            await send(world, rng, sender, receiver.local_addr, numbers, account)
            consumer = asyncio.create_task(take(world, rng, receiver, account))
            await arrived(receiver, account, before)
            await asyncio.sleep(0.001)
            consumer.cancel()
            await asyncio.wait([consumer])
        while True:
            try:
                account.got(receiver.recv_nowait().data)
            except BlockingIOError:
                break
        stats = receiver.stats() - before
        world.tally.did("used again")
        if stats.dropped_queue:
            world.tally.fault("queue overflow", stats.dropped_queue)
        world.tally.settle(account.balance(stats), f"{name}: {stats}")
