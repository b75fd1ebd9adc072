"""A client: requests that are repeated until they're answered.

UDP loses datagrams, so a client must be ready to repeat its request. Anybody can send
datagrams, so a client must not accept the first one that comes. An answer counts if it
comes to the port that sent the request, from the request's destination, with the
request's id. Other datagrams are counted and ignored, and the client keeps waiting.

Without a ``key``, there is no id, and nothing in a datagram distinguishes an answer
from a late answer to an earlier request. The port has to do that: after a request that
may get another answer (it was sent twice, or given up), the next one is sent from a
fresh port, which the late answer can't reach.

The file is long because most of it is docstrings: the contract of the public class.
The ports, the table of requests and the schedule are in ``_requests``.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Generic, Protocol, Unpack, overload

from ._endpoint.callables import check_function
from ._endpoint.closing import ClosedAtTheEnd
from ._endpoint.endpoint import Endpoint, UntilClosed
from ._endpoint.mailbox import Mailbox
from ._endpoint.opening import (
    IPLocal,
    IPRemote,
    LocalAddress,
    Opening,
    RemoteAddress,
    UnixPath,
    bind,
    connect,
)
from ._endpoint.options import Options, check_names
from ._errors import EndpointClosedError, RequestTimeoutError
from ._requests.line import Line, Turns
from ._requests.port import Key, Port, Tally
from ._requests.ports import USES, Ports
from ._requests.schedule import Schedule
from ._system.addresses import check_number, host_and_port, is_path, public_address
from ._types import (
    Address,
    AddressT_co,
    Counts,
    Datagram,
    Payload,
    Stats,
    UnixAddress,
)

_UNSOLICITED: Final = 256
"""Maximum number of unsolicited datagrams to keep. A guess."""

_MAX_PORTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats(Counts):
    """Counters of a client since it was opened."""

    requests: int = 0
    """Requests for which at least one transmission was attempted."""

    answered: int = 0
    """Requests that were answered."""

    timed_out: int = 0
    """Requests that raised :class:`~aioudp.RequestTimeoutError`."""

    refused: int = 0
    """Requests that ended with another error, because nobody listens there, the system
    refused the first transmission, or the client was closed."""

    cancelled: int = 0
    """Requests that were cancelled while in flight."""

    retransmitted: int = 0
    """Transmissions after the first one of a request."""

    malformed: int = 0
    """Datagrams from a peer with a pending request for which the key function failed,
    and those that were longer than the option ``max_datagram_size`` allows."""

    unmatched: int = 0
    """Datagrams from a peer with a pending request, but with another id."""

    strangers: int = 0
    """Datagrams from an address without a pending request, such as forged, late,
    duplicate or unsolicited ones."""

    dropped_unsolicited: int = 0
    """Datagrams that weren't taken from :meth:`Client.unsolicited` in time."""

    round_trips: int = 0
    """Requests whose time was measured, because they were answered and sent only once.
    For the others, it's unknown which transmission was answered (RFC 6298 section
    3)."""

    round_trip_time: float = 0.0
    """The sum of the measured times, in seconds."""

    endpoint: Stats = field(default_factory=Stats)
    """The counters of all endpoints that the client has used."""


class Network(Protocol):
    """A network on which a client opens its endpoints: the real one, with
    :func:`aioudp.bind` and :func:`aioudp.connect`, or a simulated one.
    """

    def bind(
        self, local_addr: LocalAddress = ..., **options: Unpack[Options]
    ) -> Opening[Endpoint[Any]]: ...

    def connect(
        self,
        remote_addr: RemoteAddress,
        *,
        local_addr: LocalAddress | None = ...,
        **options: Unpack[Options],
    ) -> Opening[Endpoint[Any]]: ...


@overload
def open_client(
    remote_addr: IPRemote | None = None,
    *,
    key: Key | None = None,
    timeout: float = 1.0,
    retries: int = 3,
    backoff: float = 2.0,
    jitter: float = 0.1,
    in_flight: int = 256,
    ports: int = 1,
    local_addr: IPLocal | None = None,
    **options: Unpack[Options],
) -> Opening[Client]: ...
@overload
def open_client(
    remote_addr: UnixPath | None = None,
    *,
    key: Key | None = None,
    timeout: float = 1.0,
    retries: int = 3,
    backoff: float = 2.0,
    jitter: float = 0.1,
    in_flight: int = 256,
    ports: int = 1,
    local_addr: UnixPath | None = None,
    **options: Unpack[Options],
) -> Opening[Client[UnixAddress]]: ...
def open_client(
    remote_addr: RemoteAddress | None = None,
    *,
    key: Key | None = None,
    timeout: float = 1.0,
    retries: int = 3,
    backoff: float = 2.0,
    jitter: float = 0.1,
    in_flight: int = 256,
    ports: int = 1,
    local_addr: LocalAddress | None = None,
    **options: Unpack[Options],
) -> Opening[Any]:
    """Open a client, which repeats requests until they're answered.

    ::

        async with aioudp.open_client(("192.0.2.1", 53), key=dns_id) as client:
            answer = await client.request(query)

    Args:
        remote_addr: The peer for all requests, as in :func:`aioudp.connect`. Without
            it, each request has its own destination.
        key: A function that returns the transaction id of the payload of a request or
            an answer: a hashable object, such as the first two bytes of a DNS message.
            With it, many requests to one peer can be in flight at once. Without it,
            only one request per peer is, and the others wait their turn. It's called
            with datagrams from the network: if it raises an exception, the datagram
            counts as malformed.
        timeout: Seconds to wait for the answer to the first transmission. RFC 8085
            section 3.1.1 requires at least 1 on the Internet.
        retries: How many times to repeat a request that isn't answered.
        backoff: The factor between one wait and the next. By default, the client waits
            1, 2, 4 and 8 seconds.
        jitter: The maximum random part to add to each wait, as a fraction, so that
            clients that lost a datagram at the same time don't retry at the same time.
        in_flight: The maximum number of requests in flight. Others wait for a place.
        ports: The number of source ports over which requests are spread at random. With
            more than one, each port is replaced by a fresh one after 256 requests. An
            attacker who forges an answer has to guess both the port and the id.
        local_addr: The address to send from, as in :func:`aioudp.bind`. Default: chosen
            by the system.
        options: See :class:`aioudp.Options`. Without a *remote_addr*, ``icmp_errors``
            is on if the system supports it.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an argument has the wrong type, or an option is unknown.
        ValueError: If a number is out of range, an option isn't supported on this
            system, or several *ports* would have to share the port of *local_addr*.
    """
    return opening_on(
        _Kernel,
        remote_addr,
        chance=random.random,
        secret=random.SystemRandom().random,
        key=key,
        schedule=Schedule(timeout, retries, backoff, jitter),
        in_flight=in_flight,
        ports=ports,
        local_addr=local_addr,
        options=options,
    )


class _Kernel:
    """The real network."""

    bind: Callable[..., Opening[Endpoint[Any]]] = staticmethod(bind)
    connect: Callable[..., Opening[Endpoint[Any]]] = staticmethod(connect)


def opening_on(
    network: Network,
    remote_addr: RemoteAddress | None,
    *,
    chance: Callable[[], float],
    secret: Callable[[], float],
    key: Key | None,
    schedule: Schedule,
    in_flight: int,
    ports: int,
    local_addr: LocalAddress | None,
    options: Options,
) -> Opening[Client[Any]]:
    """Like :func:`open_client`, on *network* and with these random numbers.

    Both functions return a number from 0 to 1. *chance* spreads the waits; *secret*
    chooses ports, so it must be unpredictable.
    """
    check_function("key", key)
    check_number("in_flight", in_flight, 1, 2**31 - 1)
    check_number("ports", ports, 1, _MAX_PORTS)
    permanent = _names_a_port(local_addr)
    if ports > 1 and permanent:
        raise ValueError(f"{ports} ports can't share the port of {local_addr!r}")
    check_names(options, open_client)
    open_endpoint = _endpoint_opening(network, remote_addr, local_addr, options)

    async def open_() -> Client[Any]:
        available = partial(
            Ports, open_endpoint, ports, permanent=permanent, chance=secret
        )
        client: Client[Any] = Client(available, chance, key, schedule, in_flight)
        try:
            port = await client._ports.choose()
        except BaseException:
            client.close()
            raise
        client._peer = port.endpoint.remote_addr
        return client

    return Opening(open_)


def _names_a_port(local_addr: LocalAddress | None) -> bool:
    if local_addr is None:
        return False
    return is_path(local_addr) or host_and_port(local_addr)[1] != 0


def _endpoint_opening(
    network: Network,
    remote_addr: RemoteAddress | None,
    local_addr: LocalAddress | None,
    options: Options,
) -> Callable[[], Awaitable[Endpoint[Any]]]:
    """Return a function that opens one endpoint. Checks the arguments at once."""
    if remote_addr is not None:
        connecting = network.connect(remote_addr, local_addr=local_addr, **options)
        return lambda: connecting
    anywhere: LocalAddress = ("", 0) if local_addr is None else local_addr
    binding = network.bind(anywhere, **options)
    if "icmp_errors" in options:
        return lambda: binding
    with_errors: Options = {**options, "icmp_errors": True}

    async def open_() -> Endpoint[Any]:
        try:
            return await network.bind(anywhere, **with_errors)
        except ValueError:  # not supported by this system, loop or kind of socket
            return await binding

    return open_


def _clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the loop's clock with a fine resolution; uvloop's is a millisecond."""
    # asyncio and uvloop both use the monotonic clock; a simulation has its own.
    return time.monotonic if abs(loop.time() - time.monotonic()) < 1 else loop.time


class Client(ClosedAtTheEnd, Generic[AddressT_co]):
    """Repeats requests until they're answered. Created by :func:`aioudp.open_client`.

    Any number of tasks may use it at the same time. ``async with`` closes it at the end
    of the block. It belongs to the event loop in which it was opened. For type
    checkers, it's generic in its peers' addresses, like :class:`~aioudp.Endpoint`.
    """

    __slots__ = (
        "__weakref__",
        "_chance",
        "_clock",
        "_closed",
        "_key",
        "_last_addr",
        "_last_peer",
        "_loop",
        "_peer",
        "_places",
        "_ports",
        "_schedule",
        "_tally",
        "_turns",
        "_unsolicited",
    )

    def __init__(
        self,
        make_ports: Callable[..., Ports],
        chance: Callable[[], float],
        key: Key | None,
        schedule: Schedule,
        in_flight: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = _clock_of(self._loop)
        self._chance = chance
        self._key = key
        self._schedule = schedule
        self._places = Line(in_flight)
        self._turns = Turns()
        self._tally = Tally()
        self._unsolicited: Mailbox[Datagram[AddressT_co]] = Mailbox(_UNSOLICITED)
        self._closed = False
        self._peer: AddressT_co | None = None
        self._last_addr: Address | None = None
        self._last_peer: Any = None
        self._ports = make_ports(
            key=key, tally=self._tally, unsolicited=self._unsolicited
        )

    # -- requests

    async def request(
        self,
        data: Payload,
        addr: Address | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # of one transmission
        retries: int | None = None,
    ) -> Datagram[AddressT_co]:
        """Send a request, repeat it if necessary, and return the answer.

        Waits for a place while ``in_flight`` requests are in flight, and for its turn
        while a request to the same peer with the same id is in flight; both first come,
        first served. Timeouts start with the first transmission.

        Cancelling drops the request at once: a later answer counts like any unsolicited
        datagram.

        Args:
            data: The payload. Each transmission sends the same bytes, and therefore the
                same id.
            addr: The destination, a numeric address: look up names with
                :func:`aioudp.resolve`. With a ``remote_addr``, ``None`` or that
                address.
            timeout, retries: Values for this request; default: those that the client
                was opened with.

        Returns:
            The answer, and the peer's address.

        Raises:
            RequestTimeoutError: If no answer came.
            ConnectionRefusedError: If ICMP reports that nobody listens there.
            EndpointClosedError: If the client is closed, before or during the call.
            OSError: If the system refuses the first transmission. If it refuses a later
                one, that one counts as lost.
            TypeError: If an argument has the wrong type, or the key of *data* isn't
                hashable.
            ValueError: If a number is out of range, or *addr* is missing or can't be
                reached from this socket, as in :meth:`Endpoint.send`.
            Exception: Any exception that the key function raises for *data*.
        """
        schedule = self._schedule
        if timeout is not None:
            schedule = replace(schedule, timeout=timeout)
        if retries is not None:
            schedule = replace(schedule, retries=retries)
        if self._closed:
            raise EndpointClosedError
        if type(data) is bytes and addr is None and self._peer is not None:
            payload, peer = data, self._peer
        else:
            payload, peer = self._checked(data, addr)
        id = None if self._key is None else self._key(payload)
        turn = peer, id
        if not self._turns.take_nowait(turn):
            await self._turns.take(turn)
        try:
            if not self._places.enter_nowait():
                await self._places.enter()
            try:
                port = self._ports.choose_nowait()
                if port is None:
                    port = await self._ports.choose()
                return await self._exchange(port, peer, id, payload, schedule)
            finally:
                self._places.leave()
        finally:
            self._turns.give(turn)

    def _checked(self, data: Payload, addr: Address | None) -> tuple[bytes, Any]:
        """Return a copy of *data*, and the peer in the form of its answers."""
        if type(data) is bytes and addr is self._last_addr and addr is not None:
            return data, self._last_peer  # the same tuple as last time
        ((payload, destination),) = self._ports.any.prepare([(data, addr)])
        if self._peer is not None:
            return payload, self._peer
        if addr is None:
            raise ValueError("a client without a remote_addr needs an address")
        peer = public_address(destination)
        if type(addr) is tuple:
            self._last_addr, self._last_peer = addr, peer
        return payload, peer

    async def _exchange(
        self,
        port: Port,
        peer: Any,
        id: Hashable,
        data: bytes,
        schedule: Schedule,
    ) -> Datagram[AddressT_co]:
        tally, loop, clock = self._tally, self._loop, self._clock
        request = port.begin(peer, id)
        waiting = request.item
        to = peer if self._peer is None else None
        transmissions, error = 0, None
        started, ignored = clock(), tally.ignored()
        tally.requests += 1
        try:
            while True:
                due = loop.time() + schedule.wait(transmissions, self._chance())
                try:
                    try:
                        port.try_send(data, to)
                    except BlockingIOError:
                        await port.send_by(due, data, to)
                except OSError as exc:
                    if not transmissions:
                        raise
                    error = exc
                transmissions += 1
                if (woken := port.wait(request, due)) is not None:
                    await woken
                if waiting.answer is not None:
                    if transmissions == 1:
                        tally.round_trips += 1
                        tally.round_trip_time += clock() - started
                    tally.answered += 1
                    return waiting.answer
                if waiting.error is not None:
                    raise waiting.error
                if transmissions > schedule.retries:
                    tally.timed_out += 1
                    took, came = clock() - started, tally.ignored() - ignored
                    raise RequestTimeoutError(peer, transmissions, took, came, error)
                tally.retransmitted += 1
        except asyncio.CancelledError:
            tally.cancelled += 1
            raise
        except (EndpointClosedError, OSError) as exc:
            tally.refused += not isinstance(exc, RequestTimeoutError)
            raise
        finally:
            port.end(request)
            if port.uses >= USES:
                self._ports.used(port)
            if self._key is None and (transmissions != 1 or waiting.answer is None):
                self._ports.retire(port)  # another answer may come

    # -- unsolicited datagrams

    def unsolicited(self) -> AsyncIterator[Datagram[AddressT_co]]:
        """Iterate over datagrams that answer no request, until the client is closed.

        These are datagrams that peers send on their own, late and duplicate answers,
        and forged ones: they may come from anybody. The newest 256 are kept; older ones
        are dropped, and counted in ``stats().dropped_unsolicited``. Several iterators
        share them.
        """
        return UntilClosed(self._unsolicited.take)

    # -- closing

    def close(self) -> None:
        """Close the client. Idempotent.

        Every pending request raises :class:`~aioudp.EndpointClosedError`, and every
        iteration over :meth:`unsolicited` ends.
        """
        self._closed = True
        self._ports.close()
        if self._loop.is_closed():  # who waits will never run again
            return
        self._places.close()
        self._turns.close()
        self._unsolicited.close()

    async def aclose(self) -> None:
        """Close the client, and return when its ports can be bound again. Idempotent.

        Cancelling it doesn't undo the closing.
        """
        self.close()
        await self._ports.aclose()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self._closed
        except AttributeError:  # __init__ failed before it owned anything
            return
        if forgotten:
            _warn(f"unclosed client {self!r}", ResourceWarning, source=self)
            self._closed = True
            # No task waits for a request, or the client would be in use.
            self._ports.forget(self._unsolicited.close)

    # -- information

    def stats(self) -> ClientStats:
        """Return the counters of this client, even after it was closed."""
        counts = {name: getattr(self._tally, name) for name in Tally.__slots__}
        return ClientStats(
            **counts,
            dropped_unsolicited=self._unsolicited.dropped,
            endpoint=self._ports.stats(),
        )

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""
        return self._places.taken

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a place or for their turn."""
        return self._places.waiting + self._turns.waiting

    @property
    def remote_addr(self) -> AddressT_co | None:
        """The peer of all requests, or ``None``."""
        return self._peer

    @property
    def local_addrs(self) -> tuple[AddressT_co, ...]:
        """The addresses from which new requests are sent."""
        return self._ports.local_addrs()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"in_flight={self.in_flight}"
        return f"<Client {state}>"
