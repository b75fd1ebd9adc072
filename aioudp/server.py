"""A server: calls a function with each datagram, and sends the reply that it returns.

``_serving`` processes the datagrams; this file has the arguments, the user's handle,
and the end of a server.

The file is long because most of it is docstrings: the contract of ``serve`` and of the
public class.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Generic, Protocol, Unpack, cast, get_args, overload

from ._endpoint.callables import check_function, is_asynchronous
from ._endpoint.closing import ClosedAtTheEnd
from ._endpoint.dropin import is_drop_in
from ._endpoint.endpoint import Endpoint, end_forgotten
from ._endpoint.opening import IPLocal, LocalAddress, Opening, UnixPath, bind
from ._endpoint.options import Options, check_names
from ._serving.amplification import Budgets
from ._serving.buckets import Buckets, peer_of
from ._serving.failures import logger
from ._serving.service import Accept, Handler, Service
from ._serving.tasks import Tasks, WhenBusy
from ._system.addresses import check_number, host_and_port, is_path
from ._types import Address, AddressT_co, Counts, IPAddress, Stats, UnixAddress
from .signals import until_signal

_DRAIN: Final = 10.0
"""Seconds for finishing current work after a signal, as in ``run_workers``."""

_PATIENCE: Final = 1.0
"""Seconds that closing waits for cancelled handlers."""

_LARGEST_FACTOR: Final = 3.0  # RFC 9000 section 8.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats(Counts):
    """Counters of a server since it was opened, in datagrams."""

    requests: int = 0
    """Datagrams that were passed to the handler, or dropped because it was busy."""

    replies: int = 0
    """Replies that were sent."""

    rejected: int = 0
    """Datagrams that ``accept`` refused."""

    duplicates: int = 0
    """Repeated requests that ``dedupe`` recognized, and answered from its table."""

    dropped_busy: int = 0
    """Requests that were dropped because all tasks were running, with
    ``"drop-newest"``, or that newer requests replaced while they waited, with
    ``"drop-oldest"``."""

    aborted: int = 0
    """Handlers that were cancelled, to make room or at the end."""

    failed: int = 0
    """Datagrams for which the handler, ``accept`` or ``dedupe`` raised an exception, or
    the handler returned an invalid reply."""

    clamped: int = 0
    """Replies that ``amplification`` truncated or dropped."""

    unsent: int = 0
    """Replies that could not be sent."""

    endpoint: Stats = field(default_factory=Stats)
    """The counters of the server's endpoint."""


class Network(Protocol):
    """A network on which a server opens its endpoint: the real one, or a simulated
    one.
    """

    def bind(
        self, local_addr: LocalAddress = ..., **options: Unpack[Options]
    ) -> Opening[Endpoint[Any]]: ...


class _Kernel:
    """The real network."""

    bind: Callable[..., Opening[Endpoint[Any]]] = staticmethod(bind)


@overload
def serve(
    handler: Handler,
    local_addr: IPLocal | Endpoint,
    *,
    concurrency: int = 100,
    when_busy: WhenBusy = "drop-newest",
    accept: Callable[[bytes, IPAddress], object] | None = None,
    dedupe: Callable[[bytes], Hashable] | None = None,
    amplification: float | None = None,
    **options: Unpack[Options],
) -> Opening[Server]: ...
@overload
def serve(
    handler: Handler,
    local_addr: UnixPath | Endpoint[UnixAddress],
    *,
    concurrency: int = 100,
    when_busy: WhenBusy = "drop-newest",
    accept: Callable[[bytes, UnixAddress], object] | None = None,
    dedupe: Callable[[bytes], Hashable] | None = None,
    amplification: float | None = None,
    **options: Unpack[Options],
) -> Opening[Server[UnixAddress]]: ...
@overload
def serve(
    handler: Handler,
    local_addr: str,
    *,
    stream: str,
    group: str,
    concurrency: int = 100,
    accept: Callable[[bytes, IPAddress], object] | None = None,
    **options: Any,
) -> Opening[Any]: ...
def serve(
    handler: Handler,
    local_addr: Any,
    *,
    concurrency: int = 100,
    when_busy: WhenBusy = "drop-newest",
    accept: Accept | None = None,
    dedupe: Callable[[bytes], Hashable] | None = None,
    amplification: float | None = None,
    **options: Any,
) -> Opening[Any]:
    """Open a server, which answers each datagram with what *handler* returns.

    ::

        async with aioudp.serve(lambda data, addr: data.upper(), ("", 9999)) as server:
            await server.serve_forever()

    It serves as soon as it's open. A reply is sent from the address that the request
    was sent to, even if the server is bound to every address.

    Args:
        handler: A function that is called with ``data, addr`` or, with the option
            ``packet_info``, with a :class:`~aioudp.Message`. It returns the reply, an
            iterable of replies (at most 1024), or ``None``. A coroutine function runs
            in a task.
        local_addr: The address to listen on, as in :func:`aioudp.bind`. Or an open
            endpoint, which the server then owns, as in :func:`aioudp.run_workers`: it
            serves until the endpoint is drained or closed.
        concurrency: The maximum number of concurrent tasks of an asynchronous handler.
        when_busy: What to do with a datagram while all of these are running.
            ``"drop-newest"`` drops it. ``"drop-oldest"`` cancels the oldest task, and
            starts the new one when that has ended. ``"wait"`` stops reading, so that
            datagrams wait in the queue and then in the kernel, which drops those that
            exceed its buffer. Every drop is counted.
        accept: A function that is called first, with ``data, addr``. If the result is
            false, the datagram is dropped. :class:`aioudp.RateLimit` is such a
            function.
        dedupe: A function that returns the id in a request's payload, such as the
            message ID in CoAP. If a request comes again from the same address with the
            same id, the server sends the same replies without calling the handler.
            It remembers requests for 247 seconds (:rfc:`7252`), at most 65,536 of them,
            and 16 MiB of replies; then it forgets the oldest. It also forgets requests
            for which the handler failed.
        amplification: Send an address at most this many times the bytes received from
            it, at most 3.0 (:rfc:`9000` section 8.1), until :meth:`Server.validate` is
            called for it. A reply that is too long is truncated.
        options: See :class:`aioudp.Options`. A datagram longer than
            ``max_datagram_size`` reaches the handler only with ``packet_info``. With a
            URL, the options are those of :func:`aioudp.subscribe`: *stream* and *group*
            are required.

    With the URL of a NATS server instead of an address (``"nats://..."``), the same
    handler answers what fronts receive on other machines, see :func:`aioudp.forward`.
    The server has the same methods. Each datagram is handled at least once, and its
    replies leave from the front's socket.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an argument has the wrong type, or an option is unknown.
        ValueError: If a number or an option is out of range.
    """
    if isinstance(local_addr, str) and (scheme := local_addr.partition("://"))[1]:
        return _on_stream(
            scheme[0],
            handler,
            local_addr,
            concurrency=concurrency,
            accept=accept,
            unsupported={
                "dedupe": dedupe,
                "amplification": amplification,
                "when_busy": None if when_busy == "drop-newest" else when_busy,
            },
            options=options,
        )
    return serving_on(
        _Kernel,
        handler,
        local_addr,
        concurrency=concurrency,
        when_busy=when_busy,
        accept=accept,
        dedupe=dedupe,
        amplification=amplification,
        options=cast("Options", options),
    )


schemes: Final[dict[str, Callable[..., Opening[Any]]]] = {}
"""What else :func:`serve` can listen to, by the scheme of a URL."""


def _on_stream(
    scheme: str,
    handler: Handler,
    url: str,
    *,
    unsupported: dict[str, object],
    **arguments: Any,
) -> Opening[Any]:
    """Do as :func:`serve`, with what comes through a stream engine."""
    if scheme not in schemes:
        # It stands above this module, and adds its schemes when it's loaded.
        import_module(".forwarding", __package__)
    if scheme not in schemes:
        listed = ", ".join(f"{known}://" for known in sorted(schemes))
        raise ValueError(f"{url!r} is no address; of URLs, serve knows {listed}")
    given = sorted(name for name, value in unsupported.items() if value is not None)
    if given:
        raise ValueError(f"not supported with {scheme}://: {', '.join(given)}")
    if not callable(handler):
        raise TypeError(f"handler must be callable, got {handler!r}")
    check_number("concurrency", arguments["concurrency"], 1, 2**31 - 1)
    check_function("accept", arguments["accept"])
    return schemes[scheme](handler, url, **arguments)


def serving_on(
    network: Network,
    handler: Handler,
    local_addr: LocalAddress | Endpoint[Any],
    *,
    concurrency: int,
    when_busy: WhenBusy,
    accept: Accept | None,
    dedupe: Callable[[bytes], Hashable] | None,
    amplification: float | None,
    options: Options,
) -> Opening[Server[Any]]:
    """Like :func:`serve`, on *network*."""
    for name, function in (("accept", accept), ("dedupe", dedupe)):
        check_function(name, function)
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
    check_names(options, serve)
    if isinstance(local_addr, Endpoint):
        if options:
            raise ValueError(f"an open endpoint has decided: {', '.join(options)}")
        given = local_addr
        messages = packet_info = _has_messages(given)

        async def opening() -> Endpoint[Any]:
            return given
    else:
        packet_info = options.get("packet_info", False)
        messages = packet_info or _is_every_address(local_addr)
        asked: Options = {**options, "packet_info": True} if messages else options
        binding = network.bind(local_addr, **asked)

        async def opening() -> Endpoint[Any]:
            return await binding

    async def open_() -> Server[Any]:
        endpoint = await opening()
        return Server(
            Service(
                endpoint,
                handler,
                asynchronous=is_asynchronous(handler),
                messages=messages,
                packet_info=packet_info,
                tasks=Tasks(concurrency, when_busy),
                accept=accept,
                dedupe=dedupe,
                budgets=None if amplification is None else Budgets(amplification),
            )
        )

    return Opening(open_)


def _has_messages(endpoint: Endpoint[Any]) -> bool:
    try:
        endpoint.messages()
    except ValueError:  # opened without packet_info=True
        return False
    return True


def _is_every_address(local_addr: LocalAddress) -> bool:
    if is_path(local_addr):
        return False
    return host_and_port(local_addr)[0] in ("", "::", "0.0.0.0")


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


class RateLimit:
    """A limit on the requests of each peer, for ``serve(accept=...)``.

    ::

        aioudp.serve(handler, addr, accept=aioudp.RateLimit(per_peer=10, burst=20))

    A peer is a host, regardless of the port; for IPv6, a network of 64 bits, except on
    the local link. Senders can be forged, so this protects against careless clients,
    and limits the traffic that a server sends to a victim.

    Args:
        per_peer: The sustained rate, in datagrams per second.
        burst: The maximum number of datagrams at once. Default: *per_peer*, at least 1.
        peers: The maximum number of peers to remember. The least recent one is
            forgotten first, and then starts like a new peer.

    Raises:
        TypeError: If an argument has the wrong type.
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
        """Return whether the peer at *addr* may be served now, and count it."""
        now = asyncio.get_running_loop().time()
        return self._buckets.take(peer_of(addr), now)

    def __len__(self) -> int:
        """Return the number of remembered peers."""
        return len(self._buckets)


class Server(ClosedAtTheEnd, Generic[AddressT_co]):
    """Answers datagrams. Created by :func:`aioudp.serve`.

    ``async with`` closes it at the end of the block, at once; :meth:`drain` finishes
    current work first. It belongs to the event loop in which it was opened.
    """

    __slots__ = ("__weakref__", "_ended", "_service", "_task")

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended = ended = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(service.run())
        # The callback must not keep the server alive.
        self._task.add_done_callback(lambda _: ended.set())

    # -- running

    async def serve_forever(self) -> None:
        """Wait until the server has ended, and close it.

        In the main thread under :func:`aioudp.run`, SIGTERM and SIGINT drain the server
        for at most 10 seconds; a second signal ends the program at once. Before this
        call, they end the program as usual. Cancelling it closes the server.

        Raises:
            BaseException: The exception that ended the server, if it wasn't closed.
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
        """Lift the limit of ``amplification`` for a validated address.

        An address is validated once it has returned data that only the receiver of an
        earlier reply can know. The server remembers the 65,536 most recent addresses.

        Raises:
            ValueError: If the server was opened without ``amplification``.
        """
        if self._service.budgets is None:
            raise ValueError("there's no limit: serve with amplification=3.0")
        self._service.budgets.validate(addr)

    # -- ending

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Finish current work, then close the server.

        Stops reading, but handles and answers all datagrams that are in the kernel's
        buffer now. Cancelling it closes the server at once. A handler may call it; then
        its own task isn't waited for, and is cancelled at the end.

        Args:
            timeout: Seconds after which running handlers are cancelled; ``None`` for
                no limit.

        Returns:
            Whether all work was finished.
        """
        self._service.tasks.exempt_caller()
        self._service.endpoint.drain()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait([self._task])
                await self._service.tasks.finish()  # if the service has failed
        except TimeoutError:
            return False
        finally:
            await self.aclose()
        return True

    def close(self) -> None:
        """Close the server at once. Idempotent.

        Its handlers are cancelled, and datagrams that weren't handled are dropped.
        """
        self._service.stop()
        if self._task.get_loop().is_closed():  # who waits will never run again
            return
        self._service.tasks.cancel()
        self._task.cancel()
        self._ended.set()

    async def aclose(self) -> None:
        """Close the server, and return when its port can be bound again. Idempotent.

        Waits for cancelled handlers to end, for at most one second. Cancelling it
        doesn't undo the closing.
        """
        self.close()
        await self._service.endpoint.aclose()
        await asyncio.wait([self._task])
        if late := await self._service.tasks.wait_cancelled(_PATIENCE):
            logger.warning("%d handlers of a closed server ignore cancellation", late)

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self.closed
        except AttributeError:  # __init__ failed before it owned anything
            return
        if forgotten:
            _warn(f"unclosed server {self!r}", ResourceWarning, source=self)
            end_forgotten(self._service.endpoint)

    # -- information

    def stats(self) -> ServerStats:
        """Return the counters, even after the server was closed."""
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
        """The number of datagrams that asynchronous handlers are working on."""
        return len(self._service.tasks)

    @property
    def local_addr(self) -> AddressT_co:
        """The address the server is bound to, even after it was closed."""
        addr: AddressT_co = self._service.endpoint.local_addr
        return addr

    @property
    def port(self) -> int:
        """The port the server is bound to, even after it was closed.

        Raises:
            ValueError: If it serves on a UNIX datagram socket, which has no port.
        """
        return self._service.endpoint.port

    @property
    def closed(self) -> bool:
        """Whether the server was closed."""
        return self._service.endpoint.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        return f"<Server {state}>"
