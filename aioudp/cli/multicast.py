"""The programs of ``aioudp multicast``: send to a group, or listen to one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aioudp

from .._system.addresses import format_address
from . import console
from .formats import Format
from .outcomes import show_outcomes
from .receiving import print_datagrams
from .running import FAILURE


async def send(
    host: str,
    port: int,
    datagrams: AsyncIterator[bytes],
    *,
    interfaces: list[str | int] | None,
    ttl: int,
    loopback: bool,
    as_json: bool,
) -> int:
    """Send each datagram on every interface, and print the outcomes."""
    status = 0
    async with aioudp.open_multicast(
        host, port, interfaces=interfaces, ttl=ttl, loop=loopback
    ) as endpoint:
        async for data in datagrams:
            outcomes = await endpoint.send(data)
            for line in show_outcomes(outcomes, as_json=as_json):
                console.emit(line)
            if not any(outcome.sent for outcome in outcomes):
                status = FAILURE
    return status


async def listen(
    host: str,
    port: int,
    *,
    interfaces: list[str | int] | None,
    source: str | None,
    form: str,
    count: int | None,
    patience: float | None,
) -> int:
    """Join a group; print *count* datagrams, or all, until *patience* seconds pass."""
    async with aioudp.open_multicast(
        host, port, interfaces=interfaces, source=source
    ) as endpoint:
        there = host, int(endpoint.local_addr[1])
        console.note(f"listening on {format_address(there)}")
        return await print_datagrams(
            endpoint, Format(form), count=count, patience=patience
        )
