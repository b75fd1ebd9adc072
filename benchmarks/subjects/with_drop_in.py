"""This library's transport below a protocol written for the event loop's own."""

from __future__ import annotations

import asyncio
from typing import Any

import aioudp

from ..worker import MARK, Job
from . import with_protocol


class _BatchListener(with_protocol.Listener):
    """Takes its datagrams in batches."""

    def datagrams_received(self, datagrams: list[aioudp.Datagram]) -> None:
        if self.started and len(datagrams[-1].data) != MARK:
            self.count += len(datagrams)
            return
        for data, addr in datagrams:
            self.datagram_received(data, addr)


async def receive(job: Job) -> None:
    """Receive with ``datagram_received``."""
    await with_protocol.listen(job, with_protocol.Listener, opens)


async def receive_batches(job: Job) -> None:
    """Receive with ``datagrams_received``."""
    await with_protocol.listen(job, _BatchListener, opens)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` in ``datagram_received``."""
    await with_protocol.listen(job, with_protocol.Echo, opens)


async def send(job: Job) -> None:
    """Send with ``sendto``; the loop gets its turn after each burst."""
    await with_protocol.talk(job, opens)


async def opens(*args: Any, **kwargs: Any) -> tuple[asyncio.DatagramTransport, Any]:
    return await aioudp.create_datagram_endpoint(*args, **kwargs)
