"""The work of a server: receive batches, call handlers, send replies.

A synchronous handler is called directly for each datagram of a batch, and its replies
are sent together; an asynchronous one runs in a task per datagram. If a function of the
user raises an exception, only the datagram at hand is affected.

All state is bounded: datagrams wait in the endpoint's queue or in the kernel, the
number of tasks is limited, and tables forget the oldest peers. While there's no room to
send, nothing is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
)
from inspect import isawaitable
from operator import length_hint
from typing import Any, Final, TypeAlias

from .._endpoint.endpoint import Endpoint, drop_at_close, recv_at_once
from .._endpoint.message_endpoint import MessageEndpoint
from .._errors import EndpointClosedError, SendManyError, TruncatedError
from .._system.implementation import answer_each
from .._system.send_options import SendOptions
from .._types import Address, Datagram, Message, Payload
from .amplification import Budgets
from .dedupe import Recent, Request
from .failures import Failures
from .tasks import Tasks

MAX_REPLIES: Final = 1024
"""Maximum replies to one datagram, as a guard against endless handlers and abuse."""

_CHUNK: Final = 1024  # replies per send_many, which checks this many before it sends

_IN_CACHE: Final = 128 * 1024
"""Bytes to read at once. Each datagram is looked at four more times before it's sent
back. A batch that exceeds the cache of a core, with the kernel's copies of it, costs a
wait for memory each time: with 1.5 MiB, an echo of 512 bytes takes 40 % longer."""

_OBJECTS: Final = 200  # bytes of memory of a received datagram, besides its payload
_MOST: Final = 512  # datagrams to read at once
_POLLS: Final = 2  # how many times to read between two iterations of the event loop

_FAILURE: Final = (Exception, asyncio.CancelledError)
"""What a function of the user may raise without ending the server. Nobody cancels a
function that awaits nothing, so a CancelledError comes from a future that it looked at.
"""

Reply: TypeAlias = Payload | Iterable[Payload] | None
Handler: TypeAlias = Callable[..., Reply | Awaitable[Reply]]
Accept: TypeAlias = Callable[[bytes, Any], object]
_Outgoing: TypeAlias = tuple[bytes, Address, SendOptions | None]


class Service:
    """Runs a server until its endpoint is drained or closed."""

    def __init__(
        self,
        endpoint: Endpoint[Any],
        handler: Handler,
        *,
        asynchronous: bool,
        messages: bool,
        packet_info: bool,
        tasks: Tasks,
        accept: Accept | None,
        dedupe: Callable[[bytes], Hashable] | None,
        budgets: Budgets | None,
    ) -> None:
        self.endpoint = endpoint
        self.tasks = tasks
        self.budgets = budgets
        self.recent: Recent | None = None if dedupe is None else Recent()
        self.failures: Failures = Failures()
        self.requests: int = 0
        self.replies: int = 0
        self.rejected: int = 0
        self.duplicates: int = 0
        self.clamped: int = 0
        self.unsent: int = 0
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._asynchronous = asynchronous
        self._messages = messages
        self._packet_info = packet_info
        self._accept = accept
        self._dedupe = dedupe
        # Without packet_info, a handler can't see that a datagram was cut short.
        self._drops_truncated = (
            isinstance(endpoint, MessageEndpoint) and not packet_info
        )
        self._left: Iterator[Any] = iter(())  # of the batch at hand
        checks = (accept, dedupe, budgets)  # compared with None: empty tables are falsy
        self._plain = not messages and not asynchronous and checks == (None,) * 3

    # -- receiving

    async def run(self) -> None:
        """Serve until the endpoint is closed, or drained and empty."""
        handle = self._handle_plainly if self._plain else self._handle_each
        wanted, polls = _MOST, _POLLS
        while True:
            try:
                batch = await recv_at_once(self.endpoint, wanted, poll=polls < _POLLS)
            except EndpointClosedError:
                await self.tasks.finish()  # drained; if it was closed, they are none
                return
            except (OSError, TruncatedError):
                continue  # the endpoint counts them
            # While full batches come, only every third one waits for the event loop.
            polls = polls + 1 if len(batch) >= wanted and polls < _POLLS else 0
            wanted = min(_IN_CACHE // (_OBJECTS + len(batch[-1].data)) + 1, _MOST)
            if self._drops_truncated:  # the endpoint counts them
                batch = [one for one in batch if len(one) == 2 or not one.truncated]
            if batch:
                await handle(batch)

    def stop(self) -> None:
        """Close the endpoint, and call the handler with nothing more."""
        left = len(list(self._left))
        if self._plain:
            self.requests -= left
        drop_at_close(self.endpoint, left)
        self.endpoint.close()

    async def _handle_plainly(self, batch: list[Datagram]) -> None:
        """Like :meth:`_handle_each`, for servers without any options."""
        replies: list[_Outgoing | tuple[bytes, Address]] = []
        others: list[tuple[Datagram, Any]] = []
        self.requests += len(batch)
        left = self._left = iter(batch)
        while True:
            try:
                other = answer_each(self._handler, left, replies)
                if other is None:
                    break
                datagram, reply = other
                if isawaitable(reply):
                    others.append(other)
                else:
                    replies += [(each, datagram[1]) for each in replies_in(reply)]
                    if len(replies) >= _CHUNK:  # don't keep those of a whole batch
                        await self.send(replies)
                        replies = []
            except _FAILURE as exc:
                number = len(batch) - length_hint(left) - 1
                self.failures.note("the handler", exc, batch[number].addr)
        if replies:
            await self.send(replies)
        jobs = deque(_Job(self, datagram, None, reply) for datagram, reply in others)
        try:
            while jobs:
                await self.tasks.start(jobs.popleft())
        finally:
            for job in jobs:  # it was cancelled
                job.abandon()

    async def _handle_each(self, batch: list[Any]) -> None:
        left = self._left = iter(batch)
        try:
            await self._handle_one_by_one(left)
        finally:
            if unhandled := length_hint(left):  # closed, or cancelled, meanwhile
                drop_at_close(self.endpoint, unhandled)

    async def _handle_one_by_one(self, left: Iterator[Any]) -> None:
        replies: list[Any] = []
        for one in left:
            if len(replies) >= _CHUNK:  # don't keep those of a whole batch
                await self.send(replies)
                replies = []
            data, addr = one.data, one.addr
            if self.budgets is not None:
                self.budgets.receive(addr, len(data))
            if self._accept is not None and not self._accepts(data, addr):
                continue
            request = None
            if self._dedupe is not None:
                request = self._remember(one, replies)
                if request is None:
                    continue
            self.requests += 1
            job = None
            if self._asynchronous:
                job = _Job(self, one, request, None)
            else:
                try:
                    reply = self.call(one)
                    if isawaitable(reply):
                        job = _Job(self, one, request, reply)
                    else:
                        replies += self.done(one, request, replies_in(reply))
                except _FAILURE as exc:
                    self.fail(exc, addr, request)
            if job is not None:
                try:
                    if replies:  # these don't wait until there's a place
                        await self.send(replies)
                        replies = []
                except BaseException:
                    job.abandon()
                    raise
                await self.tasks.start(job)
        if replies:
            await self.send(replies)

    def _accepts(self, data: bytes, addr: Address) -> bool:
        assert self._accept is not None
        try:
            accepted = bool(self._accept(data, addr))
        except _FAILURE as exc:
            self.failures.note("the accept function", exc, addr)
            return False
        self.rejected += not accepted
        return accepted

    def _remember(self, one: Any, replies: list[Any]) -> Request | None:
        """Remember a new request; for a repeated one, add the stored replies."""
        assert self._dedupe is not None
        assert self.recent is not None
        try:
            key = one.addr, self._dedupe(one.data)
            known = self.recent.find(key, self._loop.time())
        except _FAILURE as exc:
            self.failures.note("the dedupe function", exc, one.addr)
            return None
        if known is None:
            return self.recent.begin(key, self._loop.time())
        self.duplicates += 1
        replies += self.outgoing(one, known.replies or ())
        return None

    # -- handling

    def call(self, one: Any) -> Any:
        """Call the handler with its arguments."""
        return self._handler(one) if self._packet_info else self._handler(*one[:2])

    def done(
        self, one: Any, request: Request | None, replies: tuple[bytes, ...]
    ) -> list[_Outgoing]:
        """Store the replies to a datagram, and return them with their destination."""
        if request is not None and self.recent is not None:
            self.recent.finish(request, replies)
        return self.outgoing(one, replies)

    def fail(self, exc: BaseException, addr: Address, request: Request | None) -> None:
        """Count a failure to handle a datagram."""
        self.failures.note("the handler", exc, addr)
        self.forget(request)

    def forget(self, request: Request | None) -> None:
        """Forget a request, so that it's handled if it comes again."""
        if request is not None and self.recent is not None:
            self.recent.forget(request)

    # -- sending

    def outgoing(self, one: Any, replies: tuple[bytes, ...]) -> list[_Outgoing]:
        """Address the replies to a datagram, and apply the amplification limit."""
        addr = one.addr
        options = _answering(one) if self._messages else None
        if self.budgets is None:
            return [(reply, addr, options) for reply in replies]
        allowed = []
        for reply in replies:
            granted = self.budgets.spend(addr, len(reply))
            self.clamped += granted < len(reply)
            if granted or not reply:
                allowed.append((reply[:granted], addr, options))
        return allowed

    async def send(self, replies: list[Any]) -> None:
        """Send replies, and count those that can't be sent."""
        chunks = [replies]
        if len(replies) > _CHUNK:
            starts = range(0, len(replies), _CHUNK)
            chunks = [replies[start : start + _CHUNK] for start in starts]
        for chunk in chunks:
            unsent = 0
            try:
                await self.endpoint.send_many(chunk)
            except SendManyError as exc:
                unsent = len(exc.errors)
            except EndpointClosedError:
                unsent = len(chunk)
            except ValueError:
                unsent = await self._send_singly(chunk)
            self.replies += len(chunk) - unsent
            self.unsent += unsent

    async def _send_singly(self, replies: list[Any]) -> int:
        """Send replies some of which have an invalid address, such as port 0.

        Returns:
            The number that couldn't be sent.
        """
        unsent = 0
        for reply in replies:
            try:
                await self.endpoint.send_many([reply])
            except (SendManyError, ValueError, EndpointClosedError):
                unsent += 1
        return unsent


class _Job:
    """One datagram for an asynchronous handler."""

    __slots__ = ("_awaitable", "_datagram", "_request", "_service")

    def __init__(
        self,
        service: Service,
        datagram: Any,
        request: Request | None,
        awaitable: Awaitable[Reply] | None,
    ) -> None:
        self._service = service
        self._datagram = datagram
        self._request = request
        self._awaitable = awaitable  # if the handler has already been called

    async def run(self) -> None:
        service, datagram = self._service, self._datagram
        awaitable, self._awaitable = self._awaitable, None
        try:
            if awaitable is None:
                awaitable = service.call(datagram)
            reply = await awaitable if isawaitable(awaitable) else awaitable
            replies = replies_in(reply)
        except _FAILURE as exc:
            if isinstance(exc, asyncio.CancelledError) and _is_cancelled():
                raise
            service.fail(exc, datagram.addr, self._request)
            return
        if outgoing := service.done(datagram, self._request, replies):
            await service.send(outgoing)

    def abandon(self) -> None:
        self._service.forget(self._request)
        if isinstance(self._awaitable, Coroutine):
            self._awaitable.close()  # it never started


def _is_cancelled() -> bool:
    """Return whether somebody cancelled the current task, rather than its handler."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def replies_in(reply: Any) -> tuple[bytes, ...]:
    """Return a handler's replies as a tuple.

    Raises:
        TypeError: If the result isn't valid.
        ValueError: If there are too many replies.
    """
    if reply is None:
        return ()
    if isinstance(reply, (bytes, bytearray, memoryview)):
        return (bytes(reply),)
    if isinstance(reply, str) or not isinstance(reply, Iterable):
        raise TypeError("a reply must be bytes, an iterable of bytes, or None")
    replies: list[bytes] = []
    for each in reply:
        if not isinstance(each, (bytes, bytearray, memoryview)):
            raise TypeError("each reply must be bytes")
        if len(replies) == MAX_REPLIES:
            raise ValueError(f"more than {MAX_REPLIES} replies to one datagram")
        replies.append(bytes(each))
    return tuple(replies)


def _answering(message: Message) -> SendOptions:
    """Return options to answer from the address and interface of a message."""
    local_addr = None if message.unicast is False else message.local_addr
    return SendOptions(local_addr=local_addr, interface=message.interface)
