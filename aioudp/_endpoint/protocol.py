"""The endpoint's protocol: a bounded queue, and the tasks that wait for it.

Receivers are served first come, first served, and cancelling one loses nothing. Both
follow from two rules:

* A datagram stays in the queue until the step in which the task returns it. Waking a
  receiver gives it a turn, never a datagram. So if the task gets its turn and is
  cancelled at the same time, nothing is lost: the turn passes to the next task.
* Receivers don't overtake. A task that calls while others wait goes to the end of the
  line. As many receivers are woken, from the head of the line, as there are datagrams,
  and only the one at the head takes any.

A receive call takes the oldest datagram directly from the queue, unless there is a
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
BATCHED   a batch was read ahead    it is taken, as one  takes it apart, unless it
          and stands in the queue   or apart             is ``recv_batch``
CHECKED   opened in debug mode      never                checks the event loop
========  ========================  ===================  ============================

One error is kept; a newer one replaces it. Between ``drain`` and DRAINED, the transport
empties the kernel's buffer, and the queue accepts everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from .._errors import EndpointClosedError
from .._transports.base import READ_ELSEWHERE, DatagramTransport
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
BATCHED: Final = 64

_OVER: Final = DRAINED | CLOSED
_DECIDED: Final = ERROR | _OVER  # there's an error to raise, even without a datagram


class EndpointProtocol(asyncio.DatagramProtocol):
    """Receives batches from a transport and distributes them to waiting tasks."""

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
        "read_elsewhere",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: Inbox,
        errors: ErrorInbox | None = None,
    ) -> None:
        self._loop = loop
        self.errors: ErrorInbox | None = errors
        """ICMP errors, with the option ``icmp_errors``."""
        self.inbox: Inbox = inbox
        self.items: deque[Received] = inbox.items
        self.detour: int = CHECKED if loop.get_debug() else False
        """Reasons why a receive call can't just take the oldest item.

        ``False`` if there is none. Testing 0 takes CPython 2 % of a ``recv`` longer.
        """
        self.dropped_close: int = 0
        """Datagrams in the queue when the endpoint was closed."""
        self.read_elsewhere: Callable[[], bool] | None = None
        """Called when the socket is readable; if it returns true, it has read."""
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
        if self.read_elsewhere is not None and self.read_elsewhere():
            return READ_ELSEWHERE
        room = 0 if self.detour & BATCHED else self.inbox.room()
        if room:
            self.detour = self.detour & ~PAUSED or False
        else:
            self.detour |= PAUSED
        return room

    def datagrams_received(self, datagrams: list[Any]) -> None:
        if self.detour and self.detour & _OVER:  # this transport can't stop reading
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

    def waiting(self) -> int:
        """Return how many receive calls wait in line."""
        return len(self._waiters)

    def drain(self) -> None:
        """Read the datagrams that have arrived, then stop reading. Idempotent."""
        if not self._draining:
            self._draining = True
            self.detour = self.detour & ~PAUSED or False
            self._transport.drain(self._drained)

    def _drained(self) -> None:
        self.detour |= DRAINED
        self._wake()

    def close(self) -> None:
        """Make every current and later receive call raise EndpointClosedError."""
        self._draining = True
        self.detour = self.detour & ~PAUSED | CLOSED
        if self.detour & BATCHED:
            self._take_apart()
        self.dropped_close += len(self.items)
        self.items.clear()
        if self._loop.is_closed():  # who waits will never run again
            return
        if self.errors is not None:
            self.errors.close()
        self._wake()

    async def turn(self) -> None:
        """Wait until it's the caller's turn and there is at least one item.

        The caller must take its items before it awaits anything else.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or while waiting, or
                was drained and is empty.
            OSError: The error that the network reported.
            RuntimeError: As :func:`check_loop`, in debug mode or if it has to wait.
        """
        if self.detour & CHECKED:
            self.check_loop()
        waiters = self._waiters
        if waiters or not (self.items or self.detour & _DECIDED):
            if self.detour & _OVER and self._has_ended():
                raise EndpointClosedError
            if asyncio.get_running_loop() is not self._loop:
                check_loop(self._loop, self._transport, waits=True)
            waiter = self._loop.create_future()
            waiters.append(waiter)
            self.detour |= WAITING
            try:
                while True:
                    await waiter
                    if waiters[0] is waiter and (self.items or self.detour & _DECIDED):
                        break
                    if self.detour & _OVER and self._has_ended():
                        break
                    # The task before us took everything, or is still there: keep our
                    # place.
                    place = waiters.index(waiter)
                    waiter = waiters[place] = self._loop.create_future()
            except BaseException:
                self._leave(waiter)
                if not self._loop.is_closed():  # then no task will run again
                    self._wake()  # pass on a turn that came with the cancellation
                raise
            self._leave(waiter)
            if waiters:
                self._loop.call_soon(self._wake)  # once the caller has taken its share
        if self.detour:
            self._look_after()

    def turn_nowait(self) -> None:
        """Like :meth:`turn`, but raise BlockingIOError instead of waiting."""
        if self.detour & CHECKED:
            self.check_loop(waits=False)
        if not (self.items or self.detour & ~CHECKED):
            self.inbox.put(self._transport.poll(self.inbox.room()))
        if self._waiters and not self._has_ended():
            raise BlockingIOError("other tasks are waiting for the next datagram")
        if not (self.items or self.detour & _DECIDED):
            raise BlockingIOError("no datagram is available")
        if self.detour:
            self._look_after()

    def resume_if_empty(self) -> None:
        """Resume reading once the inbox is empty.

        Pausing and resuming cost more than receiving a datagram, so they happen only
        once per full inbox.
        """
        if self.detour & PAUSED and not self.items:
            self.detour = self.detour & ~PAUSED or False
            self._transport.resume_reading()

    def check_loop(self, *, waits: bool = True) -> None:
        """In debug mode, refuse a call from another thread or event loop.

        Raises:
            RuntimeError: As :func:`check_loop`.
        """
        if self.detour & CHECKED:
            check_loop(self._loop, self._transport, waits=waits)

    def _look_after(self) -> None:
        """Handle the reasons in ``detour`` before the caller takes an item."""
        if self._has_ended():
            raise EndpointClosedError
        if self.detour & ERROR:
            error, self._error = self._error, None
            self.detour = self.detour & ~ERROR or False
            assert error is not None
            raise error
        if self.detour & BATCHED:
            self._take_apart()
        if self.detour & PAUSED and len(self.items) == 1:  # the caller takes it
            self.detour = self.detour & ~PAUSED or False
            self._transport.resume_reading()

    def _take_apart(self) -> None:
        """Make datagrams of the batch in the queue: somebody wants them singly."""
        self.detour = self.detour & ~BATCHED or False
        self.read_elsewhere = None
        batch: Any = self.items.popleft()
        self.items.extendleft(reversed(batch._cut(0)))

    def put_back(self, datagrams: list[Received]) -> None:
        """Return to the head of the queue what a receiver won't take after all."""
        self.items.extendleft(reversed(datagrams))
        self._wake()

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self.detour = self.detour & ~WAITING or False

    def _has_ended(self) -> bool:
        if self.detour & CLOSED:
            return True
        return bool(self.detour & DRAINED and not (self.items or self.detour & ERROR))

    def _wake(self) -> None:
        """Give a turn to as many waiting tasks as there are items and errors.

        If the endpoint has ended, wake all of them.
        """
        waiters = self._waiters
        available = len(self.items) + (self._error is not None)
        if self._has_ended():
            available = len(waiters)
        for waiter in islice(waiters, available):
            if not waiter.done():
                waiter.set_result(None)
