"""The program of ``aioudp broadcast``: send a broadcast on every interface."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aioudp

from . import console
from .outcomes import show_outcomes
from .running import FAILURE


async def broadcast(
    port: int,
    datagrams: AsyncIterator[bytes],
    *,
    interfaces: list[str | int] | None,
    as_json: bool,
) -> int:
    """Send each datagram on every interface, and print the outcomes."""
    status = 0
    # Use a separate port, so as not to receive datagrams meant for other programs.
    async with aioudp.open_broadcast(0, interfaces=interfaces) as endpoint:
        async for data in datagrams:
            outcomes = await endpoint.send(data, port)
            for line in show_outcomes(outcomes, as_json=as_json):
                console.emit(line)
            if not any(outcome.sent for outcome in outcomes):
                status = FAILURE
    return status
