"""The endpoint's protocol: a bounded queue, and the tasks that wait at it.

Receivers are served first come, first served, and cancelling one loses nothing. Both
follow from two rules:

* A datagram stays in the queue until the very step of the task that returns it.
  Waking a receiver gives it a turn, never a datagram, so there is nothing to lose
  when the turn and a cancellation fall together: the turn passes to the next.
* Nobody overtakes. Whoever calls while others wait goes to the end of the line; as
  many receivers from its head are woken as there are datagrams, and of those only the
  one at the head takes any.

An error that the network reported is raised by one receive call, before the datagrams
that are queued. One is kept; a newer one replaces it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Any

from .._errors import EndpointClosedError
from .._transports.base import DatagramTransport
from .._types import NetworkError, Received
from .error_inbox import ErrorInbox
from .inbox import Inbox


class EndpointProtocol(asyncio.DatagramProtocol):
    """Takes batches from a transport and deals them out to waiting tasks."""

    __slots__ = (
        "_error",
        "_loop",
        "_paused",
        "_transport",
        "_waiters",
        "closed",
        "detour",
        "errors",
        "inbox",
        "items",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: Inbox,
        errors: ErrorInbox | None = None,
    ) -> None:
        self._loop = loop
        self.errors: ErrorInbox | None = errors
        """What the network says of what was sent, where that was asked for."""
        self.inbox: Inbox = inbox
        self.items: deque[Received] = inbox.items
        self.detour: bool = False
        """Whether a receive call must ask for its turn, even if there are items."""
        self.closed: bool = False
        self._error: OSError | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._paused = False

    # -- what the transport calls

    def connection_made(self, transport: Any) -> None:
        self._transport: DatagramTransport = transport
        if not transport.can_pause and self.inbox.overflow == "pause":
            self.inbox.overflow = "drop-newest"

    def datagrams_wanted(self) -> int:
        room = self.inbox.room()
        self._paused = not room  # only now: who waits may have emptied it in between
        return room

    def datagrams_received(self, datagrams: list[Any]) -> None:
        self.inbox.put(datagrams)
        if self._waiters:
            self._wake()

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self._error = exc
        self._update_detour()
        self._wake()

    def network_error_received(self, error: NetworkError) -> None:
        if self.errors is not None:
            self.errors.put(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    # -- what the endpoint calls

    def close(self) -> None:
        """Let every receive call, now and later, raise EndpointClosedError."""
        self.closed = True
        if self.errors is not None:
            self.errors.close()
        self.items.clear()
        self._update_detour()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def turn(self) -> None:
        """Return when it is the caller's turn and there is at least one item.

        The caller takes its items before it awaits anything else.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or while waiting.
            OSError: The error that the network reported.
        """
        waiters = self._waiters
        if waiters or not (self.items or self.detour):
            if self.closed:
                raise EndpointClosedError
            waiter = self._loop.create_future()
            waiters.append(waiter)
            self.detour = True
            try:
                while True:
                    if self._paused:
                        self.resume_if_drained()
                    await waiter
                    if self.closed or (waiters[0] is waiter and self._has_something()):
                        break
                    # Whoever was before us took all, or is still there: keep the place.
                    place = waiters.index(waiter)
                    waiter = waiters[place] = self._loop.create_future()
            except BaseException:
                waiters.remove(waiter)
                self._update_detour()
                self._wake()  # a turn that came with the cancellation is the next one's
                raise
            waiters.remove(waiter)
            self._update_detour()
            if waiters:
                self._loop.call_soon(self._wake)  # once the caller has taken its share
        if self.detour:
            self._raise_what_is_pending()

    def turn_nowait(self) -> None:
        """Do as :meth:`turn`, but raise BlockingIOError instead of waiting."""
        if not self.items and not self.detour:
            self.resume_if_drained()
            self.inbox.put(self._transport.poll(self.inbox.room()))
        if self.detour:
            if self._waiters and not self.closed:
                raise BlockingIOError("other tasks are waiting for the next datagram")
            self._raise_what_is_pending()
        if not self.items:
            raise BlockingIOError("no datagram is there")

    def resume_if_drained(self) -> None:
        """Let the transport read again once the inbox is empty.

        It is let run empty so that switching the reading on and off, which costs
        more than receiving a datagram, happens once per inbox full.
        """
        if self._paused and not self.items:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        if not self.closed:
            self._transport.resume_reading()

    def _raise_what_is_pending(self) -> None:
        if self.closed:
            raise EndpointClosedError
        if self._error is not None:
            error, self._error = self._error, None
            self._update_detour()
            raise error

    def _update_detour(self) -> None:
        self.detour = bool(self._waiters) or self.closed or self._error is not None

    def _has_something(self) -> bool:
        return bool(self.items) or self._error is not None

    def _wake(self) -> None:
        """Give a turn to as many waiting tasks as there are things to take."""
        waiters = self._waiters
        available = len(self.items) + (self._error is not None)
        for waiter in islice(waiters, available):
            if not waiter.done():
                waiter.set_result(None)
        if waiters and self._paused:
            self.resume_if_drained()
