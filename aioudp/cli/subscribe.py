"""The program of ``aioudp subscribe``: print what other machines received."""

from __future__ import annotations

import asyncio

import aioudp

from . import console
from .formats import Format
from .receiving import print_datagram
from .running import FAILURE


async def subscribe(
    url: str,
    stream: str,
    group: str,
    *,
    credentials: str | None,
    form: str,
    count: int | None,
    patience: float | None,
) -> int:
    """Print *count* datagrams, or all, until *patience* seconds without any."""
    printed = 0
    async with aioudp.subscribe(
        url, stream=stream, group=group, credentials=credentials
    ) as batches:
        console.note(f"subscribed to {stream} as {group}")
        while count is None or printed < count:
            try:
                async with asyncio.timeout(patience):
                    batch = await anext(batches)
            except TimeoutError:
                return 0 if count is None else FAILURE
            for message in batch.messages():
                datagram = aioudp.Datagram(message.data, message.addr)
                print_datagram(datagram, Format(form), message.timestamp or 0.0)
            await batch.ack()
            printed += len(batch)
    return 0
