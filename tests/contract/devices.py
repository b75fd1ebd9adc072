"""Devices on the loopback interface, for ``discover`` to find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import aioudp

_GROUP: Final = "239.255.77.3"
_LOOPBACK: Final = ["127.0.0.1"]
_QUESTION: Final = b"who is there?"
_LONG: Final = 15  # seconds; a search that is meant to be left before


class Device:
    """Answers whoever asks, by broadcast or in a group."""

    def __init__(self, endpoint: Any, answers: Callable[[int], list[bytes]]) -> None:
        self.endpoint = endpoint
        self.port = int(endpoint.local_addr[1])
        self.asked: list[aioudp.Datagram] = []
        self.answers = answers
        self.task: asyncio.Task[None] = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        async for datagram in self.endpoint:
            self.asked.append(datagram)
            for answer in self.answers(len(self.asked)):
                await self.endpoint.send_to(answer, datagram.addr)


class Devices:
    """Starts devices that share a port, and ends them all."""

    def __init__(self, stack: AsyncExitStack, way: str) -> None:
        self._stack = stack
        self._way = way
        self.port = 0

    @property
    def group(self) -> str | None:
        return _GROUP if self._way == "multicast" else None

    async def add(
        self, answers: Callable[[int], list[bytes]] = lambda _: [b"I"]
    ) -> Device:
        """Start one that sends *answers* of the number of times it was asked."""
        opening: Any = (
            aioudp.open_broadcast(self.port, interfaces=_LOOPBACK)
            if self.group is None
            else aioudp.open_multicast(self.group, self.port, interfaces=_LOOPBACK)
        )
        device = Device(await self._stack.enter_async_context(opening), answers)
        self._stack.push_async_callback(_end, device.task)
        self.port = device.port
        return device

    def search(self, **options: Any) -> aioudp.Discovery:
        """Return a search for them."""
        settings: dict[str, Any] = {
            "timeout": _LONG,
            "interfaces": _LOOPBACK,
            "group": self.group,
        }
        return aioudp.discover(_QUESTION, self.port, **settings | options)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
