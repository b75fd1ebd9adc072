"""An endpoint whose send buffer is full."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

import aioudp

from ..conftest import UntilBlocked
from .links import SilentHost
from .traffic import END, Sink, numbered


@dataclass
class Jam:
    """An endpoint whose send buffer is full."""

    endpoint: aioudp.Endpoint
    addr: aioudp.Address | None
    """Where it sends to; ``None`` if it is connected."""
    taken: int
    """How many datagrams the kernel has taken, numbered from 0."""
    silent: SilentHost
    sink: Sink
    until_blocked: UntilBlocked

    async def start(self, sending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start to send something, and see it wait."""
        task = asyncio.create_task(sending)
        await self.until_blocked(task)
        assert not task.done()
        return task

    async def start_numbered(self, *numbers: int) -> list[asyncio.Task[None]]:
        """Start to send one datagram for each number, and see them wait."""
        return [
            await self.start(self.endpoint.send(numbered(number), self.addr))
            for number in numbers
        ]

    async def arrived(self) -> list[int]:
        """Return the numbers of all that the far end gets, in order."""
        await self.endpoint.send(END, self.addr)
        return await self.sink.numbers_until_end()


def fill(endpoint: aioudp.Endpoint, addr: Any) -> int:
    """Fill the send buffer behind the library's back; return how many went in."""
    sock = endpoint.get_extra_info("socket")
    for number in count():
        try:
            sock.sendto(numbered(number), addr)
        except BlockingIOError:
            return number
    raise AssertionError
