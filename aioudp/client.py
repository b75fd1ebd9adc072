"""A client: requests that are sent again until they are answered.

UDP loses datagrams, so whoever asks must be ready to ask again; and anybody can send
datagrams, so whoever waits must not take the first one that comes. An answer counts if
it comes to the port that asked, from the address that was asked, with the id that was
asked with. Everything else is counted and ignored, and the wait goes on.

Without a ``key`` there is no id, and nothing in a datagram tells an answer from a late
one to the question before. Then the port has to tell: after a request that could be
answered once more (it was sent twice, or given up), the next one leaves from a fresh
port, where the late answer does not arrive.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol, Unpack

from ._endpoint.closing import ClosedAtTheEnd
from ._endpoint.endpoint import Endpoint, UntilClosed
from ._endpoint.mailbox import Mailbox
from ._endpoint.opening import LocalAddress, Opening, RemoteAddress, bind, connect
from ._endpoint.options import Options
from ._errors import EndpointClosedError, RequestTimeoutError
from ._requests.line import Line, Turns
from ._requests.port import Key, Port, Tally
from ._requests.ports import Ports
from ._requests.schedule import Schedule
from ._system.addresses import check_number, host_and_port, is_path, public_address
from ._types import Address, Counts, Datagram, Payload, Stats

_UNSOLICITED: Final = 256
"""Datagrams to keep that answer no request. A guess."""

_MAX_PORTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats(Counts):
    """What happened on a client since it was opened."""

    requests: int = 0
    """Requests that were sent at least once, or for which that was attempted."""

    answered: int = 0
    """Requests that got their answer."""

    timed_out: int = 0
    """Requests that raised :class:`~aioudp.RequestTimeoutError`."""

    refused: int = 0
    """Requests that ended with another error: nobody listens there, or the system
    refused the first transmission, or the client was closed."""

    cancelled: int = 0
    """Requests that were cancelled while they were out."""

    retransmitted: int = 0
    """Transmissions after the first of a request."""

    malformed: int = 0
    """Datagrams from somebody who was asked on which the key function failed, and those
    that were longer than the option ``max_datagram_size`` allows."""

    unmatched: int = 0
    """Datagrams from somebody who was asked, with an id that nobody waits for."""

    strangers: int = 0
    """Datagrams from an address that nobody waits for: forged, too late, sent twice,
    or sent without being asked for."""

    dropped_unsolicited: int = 0
    """Datagrams that :meth:`Client.unsolicited` would have handed over, had somebody
    taken them in time."""

    round_trips: int = 0
    """Requests whose time was measured: answered, and sent only once. Of the others
    nobody knows which transmission was answered (RFC 6298 section 3)."""

    round_trip_time: float = 0.0
    """The sum of those times, in seconds."""

    endpoint: Stats = field(default_factory=Stats)
    """The counts of all the endpoints that the client has used."""


class Network(Protocol):
    """Where a client opens its endpoints: :func:`aioudp.bind` and its like, or the
    same of a simulated network.
    """

    def bind(
        self, local_addr: LocalAddress = ..., **options: Unpack[Options]
    ) -> Opening[Endpoint]: ...

    def connect(
        self,
        remote_addr: RemoteAddress,
        *,
        local_addr: LocalAddress | None = ...,
        **options: Unpack[Options],
    ) -> Opening[Endpoint]: ...


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
) -> Opening[Client]:
    """Open a client, which sends requests until they are answered.

    ::

        async with aioudp.open_client(("192.0.2.1", 53), key=dns_id) as client:
            answer = await client.request(query)

    Args:
        remote_addr: The one peer to ask, as in :func:`aioudp.connect`. Without it,
            each request names its own.
        key: Returns the transaction id in the payload of a question or an answer, a
            hashable such as the first two bytes of a DNS message. Then many requests
            to one peer can be out at once. Without it one request to each peer is
            out, and the others wait their turn. It is called with what others send:
            an exception makes that datagram count as malformed.
        timeout: Seconds to wait for the answer to the first transmission. RFC 8085
            section 3.1.1 asks for at least 1 on the internet.
        retries: How often to send a request again that is not answered.
        backoff: By how much each wait is longer than the one before. The defaults wait
            1, 2, 4 and 8 seconds.
        jitter: The part of a wait, at most, that chance adds to it, so that clients
            that lost a datagram together do not send again together.
        in_flight: How many requests may be out at once. Others wait for a place.
        ports: How many source ports to spread the requests over, at random. With more
            than one, each is replaced by a fresh one after 256 requests. Whoever forges
            an answer has to guess the port, and the id.
        local_addr: Where to ask from, as in :func:`aioudp.bind`; default: the system
            chooses.
        options: See :class:`aioudp.Options`. Without a *remote_addr*, ``icmp_errors``
            is on where the system has it.

    Raises:
        OSError: If the system refuses; the message names the address.
        TypeError: If an argument is of a wrong type, or an option is unknown.
        ValueError: If a number is out of range, an option is not to be had on this
            system, or several *ports* are to share the port of *local_addr*.
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
    """The network that there is."""

    bind = staticmethod(bind)
    connect = staticmethod(connect)


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
) -> Opening[Client]:
    """Do as :func:`open_client`, on *network* and with these random numbers.

    Both return one from 0 to 1. *chance* spreads the waits; *secret* chooses ports, so
    nobody may be able to foretell it.
    """
    if key is not None and not callable(key):
        raise TypeError(f"key must be callable, got {key!r}")
    check_number("in_flight", in_flight, 1, 2**31 - 1)
    check_number("ports", ports, 1, _MAX_PORTS)
    if ports > 1 and _names_a_port(local_addr):
        raise ValueError(f"{ports} ports cannot be the one of {local_addr!r}")
    open_endpoint = _endpoint_opening(network, remote_addr, local_addr, options)

    async def open_() -> Client:
        available = partial(Ports, open_endpoint, ports, chance=secret)
        client = Client(available, chance, key, schedule, in_flight)
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
) -> Callable[[], Awaitable[Endpoint]]:
    """Return what opens one endpoint of a client. Refuses bad arguments at once."""
    if remote_addr is not None:
        connecting = network.connect(remote_addr, local_addr=local_addr, **options)
        return lambda: connecting
    anywhere: LocalAddress = ("", 0) if local_addr is None else local_addr
    binding = network.bind(anywhere, **options)
    if "icmp_errors" in options:
        return lambda: binding
    with_errors: Options = {**options, "icmp_errors": True}

    async def open_() -> Endpoint:
        try:
            return await network.bind(anywhere, **with_errors)
        except ValueError:  # this system, this loop or this kind of socket has none
            return await binding

    return open_


def _clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return what reads the loop's clock, finely: uvloop's counts milliseconds."""
    # asyncio and uvloop both go by this one; a simulation has a clock of its own.
    return time.monotonic if abs(loop.time() - time.monotonic()) < 1 else loop.time


class Client(ClosedAtTheEnd):
    """Sends requests until they are answered. Made by :func:`aioudp.open_client`.

    Any number of tasks may use it at the same time. ``async with`` closes it at the
    end. It belongs to the event loop in which it was opened.
    """

    __slots__ = (
        "__weakref__",
        "_chance",
        "_clock",
        "_closed",
        "_key",
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
        self._unsolicited: Mailbox[Datagram] = Mailbox(_UNSOLICITED)
        self._closed = False
        self._peer: Address | None = None
        self._ports = make_ports(
            key=key, tally=self._tally, unsolicited=self._unsolicited
        )

    # -- asking

    async def request(
        self,
        data: Payload,
        addr: Address | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # of one transmission
        retries: int | None = None,
    ) -> Datagram:
        """Send a request, again if need be, and return the answer.

        Waits for a place while as many requests are out as ``in_flight`` allows, and
        for its turn while one to the same peer with the same id is out; both first
        come, first served. The times count from the first transmission on.

        Cancelling forgets the request at once: an answer that comes later is counted
        like any datagram that nobody asked for.

        Args:
            data: The question. Each transmission sends the same bytes, so with the
                same id.
            addr: Whom to ask, numeric: look names up with :func:`aioudp.resolve`. With
                a ``remote_addr`` ``None``, or that address.
            timeout, retries: For this request, in place of those that the client was
                opened with.

        Returns:
            The answer, and who was asked.

        Raises:
            RequestTimeoutError: If no answer came.
            ConnectionRefusedError: If ICMP says that nobody listens there.
            EndpointClosedError: If the client is closed, before or during the call.
            OSError: What the system says of the first transmission. One that fails
                later counts as lost.
            TypeError: If an argument is of a wrong type, or the key of *data* is not
                hashable.
            ValueError: If a number is out of range, or *addr* is missing or cannot be
                reached from here, as in :meth:`Endpoint.send`.
            Exception: What the key function raises on *data*.
        """
        schedule = self._schedule
        if timeout is not None:
            schedule = replace(schedule, timeout=timeout)
        if retries is not None:
            schedule = replace(schedule, retries=retries)
        if self._closed:
            raise EndpointClosedError
        ((payload, destination),) = self._ports.any.prepare([(data, addr)])
        if addr is None and self._peer is None:
            raise ValueError("a client without a remote_addr needs an address to ask")
        peer = self._peer or public_address(destination)
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

    async def _exchange(
        self,
        port: Port,
        peer: Address,
        id: Hashable,
        data: bytes,
        schedule: Schedule,
    ) -> Datagram:
        tally, loop, clock = self._tally, self._loop, self._clock
        request = port.begin(peer, id)
        waiting = request.item
        transmissions, error = 0, None
        started, ignored = clock(), tally.ignored()
        tally.requests += 1
        try:
            while True:
                due = loop.time() + schedule.wait(transmissions, self._chance())
                try:
                    try:
                        port.try_send(data, peer)
                    except BlockingIOError:
                        await port.send_by(due, data, peer)
                except OSError as exc:
                    if not transmissions:
                        raise
                    error = exc
                transmissions += 1
                await port.wait(request, due)
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
            self._ports.used(port)
            if self._key is None and (transmissions != 1 or waiting.answer is None):
                self._ports.retire(port)  # there may be another answer on its way

    # -- what nobody asked for

    def unsolicited(self) -> AsyncIterator[Datagram]:
        """Iterate over what answers no request, until the client is closed.

        Those datagrams are what peers send of their own accord, answers that come too
        late or twice, and what was forged: they may come from anybody. The newest 256
        are kept until somebody takes them; older ones are dropped, and counted in
        ``stats().dropped_unsolicited``. Several iterators share them.
        """
        return UntilClosed(self._unsolicited.take)

    # -- closing

    def close(self) -> None:
        """Close the client. Idempotent.

        Every request that is out or waits raises
        :class:`~aioudp.EndpointClosedError`, and every iteration over
        :meth:`unsolicited` ends.
        """
        self._closed = True
        self._ports.close()
        self._places.close()
        self._turns.close()
        self._unsolicited.close()

    async def aclose(self) -> None:
        """Close the client, and return when its ports can be bound again. Idempotent.

        Cancelling it does not undo the closing.
        """
        self.close()
        await self._ports.aclose()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self._closed
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if forgotten:
            _warn(f"unclosed client {self!r}", ResourceWarning, source=self)
            self.close()

    # -- looking

    def stats(self) -> ClientStats:
        """Return what happened on this client so far; also after it was closed."""
        counts = {name: getattr(self._tally, name) for name in Tally.__slots__}
        return ClientStats(
            **counts,
            dropped_unsolicited=self._unsolicited.dropped,
            endpoint=self._ports.stats(),
        )

    @property
    def in_flight(self) -> int:
        """How many requests are out."""
        return self._places.taken

    @property
    def waiting(self) -> int:
        """How many requests wait, for a place or for their turn at a peer."""
        return self._places.waiting + self._turns.waiting

    @property
    def remote_addr(self) -> Address | None:
        """The one peer of this client, or ``None``."""
        return self._peer

    @property
    def local_addrs(self) -> tuple[Address, ...]:
        """The addresses that requests leave from now."""
        return self._ports.local_addrs()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"in_flight={self.in_flight}"
        return f"<Client {state}>"
