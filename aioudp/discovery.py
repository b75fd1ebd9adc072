"""Discovery: ask everybody on the local networks, and collect who answers.

The one who asks has a port alone: of programs that share one, only one would get the
answer. So this opens an ordinary endpoint, and lends it to what knows how to send out
of every interface. To ask a group one need not be in it.

There is no task in the background. Asking again and waiting for answers both happen
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
from ._endpoint.endpoint import Endpoint
from ._endpoint.fanout import FanoutEndpoint, SendOutcome
from ._endpoint.opening import bind
from ._errors import EndpointClosedError, with_context
from ._system import groups
from ._system.addresses import check_number
from ._system.group_address import GroupAddress, Interfaces, Target, parse_group
from ._system.interfaces import choose
from ._types import Datagram, Payload
from .broadcast import BroadcastEndpoint, check_interfaces
from .multicast import MulticastEndpoint

_Send: TypeAlias = Callable[[bytes], Coroutine[Any, Any, list[SendOutcome]]]
_Opened: TypeAlias = tuple[FanoutEndpoint, _Send]

_MAX_KNOWN: Final = 65_536
"""Replies to remember, so that a forger of senders cannot fill the memory. A guess."""

_MAX_REST: Final = 1024
"""Replies to take at the deadline: as many as the queue of an endpoint holds."""


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
    """Ask on every interface, and iterate over the distinct replies.

    ::

        async for data, addr in aioudp.discover(b"who is there?", 9999, timeout=2):
            ...

    Nothing happens until the iteration begins. What comes back is whatever anybody
    sends to the port that the question left from: check that it is an answer.

    Args:
        data: The question.
        port: Where those who are to answer listen.
        timeout: Seconds from the first question to the end.
        repeat: How often to ask, because datagrams get lost. The questions are spread
            evenly: the first at once, the last while there is time to answer it.
        interfaces: Where to ask: names, indexes or local addresses. Default: as for
            :func:`aioudp.open_broadcast`, or with *group* for
            :func:`aioudp.open_multicast`.
        group: Ask this multicast group, within one link. Default: broadcast.
        key: What makes a reply distinct; default: its sender's address. Called with
            each reply. Of replies with equal keys, the first is handed over.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If a number is out of range, *interfaces* is empty, or *group* is
            no multicast address.
    """
    question = bytes(memoryview(data))
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
        raise ValueError("interfaces is empty: there is nowhere to ask")
    if group is None:
        open_ = partial(_open_broadcast, port, wanted)
    else:
        open_ = partial(_open_group, port, parse_group(group, wanted, None))
    return Discovery(open_, question, timeout=timeout, repeat=repeat, key=key)


class Discovery(ClosedAtTheEnd):
    """A search, and an asynchronous iterator. Made by :func:`aioudp.discover`.

    For one task. It ends at the deadline, also while nobody waits: then what has
    arrived by the next call is still handed over. While the body of the loop is busy,
    nothing is asked again.

    Leaving the loop, by ``break`` or by an exception, closes the socket; so does
    cancelling a call, which ends the search. To be sure of it wherever objects are
    not freed at once (PyPy, or when something else still refers to this one), use
    ``async with`` or :meth:`aclose`.
    """

    __slots__ = (
        "_deadline",
        "_endpoint",
        "_interval",
        "_key",
        "_known",
        "_open",
        "_question",
        "_repeat",
        "_rest",
        "_send",
        "_started",
        "_timeout",
        "_times",
        "outcomes",
    )

    def __init__(
        self,
        open_: Callable[[], Coroutine[Any, Any, _Opened]],
        question: bytes,
        *,
        timeout: float,
        repeat: int,
        key: Callable[[Datagram], Hashable] | None,
    ) -> None:
        self._open = open_
        self._question = question
        self._timeout = timeout
        self._repeat = repeat
        self._key = key
        self._started = False
        self._endpoint: FanoutEndpoint | None = None
        self._send: _Send | None = None
        self._deadline = 0.0
        self._interval = timeout / repeat
        self._times = 0  # how many questions have been due
        self._known: dict[Hashable, None] = {}
        self._rest: deque[Datagram] = deque()
        self.outcomes: list[SendOutcome] = []
        """What became of the last question at each interface."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram:
        """Wait for the next reply that is not known yet.

        Raises:
            OSError: If the system refuses to open the socket, or, at the deadline, if
                no question left by any interface: the error of the first of them.
                ENODEV: an interface is not there.
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
            if now >= self._next_question():
                await self._ask(now)
                continue
            try:
                until = min(self._next_question(), self._deadline)
                async with asyncio.timeout_at(until):
                    return await endpoint.recv()
            except EndpointClosedError:
                break
            except OSError:
                # Not only the TimeoutError: what the network says of one question
                # must not end the search.
                continue
        return self._rest.popleft() if self._rest else None

    async def _start(self) -> None:
        self._started = True
        self._deadline = asyncio.get_running_loop().time() + self._timeout
        self._endpoint, self._send = await self._open()

    def _next_question(self) -> float:
        """Return when the next question is due; never after the last one."""
        if self._times == self._repeat:
            return math.inf
        start = self._deadline - self._timeout
        return start + self._times * self._interval

    async def _ask(self, now: float) -> None:
        assert self._send is not None  # it came with the endpoint
        while self._next_question() <= now:  # those that were missed are one
            self._times += 1
        try:
            async with asyncio.timeout_at(self._deadline):
                self.outcomes = await self._send(self._question)
        except (TimeoutError, EndpointClosedError):
            pass

    def _finish(self, endpoint: FanoutEndpoint) -> None:
        """Take what has arrived, and end the search.

        Raises:
            OSError: If nobody was asked.
        """
        for _ in range(_MAX_REST):
            try:
                self._rest.append(endpoint.recv_nowait())
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
                doing = f"asking {outcome.addr!r} by interface {outcome.interface}"
                return with_context(outcome.error, doing)
        reason = os.strerror(errno.ENETUNREACH)
        return OSError(errno.ENETUNREACH, f"{reason} (no interface took the question)")

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
        self._rest.clear()
        if endpoint is not None:
            await endpoint.aclose()

    def __del__(self) -> None:
        try:
            self._close()
        except AttributeError:  # __init__ did not get far enough to own anything
            return

    def __repr__(self) -> str:
        state = "not begun"
        if self._started:
            state = "ended" if self._endpoint is None else "under way"
        return f"<Discovery {state}>"


class _GroupAsker(MulticastEndpoint):
    """Sends to a group that it is not in, and to the port of those who are."""

    __slots__ = ()

    def __init__(self, endpoint: Endpoint, target: Target, port: int) -> None:
        super().__init__(endpoint, target)
        self._port = port


async def _open_broadcast(port: int, interfaces: Interfaces) -> _Opened:
    if interfaces is not None:
        choose(interfaces)
    endpoint = await bind(("0.0.0.0", 0), broadcast=True)
    try:
        asker = BroadcastEndpoint(endpoint, interfaces)
    except BaseException:
        endpoint.close()
        raise
    return asker, lambda data: asker.send(data, port)


async def _open_group(port: int, target: Target) -> _Opened:
    if target.interfaces is not None:
        choose(target.interfaces)
    endpoint = await bind(("", 0), family=target.family)
    try:
        groups.set_up(endpoint.get_extra_info("socket"), ttl=1, loop=True)
        asker = _GroupAsker(endpoint, target, port)
    except BaseException:
        endpoint.close()
        raise
    return asker, asker.send
