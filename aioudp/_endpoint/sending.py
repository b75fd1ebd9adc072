"""Sending for an endpoint: exact, in order, and waiting where there is no room.

The transport attempts, and says when there is no room. What waits is a copy, so that
the caller may reuse its buffer. Senders that wait are served first come, first served,
and nobody overtakes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from .._errors import EndpointClosedError, SendManyError
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport, Prepared
from .._types import Address, Payload

_CHUNK: Final = 1024  # datagrams of send_many between two turns of the event loop

_NO_OPTIONS: Final = SendOptions()


def send_options(
    local_addr: str | Address | None,
    interface: int | str | None,
    tos: int | None,
    hop_limit: int | None,
) -> SendOptions | None:
    """Return the options of a call, or ``None`` if it has none."""
    options = SendOptions(
        local_addr=local_addr, interface=interface, tos=tos, hop_limit=hop_limit
    )
    return None if options == _NO_OPTIONS else options


class Sender:
    """The sends of one endpoint that are more than one attempt."""

    __slots__ = ("_transport", "_turn", "blocked")

    def __init__(self, transport: DatagramTransport) -> None:
        self._transport = transport
        self._turn = asyncio.Lock()
        self.blocked: int = 0
        """Senders that wait for room or for another sender."""

    async def in_turn(self, attempt: Callable[[], bool]) -> None:
        """Repeat *attempt* until it says that all is out, behind earlier senders."""
        self.blocked += 1
        try:
            async with self._turn:
                while True:
                    try:
                        if attempt():
                            return
                    except BlockingIOError:
                        await self._transport.wait_writable()
                    else:
                        await asyncio.sleep(0)
        finally:
            self.blocked -= 1

    def at_once(self, attempt: Callable[[], bool]) -> bool:
        """Make an attempt now, unless others wait. Return whether all is out."""
        if self.blocked:
            return False
        try:
            return attempt()
        except BlockingIOError:
            return False

    async def until_out(self, attempt: Callable[[], bool]) -> None:
        """Make an attempt now if nobody waits, and then as many as it takes."""
        if not self.at_once(attempt):
            await self.in_turn(attempt)

    async def send(
        self, data: Payload, addr: Address | None, options: SendOptions | None
    ) -> None:
        """Send one datagram."""
        prepared = self._transport.prepare([(data, addr, options)])
        await self.until_out(lambda: self._transport.try_send_many(prepared) > 0)

    async def send_segments(
        self,
        data: Payload,
        addr: Address | None,
        segment_size: int,
        options: SendOptions | None,
    ) -> None:
        """Send one buffer as many datagrams."""
        if segment_size < 1:
            raise ValueError(f"segment_size must be at least 1, got {segment_size}")
        remaining = memoryview(data)
        if not remaining.c_contiguous:
            remaining = memoryview(bytes(data))
        remaining = remaining.cast("B")
        if len(remaining) <= segment_size:
            await self.send(remaining, addr, options)
            return

        def attempt() -> bool:
            nonlocal remaining
            sent = self._transport.try_send_segments(
                remaining, segment_size, addr, options
            )
            remaining = remaining[sent:]
            return not remaining

        if not self.at_once(attempt):
            remaining = memoryview(bytes(remaining))
            await self.in_turn(attempt)

    async def send_many(
        self, datagrams: Iterable[Any], options: SendOptions | None
    ) -> None:
        """Send several datagrams; those that are pairs, with *options*.

        Raises:
            SendManyError: If the system refused some; all the others are out.
        """
        errors: dict[int, OSError] = {}
        done = 0
        remaining = iter(datagrams)
        if options is not None:
            remaining = _with_options(remaining, options)
        while chunk := list(islice(remaining, _CHUNK)):
            if done:
                await asyncio.sleep(0)
            await self._send_chunk(self._transport.prepare(chunk), done, errors)
            done += len(chunk)
        if self._transport.is_closing():
            raise EndpointClosedError
        if errors:
            raise SendManyError(errors)

    async def _send_chunk(
        self, datagrams: Prepared, offset: int, errors: dict[int, OSError]
    ) -> None:
        position = 0

        def attempt() -> bool:
            nonlocal position
            while position < len(datagrams):
                try:
                    position += self._transport.try_send_many(datagrams, position)
                except BlockingIOError:
                    raise
                except OSError as exc:
                    errors[offset + position] = exc
                    position += 1
            return True

        await self.until_out(attempt)


def _with_options(datagrams: Iterator[Any], options: SendOptions) -> Iterator[Any]:
    """Give *options* to every pair; leave the rest to be checked."""
    for item in datagrams:
        try:
            data, addr = item
        except (TypeError, ValueError):
            yield item
        else:
            yield data, addr, options
