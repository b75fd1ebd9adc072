"""Sending and receiving in every way that the library has, with accounts."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Sequence
from typing import Any, Final

import aioudp

from .account import Account, numbered
from .world import Tally, World, until

_SIZES: Final = (8, 9, 64, 512, 1200)  # bytes
_SEND: Final = ("send", "send_many", "send_many_list", "segments", "tos")
_TAKE: Final = (
    "recv",
    "recv_many",
    "recv_many_max",
    "recv_batch",
    "recv_batch_into",
    "recv_nowait",
    "async_for",
)
_TAKE_MESSAGES: Final = ("recv_message", "recv_messages", "messages")


class Spare:
    """A duplicate of a socket: reads what it had when the endpoint was closed."""

    def __init__(self, endpoint: Any) -> None:
        self._sock = socket.socket(fileno=os.dup(endpoint.fileno()))

    def read(self, account: Account) -> None:
        """Enter all that is left, and close."""
        with self._sock as sock:
            sock.setblocking(False)  # an adopted one blocks again, once it's given back
            while True:
                try:
                    account.left(sock.recv(65536))
                except BlockingIOError:
                    return


async def send(
    world: World,
    rng: random.Random,
    sender: aioudp.Endpoint,
    addr: aioudp.Address | None,
    numbers: Sequence[int],
    account: Account,
    *,
    inet: bool = True,
) -> None:
    """Send datagrams with these numbers, in some way; enter what the kernel took."""
    way = rng.choice(_SEND if inet else _SEND[:3])
    size = rng.choice(_SIZES)
    if way in ("send", "tos"):
        options: dict[str, Any] = {"tos": 8} if way == "tos" else {}
        for number in numbers:
            account.sent([number])
            await sender.send(numbered(number, size), addr, **options)
    elif way == "segments":
        buffer = b"".join(numbered(number, size) for number in numbers)
        account.sent(numbers)
        await sender.send(buffer, addr, segment_size=size)
    else:
        pairs: Any = ((numbered(number, size), addr) for number in numbers)
        account.sent(numbers)
        await sender.send_many(list(pairs) if way == "send_many_list" else pairs)
    world.tally.did(way, len(numbers))


async def take(
    world: World,
    rng: random.Random,
    endpoint: Any,
    account: Account,
    *,
    messages: bool = False,
    slow: float = 0.0,
) -> None:
    """Receive in some way until the endpoint is closed or drained."""
    way = rng.choice(_TAKE + _TAKE_MESSAGES if messages else _TAKE)
    before = account.count_got
    recycled = aioudp.DatagramBatch()
    try:
        while True:
            try:
                recycled = await _take_some(rng, endpoint, account, way, recycled)
            except aioudp.TruncatedError as exc:
                account.got(exc.data)
                world.tally.fault("truncated")
            else:
                if way in ("async_for", "messages"):
                    return
            if slow and rng.random() < slow:
                await asyncio.sleep(0.001)
    except aioudp.EndpointClosedError:
        pass
    finally:
        world.tally.did(way, account.count_got - before)


async def _take_some(
    rng: random.Random,
    endpoint: Any,
    account: Account,
    way: str,
    recycled: aioudp.DatagramBatch,
) -> aioudp.DatagramBatch:
    """Make one call, or iterate to the end; enter what it returned."""
    if way == "recv":
        account.got((await endpoint.recv()).data)
    elif way == "recv_many":
        for one in await endpoint.recv_many():
            account.got(one.data)
    elif way == "recv_many_max":
        for one in await endpoint.recv_many(rng.randint(1, 9)):
            account.got(one.data)
    elif way == "recv_batch":
        for one in await endpoint.recv_batch(rng.choice((None, 1, 7))):
            account.got(one.data)
    elif way == "recv_batch_into":
        recycled = await endpoint.recv_batch(into=recycled)
        for data, _ in recycled:
            account.got(data)
    elif way == "recv_nowait":
        try:
            account.got(endpoint.recv_nowait().data)
        except BlockingIOError:
            account.got((await endpoint.recv()).data)
    elif way == "recv_message":
        account.got((await endpoint.recv_message()).data)
    elif way == "recv_messages":
        for one in await endpoint.recv_messages():
            account.got(one.data)
    elif way == "messages":
        async for one in endpoint.messages():
            account.got(one.data)
    else:
        async for data, _ in endpoint:
            account.got(data)
    return recycled


async def arrived(endpoint: Any, account: Account, before: aioudp.Stats) -> None:
    """Wait until all that was sent is read or dropped."""

    def is_here() -> bool:
        stats = endpoint.stats() - before
        return bool(account.count_sent <= stats.received + stats.dropped_kernel_max)

    await until(is_here)


async def finish(
    world: World,
    rng: random.Random,
    endpoint: Any,
    account: Account,
    consumers: Sequence[asyncio.Task[None]],
    where: str,
) -> None:
    """End an endpoint in some way, and balance its account.

    Drained, it hands over everything. Closed, it counts what is in its queue; what is
    in the kernel's buffer is read by a duplicate of the socket.
    """
    exact = not endpoint.get_extra_info("offload")["gro"]
    way = rng.choice(("drain", "close", "aclose")) if exact else "drain"
    if not exact or (consumers and rng.random() < 0.7):
        await arrived(endpoint, account, aioudp.Stats())
    spare = Spare(endpoint)
    try:
        if way == "drain":
            remaining = endpoint.drain()
            if not consumers:
                await _take_remaining(remaining, account)
            await asyncio.gather(*consumers)
        elif way == "close":
            endpoint.close()
        await endpoint.aclose()
        await asyncio.gather(*consumers)
        # What was sent just now may still be on its way through the kernel.
        stats = endpoint.stats()
        await asyncio.sleep(0)
    finally:
        spare.read(account)
    world.tally.did(way)
    balance = account.balance(stats)
    if stats.dropped_queue:
        world.tally.fault("queue overflow", stats.dropped_queue)
    if stats.dropped_kernel:
        world.tally.fault("kernel buffer full", stats.dropped_kernel)
    if stats.dropped_close:
        world.tally.fault("closed with a full queue", stats.dropped_close)
    if balance.left:
        world.tally.fault("closed with a full kernel buffer", balance.left)
    world.tally.settle(balance, f"{where}, {way}: {stats}")


async def _take_remaining(remaining: Any, account: Account) -> None:
    while True:
        try:
            async for data, _ in remaining:
                account.got(data)
            return
        except aioudp.TruncatedError as exc:
            account.got(exc.data)


def count_faults(tally: Tally, outcomes: Sequence[aioudp.SendOutcome]) -> None:
    """Count what interfaces refused."""
    for outcome in outcomes:
        if outcome.error is not None:
            tally.fault("an interface that is down or gone")
