"""The program of ``aioudp send``: send payloads, and print the replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import aioudp

from .._system.addresses import format_address
from . import console
from .formats import Format, summary
from .receiving import print_datagram

_REFUSAL_GRACE: Final = 0.05
"""Seconds to wait for an ICMP "port unreachable" after the last datagram, without
``--wait``. A guess; enough on most local networks."""

_ON_LOOPBACK: Final = 0.001
"""The same for a peer on this machine: Linux reports the refusal during the send, so
this is time for the event loop to read it."""

_Route: TypeAlias = tuple[aioudp.Endpoint[Any], aioudp.Address | None]
"""The endpoint and the destination; ``None`` on a connected endpoint."""

Opener: TypeAlias = Callable[
    [aioudp.Address, aioudp.Address | None, int], Awaitable[_Route]
]


async def send(
    peer: aioudp.Address,
    payloads: AsyncIterator[bytes],
    *,
    broadcast: bool,
    local_addr: aioudp.Address | None,
    family: int,
    wait: float | None,
    rate: float | None,
    form: str,
) -> int:
    """Send the payloads, *rate* a second; then print replies for *wait* seconds."""
    open_: Opener = _open_broadcast if broadcast else _open_connected
    endpoint, destination = await open_(peer, local_addr, family)
    async with endpoint:
        try:
            await _exchange(
                endpoint,
                destination,
                payloads if rate is None else _paced(payloads, rate),
                wait=wait,
                form=Format(form),
            )
        except ConnectionRefusedError as exc:
            assert endpoint.remote_addr is not None  # only connected ones get this
            refused = format_address(endpoint.remote_addr)
            reason = f"{refused}: connection refused, nobody listens there"
            raise ConnectionRefusedError(exc.errno, reason) from None
        finally:
            console.note(summary(endpoint.stats()))
    return 0


async def _open_connected(
    peer: aioudp.Address, local_addr: aioudp.Address | None, family: int
) -> _Route:
    return await aioudp.connect(peer, local_addr=local_addr, family=family), None


async def _open_broadcast(
    peer: aioudp.Address, local_addr: aioudp.Address | None, family: int
) -> _Route:
    import socket

    if family == socket.AF_INET6 or not isinstance(peer, tuple):
        raise ValueError("only IPv4 has broadcast addresses")
    peer = await aioudp.resolve(peer[0], peer[1], family=socket.AF_INET)
    opening = aioudp.bind(local_addr or ("", 0), family=socket.AF_INET, broadcast=True)
    return await opening, peer


async def _exchange(
    endpoint: aioudp.Endpoint[Any],
    peer: aioudp.Address | None,
    payloads: AsyncIterator[bytes],
    *,
    wait: float | None,
    form: Format,
) -> None:
    """Send all payloads while receiving replies and refusals."""
    try:
        async with asyncio.TaskGroup() as group:
            replies = group.create_task(
                _receive(endpoint, None if wait is None else form)
            )
            async for payload in payloads:
                await endpoint.send(payload, peer)
            await asyncio.sleep(_grace(endpoint) if wait is None else wait)
            replies.cancel()
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None


async def _paced(payloads: AsyncIterator[bytes], rate: float) -> AsyncIterator[bytes]:
    """Yield so many payloads a second: the first at once, the others when due."""
    clock = asyncio.get_running_loop().time
    due = clock()
    async for payload in payloads:
        await asyncio.sleep(max(0.0, due - clock()))
        yield payload
        # One that was late because its input was doesn't make the others hurry.
        due = max(due, clock() - 1 / rate) + 1 / rate


async def _receive(endpoint: aioudp.Endpoint[Any], form: Format | None) -> None:
    """Print replies; without *form*, only wait for an error."""
    while True:
        datagram = await endpoint.recv()
        if form is not None:
            print_datagram(datagram, form)


def _grace(endpoint: aioudp.Endpoint) -> float:
    """Return how long to wait for a refusal, in seconds."""
    peer = endpoint.remote_addr
    if isinstance(peer, tuple):
        here = peer[0] == "::1" or peer[0].startswith("127.")
        return _ON_LOOPBACK if here else _REFUSAL_GRACE
    return _ON_LOOPBACK if peer is not None else 0.0
