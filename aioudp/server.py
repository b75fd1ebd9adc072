"""A server: a function that is called with each datagram and returns the reply.

What it does with the datagrams is in ``_serving``; here are the arguments, the handle
that a program holds, and how it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import threading
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Unpack, get_args

from ._endpoint.closing import ClosedAtTheEnd
from ._endpoint.dropin import is_drop_in
from ._endpoint.endpoint import Endpoint
from ._endpoint.opening import LocalAddress, Opening, bind
from ._endpoint.options import Options
from ._serving.amplification import Budgets
from ._serving.buckets import Buckets, peer_of
from ._serving.failures import logger
from ._serving.service import Accept, Handler, Service
from ._serving.tasks import Tasks, WhenBusy
from ._system.addresses import check_number, host_and_port, is_path
from ._types import Address, Counts, Stats
from .signals import until_signal

_DRAIN: Final = 10.0
"""Seconds that a signal leaves for what is in hand: as ``run_workers`` does."""

_PATIENCE: Final = 1.0
"""Seconds that closing leaves to handlers that were cancelled."""

_LARGEST_FACTOR: Final = 3.0  # RFC 9000 section 8.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats(Counts):
    """Counters of a server since it was opened, in datagrams."""

    requests: int = 0
    """Datagrams that went to the handler, or found no place for it."""

    replies: int = 0
    """Replies that were sent."""

    rejected: int = 0
    """Datagrams that ``accept`` refused."""

    duplicates: int = 0
    """Requests that ``dedupe`` recognized, and answered with what it had."""

    dropped_busy: int = 0
    """Requests that found all places taken, with ``"drop-newest"``, or were pushed out
    of the line by newer ones, with ``"drop-oldest"``."""

    aborted: int = 0
    """Handlers that were cancelled: to make room, or at the end."""

    failed: int = 0
    """Datagrams for which the handler, ``accept`` or ``dedupe`` raised an exception, or
    the handler returned what is no reply."""

    clamped: int = 0
    """Replies that ``amplification`` cut short, or left out."""

    unsent: int = 0
    """Replies that could not be sent."""

    endpoint: Stats = field(default_factory=Stats)
    """The counters of the server's endpoint."""


class Network(Protocol):
    """Where a server opens its endpoint: :func:`aioudp.bind`, or a simulation's."""

    def bind(
        self, local_addr: LocalAddress = ..., **options: Unpack[Options]
    ) -> Opening[Endpoint]: ...


class _Kernel:
    """The network that there is."""

    bind = staticmethod(bind)


def serve(
    handler: Handler,
    local_addr: LocalAddress,
    *,
    concurrency: int = 100,
    when_busy: WhenBusy = "drop-newest",
    accept: Accept | None = None,
    dedupe: Callable[[bytes], Hashable] | None = None,
    amplification: float | None = None,
    **options: Unpack[Options],
) -> Opening[Server]:
    """Open a server, which answers each datagram with what *handler* returns.

    ::

        async with aioudp.serve(lambda data, addr: data.upper(), ("", 9999)) as server:
            await server.serve_forever()

    It serves from the moment it's open. A reply leaves from the address that the
    request was sent to, also if the server is bound to every address.

    Args:
        handler: Called with ``data, addr``; with the ``packet_info`` option with a
            :class:`~aioudp.Message`. It returns the reply, an iterable of several (at
            most 1024), or ``None``. A coroutine function runs as a task.
        local_addr: Where to listen, as in :func:`aioudp.bind`.
        concurrency: How many tasks of an asynchronous handler run at once.
        when_busy: What happens to a datagram that finds all of them running:
            ``"drop-newest"`` drops it; ``"drop-oldest"`` cancels the oldest task, and
            starts the new one when that has ended; ``"wait"`` stops reading, so that
            datagrams wait in the queue and then in the kernel, which drops what
            exceeds its buffer. Every drop is counted.
        accept: Called with ``data, addr`` before anything else is done. The datagram
            is dropped if the result is false. :class:`aioudp.RateLimit` is one.
        dedupe: Returns the id in a request's payload, such as the message ID of CoAP.
            A request that comes again from the same address with the same id gets the
            same replies, and the handler isn't called again. Requests are remembered
            for 247 seconds (:rfc:`7252`), at most 65,536 of them, and 16 MiB of
            replies; the oldest make room. One whose handler failed is forgotten.
        amplification: Send an address at most so many times the bytes that came from
            it, at most 3.0 (:rfc:`9000` section 8.1), until :meth:`Server.validate` is
            called for it. A reply that's too long is cut short.
        options: See :class:`aioudp.Options`.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an argument is of a wrong type, or an option is unknown.
        ValueError: If a number or an option is out of range.
    """
    return serving_on(
        _Kernel,
        handler,
        local_addr,
        concurrency=concurrency,
        when_busy=when_busy,
        accept=accept,
        dedupe=dedupe,
        amplification=amplification,
        options=options,
    )


def serving_on(
    network: Network,
    handler: Handler,
    local_addr: LocalAddress,
    *,
    concurrency: int,
    when_busy: WhenBusy,
    accept: Accept | None,
    dedupe: Callable[[bytes], Hashable] | None,
    amplification: float | None,
    options: Options,
) -> Opening[Server]:
    """Do as :func:`serve`, on *network*."""
    for name, function in (("accept", accept), ("dedupe", dedupe)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be callable, got {function!r}")
    if not callable(handler):
        raise TypeError(f"handler must be callable, got {handler!r}")
    check_number("concurrency", concurrency, 1, 2**31 - 1)
    if when_busy not in get_args(WhenBusy):
        listed = ", ".join(map(repr, get_args(WhenBusy)))
        raise ValueError(f"when_busy must be one of {listed}; got {when_busy!r}")
    if amplification is not None:
        _check_positive("amplification", amplification)
        if amplification > _LARGEST_FACTOR:
            raise ValueError(
                f"amplification must be at most {_LARGEST_FACTOR}, got {amplification}"
            )
    packet_info = options.get("packet_info", False)
    messages = packet_info or _is_every_address(local_addr)
    asked: Options = {**options, "packet_info": True} if messages else options
    binding = network.bind(local_addr, **asked)

    async def open_() -> Server:
        endpoint = await binding
        return Server(
            Service(
                endpoint,
                handler,
                asynchronous=_is_asynchronous(handler),
                messages=messages,
                packet_info=packet_info,
                tasks=Tasks(concurrency, when_busy),
                accept=accept,
                dedupe=dedupe,
                budgets=None if amplification is None else Budgets(amplification),
            )
        )

    return Opening(open_)


def _is_every_address(local_addr: LocalAddress) -> bool:
    if is_path(local_addr):
        return False
    return host_and_port(local_addr)[0] in ("", "::", "0.0.0.0")


def _is_asynchronous(handler: Any) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__)))


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


class RateLimit:
    """Limits how often each peer is served: a filter for ``serve(accept=...)``.

    ::

        aioudp.serve(handler, addr, accept=aioudp.RateLimit(per_peer=10, burst=20))

    A peer is a host, whatever its port; of IPv6, a network of 64 bits, except on the
    local link. Senders can be forged, so this protects against those who are careless,
    and limits what a server sends to a victim.

    Args:
        per_peer: Datagrams a second, in the long run.
        burst: Datagrams at once, after a pause. Default: *per_peer*, at least 1.
        peers: How many peers to remember. The one that hasn't come for the longest time
            makes room, and is then served as if it came for the first time.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If a number is out of range.
    """

    __slots__ = ("_buckets",)

    def __init__(
        self, per_peer: float, burst: float | None = None, peers: int = 65_536
    ) -> None:
        _check_positive("per_peer", per_peer)
        if burst is None:
            burst = max(per_peer, 1)
        _check_positive("burst", burst)
        if burst < 1:
            raise ValueError(f"burst must be at least 1, got {burst}")
        check_number("peers", peers, 1, 2**31 - 1)
        self._buckets = Buckets(per_peer, burst, peers)

    def __call__(self, data: bytes, addr: Address) -> bool:
        """Say whether the peer at *addr* may be served now, and count that it was."""
        now = asyncio.get_running_loop().time()
        return self._buckets.take(peer_of(addr), now)

    def __len__(self) -> int:
        """Return how many peers are remembered."""
        return len(self._buckets)


class Server(ClosedAtTheEnd):
    """Answers datagrams. Made by :func:`aioudp.serve`.

    ``async with`` closes it at the end, at once; :meth:`drain` first finishes what it
    has in hand. It belongs to the event loop in which it was opened.
    """

    __slots__ = ("__weakref__", "_ended", "_service", "_task")

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended = ended = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(service.run())
        # Whatever ends it; a callback of the task must not keep the server alive.
        self._task.add_done_callback(lambda _: ended.set())

    # -- running

    async def serve_forever(self) -> None:
        """Return when the server has ended, and close it.

        In the main thread under :func:`aioudp.run`, SIGTERM and SIGINT drain the server
        for at most 10 seconds; a second signal ends the program at once. Cancelling it
        closes the server.

        Raises:
            BaseException: What ended the server, if it wasn't closed.
        """
        loop = asyncio.get_running_loop()
        main = threading.current_thread() is threading.main_thread()
        draining: list[asyncio.Task[bool]] = []

        def drain() -> None:
            draining.append(loop.create_task(self.drain(_DRAIN)))

        try:
            async with contextlib.AsyncExitStack() as stack:
                if main and is_drop_in(loop):
                    await stack.enter_async_context(until_signal(call=drain))
                await self._ended.wait()
                if draining:
                    await asyncio.wait(draining)
        finally:
            await self.aclose()
        if not self._task.cancelled():
            self._task.result()

    def validate(self, addr: Address) -> None:
        """Lift the limit of ``amplification`` for an address that has proved itself.

        That's the case once it has sent back what only the receiver of an earlier reply
        can know. The 65,536 addresses that were heard last are remembered.

        Raises:
            ValueError: If the server was opened without ``amplification``.
        """
        if self._service.budgets is None:
            raise ValueError("there is no limit: serve with amplification=3.0")
        self._service.budgets.validate(addr)

    # -- ending

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Finish what is in hand, then close the server.

        Nothing new is read, but everything that the kernel holds now is still handled
        and answered. Cancelling it closes the server at once. A handler may call it:
        its own task isn't waited for, and is cancelled at the end.

        Args:
            timeout: Seconds; handlers that still run then are cancelled. ``None`` sets
                no limit.

        Returns:
            Whether everything was finished.
        """
        self._service.endpoint.drain()
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await asyncio.wait([self._task])
                await self._service.tasks.finish()
        except TimeoutError:
            return False
        finally:
            await self.aclose()
        return True

    def close(self) -> None:
        """Close the server at once. Idempotent.

        Its handlers are cancelled, and datagrams that weren't handled are discarded.
        """
        self._service.endpoint.close()
        self._service.tasks.cancel()
        self._task.cancel()
        self._ended.set()

    async def aclose(self) -> None:
        """Close the server, and return when its port can be bound again. Idempotent.

        It waits for handlers that were cancelled to end, for at most a second.
        Cancelling it doesn't undo the closing.
        """
        self.close()
        await self._service.endpoint.aclose()
        await asyncio.wait([self._task])
        if late := await self._service.tasks.wait_cancelled(_PATIENCE):
            logger.warning("%d handlers of a closed server ignore their end", late)

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self.closed
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if forgotten:
            _warn(f"unclosed server {self!r}", ResourceWarning, source=self)
            self._service.endpoint.close()

    # -- looking

    def stats(self) -> ServerStats:
        """Return the counters; also after the server was closed."""
        service = self._service
        return ServerStats(
            requests=service.requests,
            replies=service.replies,
            rejected=service.rejected,
            duplicates=service.duplicates,
            dropped_busy=service.tasks.dropped,
            aborted=service.tasks.aborted,
            failed=service.failures.count,
            clamped=service.clamped,
            unsent=service.unsent,
            endpoint=service.endpoint.stats(),
        )

    @property
    def in_hand(self) -> int:
        """How many datagrams asynchronous handlers have in hand."""
        return len(self._service.tasks)

    @property
    def local_addr(self) -> Address:
        """The address the server is bound to; also after it was closed."""
        return self._service.endpoint.local_addr

    @property
    def closed(self) -> bool:
        """Whether the server was closed."""
        return self._service.endpoint.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        return f"<Server {state}>"
