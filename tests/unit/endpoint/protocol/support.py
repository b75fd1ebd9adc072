"""The protocol on a fake transport."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aioudp._endpoint.inbox import Inbox
from aioudp._endpoint.protocol import EndpointProtocol
from aioudp._types import Datagram, Overflow, Received

UntilBlocked = Callable[..., Coroutine[Any, Any, None]]

REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNREACHABLE: Final = OSError(errno.EHOSTUNREACH, "No route to host")


class FakeTransport:
    """Notes what the protocol asks of it; has what the test says."""

    def __init__(self, *, can_pause: bool = True) -> None:
        self.can_pause = can_pause
        self.calls: list[str] = []
        self.polled: list[int | None] = []
        self.on_poll: Callable[[], list[Datagram]] = list

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def poll(self, max_datagrams: int | None = None) -> list[Datagram]:
        self.calls.append("poll")
        self.polled.append(max_datagrams)
        return self.on_poll()


class Line(EndpointProtocol):
    """The protocol on a fake transport, with the receive calls of an endpoint."""

    def __init__(
        self,
        capacity: int = 100,
        overflow: Overflow = "pause",
        *,
        can_pause: bool = True,
    ) -> None:
        super().__init__(asyncio.get_running_loop(), Inbox(capacity, overflow))
        self.fake = FakeTransport(can_pause=can_pause)
        self.connection_made(self.fake)

    def put(self, *numbers: int) -> None:
        """Let these datagrams arrive, in one batch."""
        self.datagrams_received(numbered(*numbers))

    def fill(self, *numbers: int) -> None:
        """Do the same, after which more is there to be read than there is room for."""
        self.put(*numbers)
        assert self.datagrams_wanted() == 0

    async def recv(self) -> int:
        await self.turn()
        return number_of(self.items.popleft())

    async def recv_many(self, max_datagrams: int | None = None) -> list[int]:
        await self.turn()
        return [number_of(datagram) for datagram in self.inbox.take(max_datagrams)]

    def recv_nowait(self) -> int:
        self.turn_nowait()
        return number_of(self.items.popleft())


def numbered(*numbers: int) -> list[Datagram]:
    return [Datagram(b"%d" % number, ("192.0.2.1", 53)) for number in numbers]


def number_of(datagram: Received) -> int:
    return int(datagram.data)


def start(*coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(coroutine) for coroutine in coroutines]


async def outcomes(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Return what each task returned or raised."""
    return await asyncio.gather(*tasks, return_exceptions=True)
