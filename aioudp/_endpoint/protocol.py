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

Draining ends the line in good order: the transport hands over what the kernel holds and
says so, and whoever is still waiting when the queue has run empty gets the error that
closing would have raised.
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
from .inbox import ANY, Inbox


class EndpointProtocol(asyncio.DatagramProtocol):
    """Takes batches from a transport and deals them out to waiting tasks."""

    __slots__ = (
        "_complete",
        "_draining",
        "_error",
        "_loop",
        "_paused",
        "_transport",
        "_waiters",
        "closed",
        "detour",
        "dropped_close",
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
        self.dropped_close: int = 0
        """Datagrams that nobody had taken when the endpoint was closed."""
        self._draining = False
        self._complete = False  # drained: what is queued is all that will ever be
        self._error: OSError | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._paused = False

    # -- what the transport calls

    def connection_made(self, transport: Any) -> None:
        self._transport: DatagramTransport = transport
        if not transport.can_pause and self.inbox.overflow == "pause":
            self.inbox.overflow = "drop-newest"

    def datagrams_wanted(self) -> int:
        if self._draining:
            return ANY
        room = self.inbox.room()
        self._paused = not room  # only now: who waits may have emptied it in between
        return room

    def datagrams_received(self, datagrams: list[Any]) -> None:
        if self._complete:  # a transport that cannot stop reading
            self.dropped_close += len(datagrams)
            return
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

    def drain(self) -> None:
        """Read what has arrived by now, and then no more. Idempotent."""
        if not (self._draining or self.closed):
            self._draining = True
            self._paused = False
            self._transport.drain(self._drained)

    def _drained(self) -> None:
        self._complete = True
        self._wake()

    def close(self) -> None:
        """Let every receive call, now and later, raise EndpointClosedError."""
        self.closed = True
        self.dropped_close += len(self.items)
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
            EndpointClosedError: If the endpoint is closed, before or while waiting, or
                was drained and is empty.
            OSError: The error that the network reported.
        """
        waiters = self._waiters
        if waiters or not (self.items or self.detour):
            if self._has_ended():
                raise EndpointClosedError
            waiter = self._loop.create_future()
            waiters.append(waiter)
            self.detour = True
            try:
                while True:
                    if self._paused:
                        self.resume_if_empty()
                    await waiter
                    if self._has_ended() or (
                        waiters[0] is waiter and self._has_something()
                    ):
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
        if self.detour or not self.items:
            self._raise_what_is_pending()

    def turn_nowait(self) -> None:
        """Do as :meth:`turn`, but raise BlockingIOError instead of waiting."""
        if not self.items and not self.detour:
            self.resume_if_empty()
            self.inbox.put(self._transport.poll(self.inbox.room()))
        if self.detour:
            if self._waiters and not self._has_ended():
                raise BlockingIOError("other tasks are waiting for the next datagram")
            self._raise_what_is_pending()
        if not self.items:
            self._raise_what_is_pending()
            raise BlockingIOError("no datagram is there")

    def resume_if_empty(self) -> None:
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
        if self._has_ended():
            raise EndpointClosedError
        if self._error is not None:
            error, self._error = self._error, None
            self._update_detour()
            raise error

    def _update_detour(self) -> None:
        self.detour = bool(self._waiters) or self.closed or self._error is not None

    def _has_something(self) -> bool:
        return bool(self.items) or self._error is not None

    def _has_ended(self) -> bool:
        return self.closed or (self._complete and not self._has_something())

    def _wake(self) -> None:
        """Give a turn to as many waiting tasks as there are things to take.

        Once there will never be any, all of them learn it.
        """
        waiters = self._waiters
        available = len(self.items) + (self._error is not None)
        if self._has_ended():
            available = len(waiters)
        for waiter in islice(waiters, available):
            if not waiter.done():
                waiter.set_result(None)
        if waiters and self._paused:
            self.resume_if_empty()
