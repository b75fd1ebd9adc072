"""One source port of a client: its requests in flight, and incoming datagrams.

It's a protocol on the transport of an endpoint: an answer wakes the task that sent the
request directly, without another task in between. All requests share one timer, set for
the one that is due first. Only the task that makes a request sends it, so that a send
waits, fails or is cancelled in the call it belongs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from .._endpoint.endpoint import Endpoint
from .._endpoint.mailbox import Mailbox
from .._errors import EndpointClosedError, TruncatedError, with_context
from .._types import Address, Datagram, NetworkError
from .table import Entry, Table

_EARLY: Final = 1024  # maximum datagrams in the queue of a newly opened endpoint

Key: TypeAlias = Callable[[bytes], Hashable]


class Tally:
    """The counters of a client. Its ports share them."""

    __slots__ = (
        "answered",
        "cancelled",
        "malformed",
        "refused",
        "requests",
        "retransmitted",
        "round_trip_time",
        "round_trips",
        "strangers",
        "timed_out",
        "unmatched",
    )

    def __init__(self) -> None:
        self.requests = self.answered = self.timed_out = 0
        self.refused = self.cancelled = self.retransmitted = 0
        self.malformed = self.unmatched = self.strangers = 0
        self.round_trips, self.round_trip_time = 0, 0.0

    def ignored(self) -> int:
        """Return the number of datagrams that answered no request."""
        return self.malformed + self.unmatched + self.strangers


class Waiting:
    """A task that waits for an answer, or for the time to repeat its request."""

    __slots__ = ("answer", "error", "woken")

    def __init__(self) -> None:
        self.answer: Datagram[Any] | None = None
        self.error: Exception | None = None
        self.woken: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


class Port(asyncio.DatagramProtocol):
    """An endpoint that sends requests, and the protocol that receives the answers."""

    __slots__ = (
        "_due",
        "_key",
        "_loop",
        "_retired",
        "_table",
        "_tally",
        "_timer",
        "_unsolicited",
        "endpoint",
        "prepare",
        "try_send",
        "uses",
    )

    def __init__(
        self,
        endpoint: Endpoint[Any],
        *,
        key: Key | None,
        tally: Tally,
        unsolicited: Mailbox[Datagram[Any]],
    ) -> None:
        self.endpoint = endpoint
        self.try_send: Callable[[bytes, Address | None], None]
        """Sends now, or raises BlockingIOError."""
        self.try_send = endpoint.transport.try_send
        self.prepare = endpoint.transport.prepare
        self.uses: int = 0
        """The number of requests sent from here."""
        self._key = key
        self._tally = tally
        self._unsolicited = unsolicited
        self._loop = asyncio.get_running_loop()
        self._table: Table[Waiting] = Table()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._retired = False
        endpoint.transport.set_protocol(self)
        for _ in range(_EARLY):  # earlier datagrams are in the endpoint's queue
            try:
                self._take(endpoint.recv_nowait())
            except (OSError, TruncatedError):
                break

    # -- what a request calls

    def begin(self, peer: Address, id: Hashable) -> Entry[Waiting]:
        """Add a request."""
        self.uses += 1
        return self._table.add(peer, id, Waiting())

    def wait(self, request: Entry[Waiting], due: float) -> asyncio.Future[None] | None:
        """Return a future that is done when the request is answered, has failed, or is
        due; ``None`` if it isn't pending any more.
        """
        if not request.pending:
            return None  # it happened while the send waited for room
        woken = request.item.woken = self._loop.create_future()
        self._table.schedule(request, due)
        if self._timer is None or due < self._due:
            self._set_timer(due)
        return woken

    async def send_by(self, due: float, data: bytes, peer: Address | None) -> None:
        """Send when there's room, or give up at *due*.

        Raises:
            OSError: If the system refuses the datagram.
        """
        limit = asyncio.timeout_at(due)
        try:
            async with limit:
                await self.endpoint.send(data, peer)
        except TimeoutError:
            if not limit.expired():
                raise

    def end(self, request: Entry[Waiting]) -> None:
        """Remove a request."""
        if request.pending:
            self._table.remove(request)
        if self._retired and not self._table:
            self.close()

    # -- ending

    def retire(self) -> None:
        """Close as soon as no request is in flight; accept no new ones."""
        self._retired = True
        if not self._table:
            self.close()

    def close(self) -> None:
        """Close the endpoint; every pending request raises EndpointClosedError."""
        self.endpoint.close()
        self.connection_lost(None)

    async def aclose(self) -> None:
        """Close, and return when the port can be bound again."""
        self.close()
        await self.endpoint.aclose()

    # -- what the transport calls

    def datagrams_received(self, datagrams: list[Any]) -> None:
        for datagram in datagrams:
            if type(datagram) is not Datagram:
                if datagram.truncated:
                    self._tally.malformed += 1
                    continue
                datagram = Datagram(datagram.data, datagram.addr)
            self._take(datagram)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):  # only on connected sockets
            for request in [*self._table]:
                self._refuse(request, exc)

    def network_error_received(self, error: NetworkError) -> None:
        if isinstance(error.error, ConnectionRefusedError):
            for request in [*(self._table.asked(error.addr) or {}).values()]:
                self._refuse(request, error.error)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._loop.is_closed():  # who waits will never run again
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for request in [*self._table]:
            self._fail(request, EndpointClosedError())

    def _take(self, datagram: Datagram) -> None:
        asked = self._table.asked(datagram.addr)
        if asked is None:
            self._tally.strangers += 1
            self._unsolicited.put(datagram)
            return
        try:
            id = None if self._key is None else self._key(datagram.data)
            request = asked.get(id)
        except (Exception, asyncio.CancelledError):  # a parser may raise anything
            self._tally.malformed += 1
            return
        if request is None:
            self._tally.unmatched += 1
            self._unsolicited.put(datagram)
            return
        request.item.answer = datagram
        self._table.remove(request)
        request.item.wake()

    def _refuse(self, request: Entry[Waiting], error: OSError) -> None:
        self._fail(request, with_context(error, f"request to {request.peer!r}"))

    def _fail(self, request: Entry[Waiting], error: Exception) -> None:
        request.item.error = error
        self._table.remove(request)
        request.item.wake()

    # -- the timer

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due  # a uvloop handle can't return it once the time has come
        self._timer = self._loop.call_at(due, self._wake_due)

    def _wake_due(self) -> None:
        self._timer = None
        for request in self._table.due(self._loop.time()):
            request.item.wake()
        # The timer keeps running when a request is answered: setting it again each time
        # would cost more than an unnecessary wake-up.
        if (due := self._table.next_due()) is not None:
            self._set_timer(due)
