"""What the tests of the drop-in share: who opens, and a protocol that takes notes.

Each test runs on the event loop's own ``create_datagram_endpoint`` and on ours, with
the same assertions: that is what makes ours a drop-in. Where the loop's own does
something else, the test says so with :meth:`Opener.leaves_out`. Ours runs a second
time, "wrapped": on the transport for loops that watch no descriptors, which has the
loop's own transport read.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

import aioudp
from aioudp._endpoint import opening

WAYS: Final = ("loop", "ours", "wrapped")


class Recorder(asyncio.DatagramProtocol):
    """Records the transport's calls, and lets a test wait for more."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.datagrams: list[tuple[Any, Any]] = []
        self.errors: list[Exception] = []
        self.events: list[Any] = []
        self._changed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.note("made")

    def datagram_received(self, data: Any, addr: Any) -> None:
        self.datagrams.append((data, addr))
        self._changed.set()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self._changed.set()

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note(("lost", exc))

    def note(self, event: Any) -> None:
        self.events.append(event)
        self._changed.set()

    @property
    def payloads(self) -> list[bytes]:
        return [data for data, _ in self.datagrams]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until *condition* holds; it is asked after each event."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def received(self, count: int) -> list[bytes]:
        """Wait for so many datagrams; return all that came."""
        await self.until(lambda: len(self.datagrams) >= count)
        return self.payloads

    async def lost(self) -> None:
        """Wait for the end."""
        await self.until(lambda: ("lost", None) in self.events)


class Opener:
    """Opens datagram endpoints in one of the ways, and closes them at the end."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.ours = way != "loop"
        self._opened: list[tuple[Any, Any]] = []

    async def open(
        self, factory: Callable[[], Any] = Recorder, *args: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Open an endpoint; return its transport and its protocol."""
        if self.ours:
            opens: Any = aioudp.create_datagram_endpoint
        else:
            opens = asyncio.get_running_loop().create_datagram_endpoint
        with pytest.MonkeyPatch.context() as patch:
            if self.way == "wrapped":
                patch.setattr(opening, "watches_descriptors", lambda loop: False)
            opened: tuple[Any, Any] = await opens(factory, *args, **options)
        assert isinstance(opened[0], aioudp.DatagramTransport) is self.ours
        self._opened.append(opened)
        return opened

    def leaves_out(
        self,
        *loops: str,
        because: str,
        since: Any = (3,),
        fixed: Any = (4,),
        wrapped: bool = False,
    ) -> None:
        """Skip the test for the own method of these loops, or, without any, of all.

        *since* and *fixed* are versions of Python. With *wrapped* the same is true of
        ours where the loop's own transport reads.
        """
        kind = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        affected = since <= sys.version_info < fixed
        concerned = not self.ours or (wrapped and self.way == "wrapped")
        if not concerned or (loops and kind not in loops) or not affected:
            return
        pytest.skip(f"cannot: the own method of {kind}: {because}")

    async def aclose(self) -> None:
        for transport, protocol in self._opened:
            if isinstance(protocol, Recorder):
                if ("lost", None) not in protocol.events:
                    transport.abort()
                await protocol.lost()
            else:
                transport.abort()
        for _ in range(3):  # turns that the loop's own take to free the descriptor
            await asyncio.sleep(0)


class Reports:
    """The contexts passed to the event loop's exception handler."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.contexts.append(context))

    @property
    def exceptions(self) -> list[Any]:
        return [context.get("exception") for context in self.contexts]


def drain(sock: socket.socket) -> list[bytes]:
    """Return what has arrived by now, without waiting."""
    received = []
    sock.setblocking(False)
    try:
        while True:
            received.append(sock.recv(1 << 17))
    except BlockingIOError:
        return received


def any_name() -> str:
    """Return an abstract UNIX name that nobody else uses."""
    return f"\0aioudp-test-{os.urandom(8).hex()}"
