"""Sending for an endpoint: exact, in order, and fair.

The transport attempts a send, and raises if there's no room. A send that waits holds a
copy of the payload, so that the caller may reuse its buffer. Senders that wait for room
are served first come, first served; no other sender overtakes them.

A send that finds room doesn't need the event loop, so a task that sends in an endless
loop would block it: no timer would fire, and no datagram would be read. So sends that
succeed at once are counted, and after :data:`ALLOWANCE` of them, one lets the loop run
first. While senders wait for room, the allowance is 0, so a send checks one number.

==================  ===========  =====================================================
``allowance``       ``waiting``  the next send
==================  ===========  =====================================================
1 to ALLOWANCE      0            is sent now
0                   0            lets the loop run once, then is sent
0                   1 or more    waits behind the others
==================  ===========  =====================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from .._errors import EndpointClosedError, SendManyError
from .._system.batchio import check_payload
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport, Prepared
from .._types import Address, Payload

_CHUNK: Final = 1024  # datagrams of send_many between two iterations of the event loop

ALLOWANCE: Final = 256
"""Single sends between two iterations of the loop: about half a millisecond. One
iteration costs as much as two sends, so this costs a send less than 1 %."""

_MANY_COST: Final = 16  # this many datagrams of send_many take as long as one send
_SEGMENTS_COST: Final = 8  # a train takes as long as this many sends


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
    """The sends of one endpoint that take more than one attempt."""

    __slots__ = ("_line", "_transport", "_waiting", "allowance")

    def __init__(self, transport: DatagramTransport) -> None:
        self._transport = transport
        self._line = asyncio.Lock()  # fair
        self._waiting = 0  # senders that wait for room, or for another one
        self.allowance: int = ALLOWANCE
        """The number of sends allowed before the loop must run. See the top of the
        file."""

    async def send(
        self, data: Payload, addr: Address | None, options: SendOptions | None
    ) -> None:
        """Send one datagram."""
        prepared = self._transport.prepare([(data, addr, options)])
        await self.in_turn(lambda: not self._transport.try_send_many(prepared))

    async def send_later(self, data: Payload, addr: Address | None) -> None:
        """Send one datagram that couldn't be sent at once."""
        # Check and copy it now: the caller may reuse its buffer meanwhile.
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
        check_payload(data)
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
        """Send several datagrams; *options* apply to those that are pairs.

        Raises:
            SendManyError: If the system refused some; all others have been sent.
        """
        errors: dict[int, OSError] = {}
        try:
            await self._send_chunks(datagrams, options, errors)
        except Exception as exc:
            if errors:  # don't lose them
                refused = SendManyError(errors)
                refused.__context__, exc.__context__ = exc.__context__, refused
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
            except Exception as exc:  # still send the chunk
                failure = exc
            if not chunk:
                break
            if done:
                await asyncio.sleep(0)
            if options is not None:
                chunk = [_with_options(item, options) for item in chunk]
            await self.send_prepared(self._transport.prepare(chunk), done, errors)
            done += len(chunk)
        if failure is not None:
            raise failure
        if self._transport.is_closing():
            raise EndpointClosedError

    async def send_prepared(
        self, prepared: Prepared, offset: int, errors: dict[int, OSError]
    ) -> None:
        """Send what was prepared, of which *offset* is the index of the first.

        Refusals become *errors*.
        """
        position = 0
        if self.allowance:
            self.allowance = max(0, self.allowance - 1 - len(prepared) // _MANY_COST)
            position = self._send_from(prepared, 0, offset, errors)
        if position < len(prepared):
            await self._send_remaining(prepared, position, offset, errors)

    def _send_from(
        self,
        prepared: Prepared,
        position: int,
        offset: int,
        errors: dict[int, OSError],
    ) -> int:
        """Send until all are sent or there's no room; return the position reached."""
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
        """Repeat *attempt* until it returns a false value, in order with other sends.

        The event loop runs between attempts. If an attempt raises BlockingIOError, the
        next one waits for room.
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
        """The same for a send that couldn't be made at once."""
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
    """Add *options* to a pair; leave anything else for the check."""
    try:
        data, addr = item
    except (TypeError, ValueError):
        return item
    return data, addr, options
