"""aiofastnet's transport below a protocol written for the event loop's own."""

from __future__ import annotations

import asyncio
from typing import Any

import aiofastnet

from ..worker import Job
from . import with_protocol


async def opens(*args: Any, **kwargs: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await aiofastnet.create_datagram_endpoint(loop, *args, **kwargs)


async def receive(job: Job) -> None:
    """Receive with ``datagram_received``."""
    await with_protocol.listen(job, with_protocol.Listener, opens)


async def echo(job: Job) -> None:
    """Answer with ``sendto`` in ``datagram_received``."""
    await with_protocol.listen(job, with_protocol.Echo, opens)


async def send(job: Job) -> None:
    """Send with ``sendto``; the loop gets its turn after each burst."""
    await with_protocol.talk(job, opens)
