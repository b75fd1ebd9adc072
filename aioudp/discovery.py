"""Discovery: send a request on the local networks, and collect the replies.

A search uses its own port, because only one of several programs that share a port gets
a reply. So this module opens an ordinary endpoint, and wraps it in a broadcast or
multicast endpoint to send on every interface. Sending to a group doesn't require
joining it.

There is no background task. Repeating the request and waiting for replies both happen
while the caller waits for the next reply, so nothing is left behind when it stops.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, Self, TypeAlias

from ._endpoint.closing import ClosedAtTheEnd
from ._endpoint.endpoint import Endpoint, end_forgotten
from ._endpoint.fanout import FanoutEndpoint, SendOutcome
from ._endpoint.opening import bind
from ._errors import EndpointClosedError, with_context
from ._system import groups
from ._system.addresses import check_number
from ._system.group_address import GroupAddress, Interfaces, Target, parse_group
from ._system.interfaces import choose
from ._system.machine import on_this_machine
from ._types import Datagram, Payload
from .broadcast import BroadcastEndpoint, check_interfaces
from .multicast import MulticastEndpoint

_Send: TypeAlias = Callable[[bytes], Coroutine[Any, Any, list[SendOutcome]]]
_Opened: TypeAlias = tuple[FanoutEndpoint, _Send]

_MAX_KNOWN: Final = 65_536
"""Replies to remember, so that forged senders can't fill the memory. A guess."""

_MAX_LATE: Final = 1024
"""Replies to take at the deadline: as many as an endpoint's queue holds."""


def discover(
    data: Payload,
    port: int,
    *,
    timeout: float,
    repeat: int = 3,
    interfaces: Interfaces = None,
    group: GroupAddress | None = None,
    key: Callable[[Datagram], Hashable] | None = None,
) -> Discovery:
    """Send a request on every interface, and iterate over the distinct replies.

    ::

        async for data, addr in aioudp.discover(b"who is there?", 9999, timeout=2):
            ...

    Nothing happens until the iteration starts. Anybody can send datagrams to the port
    that the request was sent from: check that each one is a reply.

    Args:
        data: The payload of the request.
        port: The port responders listen on.
        timeout: Seconds from the first request to the end of the search.
        repeat: How many times to send the request, because datagrams get lost. The
            requests are spread evenly: the first is sent at once, the last one early
            enough to be answered.
        interfaces: The interfaces to send on: names, indexes or local addresses.
            Default: as in :func:`aioudp.open_broadcast` or, with *group*,
            :func:`aioudp.open_multicast`.
        group: Send to this multicast group, within one link. Default: broadcast.
        key: A function that returns what makes a reply distinct; default: its sender's
            address. Called with each reply. Of replies with equal keys, only the first
            is returned.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of range, *interfaces* is empty, or *group*
            isn't a multicast address.
    """
    request = bytes(memoryview(data))
    check_number("port", port, 1, 0xFFFF)
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be positive and finite, got {timeout}")
    check_number("repeat", repeat, 1, 2**31 - 1)
    if key is not None and not callable(key):
        raise TypeError(f"key must be callable, got {key!r}")
    wanted = check_interfaces(interfaces)
    if wanted is not None and not wanted:
        raise ValueError("interfaces must not be empty")
    if group is None:
        open_ = partial(_open_broadcast, port, wanted)
    else:
        open_ = partial(_open_group, port, parse_group(group, wanted, None))
    return Discovery(open_, request, timeout=timeout, repeat=repeat, key=key)


class Discovery(ClosedAtTheEnd):
    """A search: an asynchronous iterator created by :func:`aioudp.discover`.

    Only one task may use it. The search ends at the deadline, even while no call
    waits; replies that have arrived by the next call are still returned. While the
    body of the loop runs, the request isn't repeated.

    Leaving the loop, with ``break`` or an exception, closes the socket; so does
    cancelling a call, which ends the search. Where objects aren't freed at once (on
    PyPy, or if something else still refers to this one), use ``async with`` or
    :meth:`aclose` to be sure.
    """

    __slots__ = (
        "_deadline",
        "_endpoint",
        "_interval",
        "_key",
        "_known",
        "_late",
        "_open",
        "_repeat",
        "_request",
        "_send",
        "_started",
        "_timeout",
        "_times",
        "outcomes",
    )

    def __init__(
        self,
        open_: Callable[[], Coroutine[Any, Any, _Opened]],
        request: bytes,
        *,
        timeout: float,
        repeat: int,
        key: Callable[[Datagram], Hashable] | None,
    ) -> None:
        self._open = on_this_machine(open_)
        self._request = request
        self._timeout = timeout
        self._repeat = repeat
        self._key = key
        self._started = False
        self._endpoint: FanoutEndpoint | None = None
        self._send: _Send | None = None
        self._deadline = 0.0
        self._interval = timeout / repeat
        self._times = 0  # number of requests that were due so far
        self._known: dict[Hashable, None] = {}
        self._late: deque[Datagram] = deque()  # taken at the deadline
        self.outcomes: list[SendOutcome] = []
        """The outcome of the last request on each interface."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram:
        """Wait for the next distinct reply.

        Raises:
            OSError: If the system refuses to open the socket, or, at the deadline, if
                no request could be sent on any interface: the error of the first one.
                ENODEV: an interface doesn't exist.
            StopAsyncIteration: At the deadline, or after :meth:`aclose`.
        """
        try:
            while (datagram := await self._next()) is not None:
                if self._is_new(datagram):
                    return datagram
        except BaseException:
            self._close()
            raise
        raise StopAsyncIteration

    async def _next(self) -> Datagram | None:
        """Return the next reply, or ``None`` if the search has ended."""
        if not self._started:
            await self._start()
        loop = asyncio.get_running_loop()
        while (endpoint := self._endpoint) is not None:
            now = loop.time()
            if now >= self._deadline:
                self._finish(endpoint)
                break
            if now >= self._next_request():
                await self._send_request(now)
                continue
            try:
                until = min(self._next_request(), self._deadline)
                async with asyncio.timeout_at(until):
                    return await endpoint.recv()
            except EndpointClosedError:
                break
            except OSError:
                # A TimeoutError, or an error that the network reports about one
                # request, which must not end the search.
                continue
        return self._late.popleft() if self._late else None

    async def _start(self) -> None:
        self._started = True
        self._endpoint, self._send = await self._open()
        await asyncio.sleep(0)  # uvloop's clock stands still during an iteration
        self._deadline = asyncio.get_running_loop().time() + self._timeout

    def _next_request(self) -> float:
        """Return when the next request is due; infinity after the last one."""
        if self._times == self._repeat:
            return math.inf
        start = self._deadline - self._timeout
        return start + self._times * self._interval

    async def _send_request(self, now: float) -> None:
        assert self._send is not None  # set with the endpoint
        while self._next_request() <= now:  # send one for all that were missed
            self._times += 1
        try:
            async with asyncio.timeout_at(self._deadline):
                self.outcomes = await self._send(self._request)
        except (TimeoutError, EndpointClosedError):
            pass

    def _finish(self, endpoint: FanoutEndpoint) -> None:
        """Take the replies that have arrived, and end the search.

        Raises:
            OSError: If no request was sent.
        """
        for _ in range(_MAX_LATE):
            try:
                self._late.append(endpoint.recv_nowait())
            except BlockingIOError:
                break
            except OSError:
                continue
        self._close()
        if not endpoint.stats().sent:
            raise self._failure()

    def _failure(self) -> OSError:
        for outcome in self.outcomes:
            if outcome.error is not None:
                doing = f"sending to {outcome.addr!r} on interface {outcome.interface}"
                return with_context(outcome.error, doing)
        reason = os.strerror(errno.ENETUNREACH)
        return OSError(errno.ENETUNREACH, f"{reason} (no interface sent the request)")

    def _is_new(self, datagram: Datagram) -> bool:
        key = datagram.addr if self._key is None else self._key(datagram)
        if key in self._known:
            return False
        if len(self._known) == _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = None
        return True

    # -- closing

    def _close(self) -> None:
        self._started = True
        endpoint, self._endpoint, self._send = self._endpoint, None, None
        if endpoint is not None:
            endpoint.close()

    async def aclose(self) -> None:
        """End the search, and close the socket. Idempotent."""
        endpoint = self._endpoint
        self._close()
        self._late.clear()
        if endpoint is not None:
            await endpoint.aclose()

    def __del__(self) -> None:
        try:
            endpoint = self._endpoint
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if endpoint is not None:
            end_forgotten(endpoint._endpoint)

    def __repr__(self) -> str:
        state = "not started"
        if self._started:
            state = "ended" if self._endpoint is None else "running"
        return f"<Discovery {state}>"


class _GroupSender(MulticastEndpoint):
    """Sends to a group without joining it, and to another port than its own."""

    __slots__ = ()

    def __init__(self, endpoint: Endpoint, target: Target, port: int) -> None:
        super().__init__(endpoint, target)
        self._port = port


async def _open_broadcast(port: int, interfaces: Interfaces) -> _Opened:
    if interfaces is not None:
        choose(interfaces)
    endpoint = await bind(("0.0.0.0", 0), broadcast=True)
    try:
        sender = BroadcastEndpoint(endpoint, interfaces)
    except BaseException:
        endpoint.close()
        raise
    return sender, lambda data: sender.send(data, port)


async def _open_group(port: int, target: Target) -> _Opened:
    if target.interfaces is not None:
        choose(target.interfaces)
    endpoint = await bind(("", 0), family=target.family)
    try:
        groups.set_up(endpoint.get_extra_info("socket"), ttl=1, loop=True)
        sender = _GroupSender(endpoint, target, port)
    except BaseException:
        endpoint.close()
        raise
    return sender, sender.send
