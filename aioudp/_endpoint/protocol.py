"""The endpoint's protocol: a bounded queue, and the tasks that wait at it.

Receivers are served first come, first served, and cancelling one loses nothing. Both
follow from two rules:

* A datagram stays in the queue until the very step of the task that returns it.
  Waking a receiver gives it a turn, never a datagram, so there is nothing to lose
  when the turn and a cancellation fall together: the turn passes to the next.
* Nobody overtakes. Whoever calls while others wait goes to the end of the line; as
  many receivers from its head are woken as there are datagrams, and of those only the
  one at the head takes any.

A receive call takes the oldest datagram straight from the queue, unless there is a
reason to do something else. ``detour`` has a bit for each reason:

========  ========================  ===================  ============================
reason    begins                    ends                 a receive call
========  ========================  ===================  ============================
WAITING   a call has to wait        the last has left    joins the line
ERROR     the network reports one   a call raises it     raises it, not a datagram
PAUSED    the queue is full, the    the queue is empty   takes a datagram; with the
          socket readable                                last one, reading resumes
DRAINED   all has been read         never                takes what is left, then
                                                         raises
CLOSED    ``close``                 never                raises
CHECKED   opened in debug mode      never                checks the event loop
========  ========================  ===================  ============================

One error is kept; a newer one replaces it. Between ``drain`` and DRAINED the transport
reads out the kernel's buffer, and the queue takes everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Any, Final

from .._errors import EndpointClosedError
from .._transports.base import DatagramTransport
from .._types import NetworkError, Received
from .error_inbox import ErrorInbox
from .inbox import ANY, Inbox
from .loop_check import check_loop

WAITING: Final = 1
ERROR: Final = 2
PAUSED: Final = 4
DRAINED: Final = 8
CLOSED: Final = 16
CHECKED: Final = 32

_OVER: Final = DRAINED | CLOSED
_DECIDED: Final = ERROR | _OVER  # there is something to raise, without a datagram


class EndpointProtocol(asyncio.DatagramProtocol):
    """Takes batches from a transport and deals them out to waiting tasks."""

    __slots__ = (
        "_draining",
        "_error",
        "_loop",
        "_transport",
        "_waiters",
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
        self.detour: int = CHECKED if loop.get_debug() else 0
        """Why a receive call may not just take the oldest item; 0: it may."""
        self.dropped_close: int = 0
        """Datagrams that nobody had taken when the endpoint was closed."""
        self._draining = False
        self._error: OSError | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def closed(self) -> bool:
        return bool(self.detour & CLOSED)

    # -- what the transport calls

    def connection_made(self, transport: Any) -> None:
        self._transport: DatagramTransport = transport
        if not transport.can_pause and self.inbox.overflow == "pause":
            self.inbox.overflow = "drop-newest"

    def datagrams_wanted(self) -> int:
        if self._draining:
            return ANY
        room = self.inbox.room()
        if room:
            self.detour &= ~PAUSED
        else:
            self.detour |= PAUSED
        return room

    def datagrams_received(self, datagrams: list[Any]) -> None:
        if self.detour & _OVER:  # a transport that cannot stop reading
            self.dropped_close += len(datagrams)
            return
        self.inbox.put(datagrams)
        if self._waiters:
            self._wake()

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self._error = exc
        self.detour |= ERROR
        self._wake()

    def network_error_received(self, error: NetworkError) -> None:
        if self.errors is not None:
            self.errors.put(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    # -- what the endpoint calls

    def drain(self) -> None:
        """Read what has arrived by now, and then no more. Idempotent."""
        if not self._draining:
            self._draining = True
            self.detour &= ~PAUSED
            self._transport.drain(self._drained)

    def _drained(self) -> None:
        self.detour |= DRAINED
        self._wake()

    def close(self) -> None:
        """Let every receive call, now and later, raise EndpointClosedError."""
        self._draining = True
        self.detour = self.detour & ~PAUSED | CLOSED
        self.dropped_close += len(self.items)
        self.items.clear()
        if self._loop.is_closed():  # who waits will never run again
            return
        if self.errors is not None:
            self.errors.close()
        self._wake()

    async def turn(self) -> None:
        """Return when it is the caller's turn and there is at least one item.

        The caller takes its items before it awaits anything else.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or while waiting, or
                was drained and is empty.
            OSError: The error that the network reported.
            RuntimeError: As :meth:`check_loop`.
        """
        if self.detour & CHECKED:
            self.check_loop()
        waiters = self._waiters
        if waiters or not (self.items or self.detour & _DECIDED):
            if self._has_ended():
                raise EndpointClosedError
            waiter = self._loop.create_future()
            waiters.append(waiter)
            self.detour |= WAITING
            try:
                while True:
                    await waiter
                    if waiters[0] is waiter and (self.items or self.detour & _DECIDED):
                        break
                    if self._has_ended():
                        break
                    # Whoever was before us took all, or is still there: keep the place.
                    place = waiters.index(waiter)
                    waiter = waiters[place] = self._loop.create_future()
            except BaseException:
                self._leave(waiter)
                self._wake()  # a turn that came with the cancellation is the next one's
                raise
            self._leave(waiter)
            if waiters:
                self._loop.call_soon(self._wake)  # once the caller has taken its share
        if self.detour:
            self._look_after()

    def turn_nowait(self) -> None:
        """Do as :meth:`turn`, but raise BlockingIOError instead of waiting."""
        if self.detour & CHECKED:
            self.check_loop(waits=False)
        if not (self.items or self.detour & ~CHECKED):
            self.inbox.put(self._transport.poll(self.inbox.room()))
        if self._waiters and not self._has_ended():
            raise BlockingIOError("other tasks are waiting for the next datagram")
        if not (self.items or self.detour & _DECIDED):
            raise BlockingIOError("no datagram is there")
        if self.detour:
            self._look_after()

    def resume_if_empty(self) -> None:
        """Let the transport read again once the inbox is empty.

        It is let run empty so that switching the reading on and off, which costs
        more than receiving a datagram, happens once per inbox full.
        """
        if self.detour & PAUSED and not self.items:
            self.detour &= ~PAUSED
            self._transport.resume_reading()

    def check_loop(self, *, waits: bool = True) -> None:
        """In debug mode, refuse a call from another thread or event loop.

        Raises:
            RuntimeError: As :func:`check_loop`.
        """
        if self.detour & CHECKED:
            check_loop(self._loop, self._transport, waits=waits)

    def _look_after(self) -> None:
        """Do what there is reason to do before the caller takes an item."""
        if self._has_ended():
            raise EndpointClosedError
        if self.detour & ERROR:
            error, self._error = self._error, None
            self.detour &= ~ERROR
            assert error is not None
            raise error
        if self.detour & PAUSED and len(self.items) == 1:  # it is about to be taken
            self.detour &= ~PAUSED
            self._transport.resume_reading()

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self.detour &= ~WAITING

    def _has_ended(self) -> bool:
        if self.detour & CLOSED:
            return True
        return bool(self.detour & DRAINED and not (self.items or self.detour & ERROR))

    def _wake(self) -> None:
        """Give a turn to as many waiting tasks as there are things to take.

        Once there will never be any more, all of them learn it.
        """
        waiters = self._waiters
        available = len(self.items) + (self._error is not None)
        if self._has_ended():
            available = len(waiters)
        for waiter in islice(waiters, available):
            if not waiter.done():
                waiter.set_result(None)
