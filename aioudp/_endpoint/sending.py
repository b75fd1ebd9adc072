"""Sending for an endpoint: exact, in order, and fair.

The transport attempts, and says when there is no room. What waits is a copy, so that
the caller may reuse its buffer. Senders that wait for room are served first come, first
served, and nobody overtakes them.

A send that finds room needs no event loop, and so a task that sends without end would
give the loop no turn: no timer would fire, no datagram be read. So the sends that may
go out at once are counted, and after :data:`ALLOWANCE` of them one lets the loop run
first. While senders wait for room the allowance is 0, so a send looks at one number.

==================  ===========  =====================================================
``allowance``       ``waiting``  the next send
==================  ===========  =====================================================
1 to ALLOWANCE      0            goes out now
0                   0            lets the loop run once, then goes out
0                   1 or more    waits behind the others
==================  ===========  =====================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from .._errors import EndpointClosedError, SendManyError
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport, Prepared
from .._types import Address, Payload

_CHUNK: Final = 1024  # datagrams of send_many between two iterations of the event loop

ALLOWANCE: Final = 256
"""Single sends between two iterations of the loop: about half a millisecond. One
iteration costs as much as two sends, so this costs a send less than 1 %."""

_MANY_COST: Final = 16  # so many datagrams of send_many take as long as one send
_SEGMENTS_COST: Final = 8  # a train takes as long as so many sends


def send_options(
    local_addr: str | Address | None,
    interface: int | str | None,
    tos: int | None,
    hop_limit: int | None,
) -> SendOptions | None:
    """Return the options of a call, or ``None`` if it has none."""
    if local_addr is None and interface is None and tos is None and hop_limit is None:
        return None
    return SendOptions(
        local_addr=local_addr, interface=interface, tos=tos, hop_limit=hop_limit
    )


class Sender:
    """The sends of one endpoint that are more than one attempt."""

    __slots__ = ("_line", "_transport", "_waiting", "allowance")

    def __init__(self, transport: DatagramTransport) -> None:
        self._transport = transport
        self._line = asyncio.Lock()  # fair
        self._waiting = 0  # senders that wait for room, or for another one
        self.allowance: int = ALLOWANCE
        """How many sends may go out at once. See the top of this file."""

    async def send(
        self, data: Payload, addr: Address | None, options: SendOptions | None
    ) -> None:
        """Send one datagram."""
        prepared = self._transport.prepare([(data, addr, options)])
        await self.in_turn(lambda: not self._transport.try_send_many(prepared))

    async def send_later(self, data: Payload, addr: Address | None) -> None:
        """Send one datagram that could not go out at once."""
        # Checked now, and copied: the caller may reuse the buffer while it waits.
        prepared = self._transport.prepare([(data, addr)])
        await self._later(lambda: not self._transport.try_send_many(prepared))

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
            return bool(remaining)

        if self.allowance:
            self.allowance = max(0, self.allowance - _SEGMENTS_COST)
            try:
                if not attempt():
                    return
            except BlockingIOError:
                pass
        remaining = memoryview(bytes(remaining))
        await self._later(attempt)

    async def send_many(
        self, datagrams: Iterable[Any], options: SendOptions | None
    ) -> None:
        """Send several datagrams; those that are pairs, with *options*.

        Raises:
            SendManyError: If the system refused some; all the others are out.
        """
        errors: dict[int, OSError] = {}
        try:
            await self._send_chunks(datagrams, options, errors)
        except Exception as exc:
            if errors and exc.__context__ is None:  # not to be lost with it
                exc.__context__ = SendManyError(errors)
            raise
        if errors:
            raise SendManyError(errors)

    async def _send_chunks(
        self,
        datagrams: Iterable[Any],
        options: SendOptions | None,
        errors: dict[int, OSError],
    ) -> None:
        remaining = iter(datagrams)
        failure: Exception | None = None
        done = 0
        while failure is None:
            chunk: list[Any] = []
            try:
                chunk.extend(islice(remaining, _CHUNK))
            except (
                Exception
            ) as exc:  # what it gave before is in the chunk, and goes out
                failure = exc
            if not chunk:
                break
            if done:
                await asyncio.sleep(0)
            if options is not None:
                chunk = [_with_options(item, options) for item in chunk]
            prepared = self._transport.prepare(chunk)
            position = 0
            if self.allowance:
                self.allowance = max(0, self.allowance - 1 - len(chunk) // _MANY_COST)
                position = self._send_from(prepared, 0, done, errors)
            if position < len(chunk):
                await self._send_remaining(prepared, position, done, errors)
            done += len(chunk)
        if failure is not None:
            raise failure
        if self._transport.is_closing():
            raise EndpointClosedError

    def _send_from(
        self,
        prepared: Prepared,
        position: int,
        offset: int,
        errors: dict[int, OSError],
    ) -> int:
        """Send until all is out or there is no room; return the position reached."""
        while position < len(prepared):
            try:
                position += self._transport.try_send_many(prepared, position)
            except BlockingIOError:
                break
            except OSError as exc:
                errors[offset + position] = exc
                position += 1
        return position

    async def _send_remaining(
        self,
        prepared: Prepared,
        position: int,
        offset: int,
        errors: dict[int, OSError],
    ) -> None:
        def attempt() -> None:
            nonlocal position
            position = self._send_from(prepared, position, offset, errors)
            if position < len(prepared):
                raise BlockingIOError

        await self._later(attempt)

    async def in_turn(self, attempt: Callable[[], object]) -> None:
        """Repeat *attempt* until it returns nothing or false: now, or when it may.

        Between two attempts the event loop runs, and if one raises BlockingIOError, the
        next waits for room.
        """
        if self.allowance:
            self.allowance -= 1
            try:
                if not attempt():
                    return
            except BlockingIOError:
                pass
        await self._later(attempt)

    async def _later(self, attempt: Callable[[], object]) -> None:
        """Do so for what could not go out at once."""
        if not (self.allowance or self._waiting):
            self.allowance = ALLOWANCE
            await asyncio.sleep(0)
            if self.allowance:
                self.allowance -= 1
                try:
                    if not attempt():
                        return
                except BlockingIOError:
                    pass
        self._waiting += 1
        self.allowance = 0
        try:
            async with self._line:
                while True:
                    try:
                        if not attempt():
                            return
                    except BlockingIOError:
                        await self._transport.wait_writable()
                    else:
                        await asyncio.sleep(0)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.allowance = ALLOWANCE


def _with_options(item: Any, options: SendOptions) -> Any:
    """Give *options* to a pair; leave anything else to be checked."""
    try:
        data, addr = item
    except (TypeError, ValueError):
        return item
    return data, addr, options
