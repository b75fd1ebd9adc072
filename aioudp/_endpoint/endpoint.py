"""The endpoint: the user's handle.

The event loop keeps the transport and its protocol alive, and they don't refer to the
endpoint. So when a program drops its last reference to an open endpoint, the endpoint
is garbage collected, warns with ``ResourceWarning``, and closes. The protocol does the
receiving, and ``sending`` the sending; this file only contains the fast path of a
datagram when no task waits and there is no error.

The file is long because most of it is docstrings: the contract of the public class.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, Self, TypeVar

from .._errors import EndpointClosedError
from .._system.addresses import check_number, port_of, public_address
from .._system.batchio import check_payload
from .._system.datagram_batch import DatagramBatch
from .._system.path_mtu import known_mtu
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport
from .._transports.home import Place, place_of
from .._types import (
    Address,
    AddressT_co,
    Datagram,
    Message,
    NetworkError,
    Payload,
    Stats,
)
from .batches import prepare_batch, recv_batch, send_batch
from .closing import ClosedAtTheEnd
from .error_inbox import ErrorInbox
from .protocol import CHECKED, EndpointProtocol
from .sending import Sender, send_options

_TOP_UPS: Final = 2  # how many times recv_many polls for more
_MOST: Final = 2**63 - 1  # datagrams at a time; more than any list holds

_T = TypeVar("_T")


class UntilClosed(AsyncIterator[_T]):
    """Iterates over the results of a call, until the endpoint is closed or drained."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None:
        self._call = call

    async def __anext__(self) -> _T:
        try:
            return await self._call()
        except EndpointClosedError:
            raise StopAsyncIteration from None


class Endpoint(ClosedAtTheEnd, Generic[AddressT_co]):
    """An asynchronous UDP socket or UNIX datagram socket.

    :func:`aioudp.bind`, :func:`aioudp.connect` and :func:`aioudp.adopt` create
    endpoints. ``async with`` closes it at the end of the block; ``async for`` iterates
    over the datagrams until it's closed or drained. Any number of tasks may use it at
    the same time. It belongs to the event loop in which it was opened, and therefore to
    that loop's thread; a receive call that has to wait elsewhere raises
    :class:`RuntimeError`, and so does any call in asyncio's debug mode.

    Errors never close an endpoint: it keeps working after any exception except
    :class:`~aioudp.EndpointClosedError`.

    For type checkers, the class is generic in the addresses that the endpoint reports:
    ``Endpoint``, which is ``Endpoint[IPAddress]``, or ``Endpoint[UnixAddress]``.
    Methods accept any :data:`~aioudp.Address`, and check it when they're called.
    """

    __slots__ = (
        "__weakref__",
        "_items",
        "_packet_info",
        "_protocol",
        "_sender",
        "_transport",
        "_try_send",
    )

    def __init__(
        self,
        transport: DatagramTransport,
        protocol: EndpointProtocol,
        *,
        packet_info: bool = False,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        items: Any = protocol.items
        self._items: deque[Datagram[AddressT_co]] = items  # in a subclass also messages
        self._packet_info = packet_info
        self._try_send: Callable[[Payload, Address | None], None] = transport.try_send
        if protocol.detour & CHECKED:
            self._try_send = _checked(protocol, transport)
        self._sender = Sender(transport)

    # -- receiving

    async def recv(self) -> Datagram[AddressT_co]:
        """Wait for the next datagram.

        Several tasks may wait at once; they're served first come, first served.
        Cancelling is safe: a datagram is either returned or stays in the queue. To set
        a timeout, wrap the call in :func:`asyncio.timeout`.

        Returns:
            The payload, ``b""`` for an empty datagram, and the sender's address.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call,
                or was drained and the queue is empty.
            OSError: If the system reports an error instead of a datagram: on a
                connected endpoint, :class:`ConnectionRefusedError` if the peer's host
                reports that nobody listens there. Each error is raised once. With the
                option ``icmp_errors``, :meth:`recv_error` returns these instead.
            TruncatedError: If the next datagram was longer than the option
                ``max_datagram_size`` allows; the exception contains the beginning.
                Raised once, in the datagram's place.
        """
        if self._items and not self._protocol.detour:
            return self._items.popleft()
        await self._protocol.turn()
        return self._items.popleft()

    async def recv_many(
        self, max_datagrams: int | None = None
    ) -> list[Datagram[AddressT_co]]:
        """Wait for one datagram, and return all available ones, oldest first.

        This costs less per datagram than :meth:`recv`. Waiting, the order of tasks and
        cancellation work as in :meth:`recv`.

        Args:
            max_datagrams: The maximum number to return; ``None`` for no limit.

        Raises:
            EndpointClosedError: As in :meth:`recv`.
            OSError: As in :meth:`recv`.
            TruncatedError: As in :meth:`recv`. If others come before it, a truncated
                datagram ends the list, and the next call raises the error.
            TypeError: If *max_datagrams* isn't an int.
            ValueError: If *max_datagrams* is less than 1.
        """
        if max_datagrams is not None:
            check_number("max_datagrams", max_datagrams, 1, _MOST)
        protocol, inbox = self._protocol, self._protocol.inbox
        queued = bool(self._items) and not protocol.detour
        if not queued:
            await protocol.turn()
        datagrams: list[Any] = inbox.take(max_datagrams)
        # Datagrams that have arrived meanwhile can bypass the queue.
        if max_datagrams is None:
            for _ in range(0 if queued else _TOP_UPS):
                more = self._transport.poll()
                if not more:
                    break
                datagrams += more
        elif not queued and (missing := max_datagrams - len(datagrams)):
            more = self._transport.poll(missing)
            datagrams += more[:missing]
            inbox.put(more[missing:])  # the end of a train
        if protocol.detour:
            protocol.resume_if_empty()
        return datagrams

    async def recv_batch(
        self,
        max_datagrams: int | None = None,
        *,
        into: DatagramBatch[Any] | None = None,
    ) -> DatagramBatch[AddressT_co]:
        """Wait for one datagram, and return all that are there, oldest first.

        Returns columns instead of objects, which is much cheaper for each datagram than
        :meth:`recv_many`. Waiting, order among tasks and cancelling are as in
        :meth:`recv`.

        Args:
            max_datagrams: The largest number of datagrams to return; ``None`` sets no
                limit.
            into: A batch to reuse. It loses its content at once, even if the call is
                then cancelled or raises, and is returned.

        Raises:
            BufferError: If somebody still views a column of *into*; it's unchanged.
            EndpointClosedError: As :meth:`recv`.
            OSError: As :meth:`recv`.
            TruncatedError: As :meth:`recv_many`.
            TypeError: If *max_datagrams* is not an int, or *into* not a batch.
            ValueError: If *max_datagrams* is less than 1.
        """
        return await recv_batch(self._protocol, self._transport, max_datagrams, into)

    def recv_nowait(self) -> Datagram[AddressT_co]:
        """Return the next datagram without waiting.

        Raises:
            BlockingIOError: If there is none, or if other tasks are waiting for it.
            EndpointClosedError: As in :meth:`recv`.
            OSError: As in :meth:`recv`.
            TruncatedError: As in :meth:`recv`.
        """
        if not self._items or self._protocol.detour:
            self._protocol.turn_nowait()
        return self._items.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram[AddressT_co]:
        if self._items and not self._protocol.detour:
            return self._items.popleft()
        try:
            await self._protocol.turn()
        except EndpointClosedError:
            raise StopAsyncIteration from None
        return self._items.popleft()

    # -- receiving with packet info

    async def recv_message(self) -> Message[AddressT_co]:
        """Wait for the next datagram, and return it with its packet info.

        Waiting, the order of tasks and cancellation work as in :meth:`recv`. A
        truncated datagram is returned like any other, with ``truncated`` set.

        Raises:
            EndpointClosedError: As in :meth:`recv`.
            OSError: As in :meth:`recv`.
            ValueError: If the endpoint was opened without ``packet_info=True``.
        """
        self._check_packet_info()
        if not self._items or self._protocol.detour:
            await self._protocol.turn()
        messages: deque[Any] = self._items
        message: Message[AddressT_co] = messages.popleft()
        return message

    async def recv_messages(
        self, max_messages: int | None = None
    ) -> list[Message[AddressT_co]]:
        """Wait for one datagram, and return all available ones as messages.

        Works like :meth:`recv_many`.

        Args:
            max_messages: The maximum number to return; ``None`` for no limit.

        Raises:
            EndpointClosedError: As in :meth:`recv_message`.
            OSError: As in :meth:`recv_message`.
            TypeError: If *max_messages* isn't an int.
            ValueError: As in :meth:`recv_message`, and if *max_messages* is less than
                1.
        """
        self._check_packet_info()
        messages: list[Any] = await Endpoint.recv_many(self, max_messages)
        return messages

    def messages(self) -> AsyncIterator[Message[AddressT_co]]:
        """Iterate over the datagrams as messages, until closed or drained.

        Each step calls :meth:`recv_message`.

        Raises:
            OSError: In a step, as in :meth:`recv_message`.
            ValueError: As in :meth:`recv_message`.
        """
        self._check_packet_info()
        return UntilClosed(self.recv_message)

    def _check_packet_info(self) -> None:
        if not self._packet_info:
            raise ValueError("messages need an endpoint opened with packet_info=True")

    async def reply(self, message: Message[Any], data: Payload) -> None:
        """Answer *message* from the address and interface that it was sent to.

        Otherwise, on a machine with several addresses, an endpoint bound to all of them
        answers from the one that the routing table prefers. If the request was sent to
        another one, the client doesn't recognize the answer. The answer to a broadcast
        or multicast datagram is sent from an address of the interface on which it
        arrived.

        Waiting, cancellation and errors work as in :meth:`send`.
        """
        local_addr = None if message.unicast is False else message.local_addr
        await self.send(
            data, message.addr, local_addr=local_addr, interface=message.interface
        )

    # -- ICMP errors

    async def recv_error(self) -> NetworkError[AddressT_co]:
        """Wait for the next ICMP error. Requires ``icmp_errors``.

        The error gives the failed datagram's destination, the cause and the host that
        reported it. At most ``queue_size`` errors are kept; older ones are dropped, and
        counted in ``stats().dropped_errors``. Waiting, the order of tasks and
        cancellation work as in :meth:`recv`.

        The absence of errors proves nothing: routers and hosts limit how many they
        send, and firewalls drop them.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            ValueError: If the endpoint was opened without ``icmp_errors=True``.
        """
        return await self._errors().take()

    def errors(self) -> AsyncIterator[NetworkError[AddressT_co]]:
        """Iterate over ICMP errors until the endpoint is closed.

        Each step calls :meth:`recv_error`.

        Raises:
            ValueError: If the endpoint was opened without ``icmp_errors=True``.
        """
        return UntilClosed(self._errors().take)

    def _errors(self) -> ErrorInbox:
        errors = self._protocol.errors
        if errors is None:
            raise ValueError("errors need an endpoint opened with icmp_errors=True")
        return errors

    def mtu(self, addr: Address | None = None) -> int | None:
        """Return the path MTU to *addr*, as currently known to the system.

        This never waits and sends nothing: until a datagram has been too long for a
        router, the result is the MTU of the interface. The kernel forgets a path MTU
        after some time (Linux: 10 minutes).

        Args:
            addr: A numeric address; on a connected endpoint, ``None`` or its peer.

        Returns:
            The size of a whole IP packet in bytes. The payload of a datagram is 28
            bytes shorter over IPv4, 48 bytes over IPv6. ``None`` on systems other than
            Linux, and for UNIX sockets.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: If there is no route to *addr*.
            TypeError: If *addr* isn't an address.
            ValueError: As in :meth:`send`, and if *addr* is missing.
        """
        if self.closed:
            raise EndpointClosedError
        if addr is None and self.remote_addr is None:
            raise ValueError("an endpoint without a peer needs an address")
        ((_, peer),) = self._transport.prepare([(b"", addr)])
        return known_mtu(self.get_extra_info("socket"), peer)

    # -- sending

    async def send(
        self,
        data: Payload,
        addr: Address | None = None,
        *,
        segment_size: int | None = None,
        local_addr: str | Address | None = None,
        interface: int | str | None = None,
        tos: int | None = None,
        hop_limit: int | None = None,
    ) -> None:
        """Send one datagram or, with *segment_size*, one buffer as many datagrams.

        Returns when the kernel has accepted it. Waits while the kernel's buffer is
        full; several waiting tasks are served first come, first served. A task that
        sends in an endless loop lets the event loop run now and then.

        Cancelling a send that waits is safe: the datagram isn't sent. With
        *segment_size*, the datagrams before the one that had to wait have been sent.

        Args:
            data: The payload. ``b""`` is an empty datagram.
            addr: The destination, a numeric address: look up names with
                :func:`aioudp.resolve`. On a connected endpoint, ``None`` or the peer's
                address.
            segment_size: Split *data* into datagrams of this many bytes; the last one
                may be shorter. If the kernel supports UDP_SEGMENT, this is many times
                faster than single sends.
            local_addr, interface, tos, hop_limit: Options for this send, as in
                :class:`aioudp.SendOptions`. They don't change the socket.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            OSError: The error that this datagram caused (with *segment_size*, the error
                of the first refused datagram; those before it have been sent). ICMP
                errors about earlier datagrams are never raised here, but by
                :meth:`recv`, or returned by :meth:`recv_error`.
            TypeError: If *data* isn't bytes-like or *addr* isn't an address.
            ValueError: If *addr* isn't a numeric address, is of another family, isn't
                the peer of a connected endpoint, or has a port out of range; if
                *segment_size* is less than 1; or if an option is refused by
                :class:`aioudp.SendOptions`, or isn't supported on this system.
        """
        sender = self._sender
        if not (
            segment_size is None
            and local_addr is None
            and interface is None
            and tos is None
            and hop_limit is None
        ):
            self._protocol.check_loop()
            options = send_options(local_addr, interface, tos, hop_limit)
            if segment_size is None:
                await sender.send(data, addr, options)
            else:
                await sender.send_segments(data, addr, segment_size, options)
            return
        if sender.allowance:
            sender.allowance -= 1
            try:
                self._try_send(data, addr)
            except BlockingIOError:
                pass
            else:
                return
        self._protocol.check_loop()
        await sender.send_later(data, addr)

    async def send_many(
        self,
        datagrams: DatagramBatch[Any]
        | Iterable[
            tuple[Payload, Address | None]
            | tuple[Payload, Address | None, SendOptions | None]
        ],
        *,
        addr: Address | None = None,
        addrs: Sequence[Address] | None = None,
        local_addr: str | Address | None = None,
        interface: int | str | None = None,
        tos: int | None = None,
        hop_limit: int | None = None,
    ) -> None:
        """Send several datagrams, in order, in as few system calls as possible.

        Every datagram that the kernel accepts is sent once; the call returns when the
        kernel has all of them. Waits while the kernel's buffer is full, and lets the
        event loop run now and then. If cancelled, the datagrams up to some point have
        been sent.

        Args:
            datagrams: Pairs of payload and destination (``None`` for the peer of a
                connected endpoint), or triples of these and
                :class:`aioudp.SendOptions` for this datagram only.
                A :class:`aioudp.DatagramBatch` is sent without creating objects, each
                datagram to its source. The batch can't be recycled meanwhile.
            addr: For a batch: send all datagrams to this address.
            addrs: For a batch: the destination of each datagram.
            local_addr, interface, tos, hop_limit: Options for all other datagrams, as
                in :class:`aioudp.SendOptions`. They don't change the socket.

        If the iterable raises an exception, the datagrams before it are sent, and the
        exception is raised. If the system refused some of those, its ``__context__`` is
        the :class:`SendManyError`; the same applies to the errors below.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            SendManyError: If the system refused some; all others have been sent.
            TypeError: If an item isn't a pair, its payload isn't bytes-like, or its
                destination isn't an address. Some of those before it may have been
                sent.
            ValueError: If a destination or an option is refused as in :meth:`send`.
                Some of the datagrams before it may have been sent.
        """
        self._protocol.check_loop()
        options = send_options(local_addr, interface, tos, hop_limit)
        if isinstance(datagrams, DatagramBatch):
            batch = prepare_batch(self._transport, datagrams, addr, addrs, options)
            await send_batch(self._sender, self._transport, batch)
        elif addr is None and addrs is None:
            await self._sender.send_many(datagrams, options)
        else:
            raise ValueError("addr and addrs are for a DatagramBatch")

    async def send_to_all(self, data: Payload, addrs: Iterable[Address]) -> None:
        """Send one payload to many peers, in as few system calls as possible.

        Waiting and cancelling are as for :meth:`send_many`.

        Args:
            data: The payload of each datagram.
            addrs: The destinations. An address that occurs twice gets two datagrams.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            SendManyError: If the system refused some; all the others are out. Its
                indexes are positions in *addrs*.
            TypeError: If *data* is not bytes-like, or a destination not an address.
            ValueError: If a destination is refused as in :meth:`send`. Some of the
                datagrams before it may be out.
        """
        self._protocol.check_loop()
        check_payload(data)
        payload = bytes(data)
        await self._sender.send_many(((payload, addr) for addr in addrs), None)

    # -- ending

    def drain(self) -> AsyncIterator[Datagram[AddressT_co]]:
        """Stop receiving, without losing datagrams that have arrived. Idempotent.

        Reads the datagrams in the kernel's receive buffer, then stops reading. Tasks
        keep receiving until the queue is empty; then they end as if the endpoint were
        closed: ``async for`` stops, and receive calls raise
        :class:`~aioudp.EndpointClosedError`. Sending works until the endpoint is
        closed, so you can still answer every datagram.

        The receive queue may exceed ``queue_size`` for this, unless the ``overflow``
        policy drops datagrams. Datagrams that arrive later stay in the kernel.

        Returns:
            An iterator over the remaining datagrams; each step calls :meth:`recv`. You
            don't have to use it: other receive calls and iterators, such as
            :meth:`messages`, take from the same queue. On a closed endpoint, it's
            empty.
        """
        self._protocol.check_loop(waits=False)
        self._protocol.drain()
        return UntilClosed(self.recv)

    def close(self) -> None:
        """Close the endpoint at once. Idempotent.

        Every task that waits in a receive or send call gets
        :class:`~aioudp.EndpointClosedError`. Datagrams in the queue are dropped, and
        counted in ``stats().dropped_close``; those in the kernel's buffer are lost
        uncounted. To lose none, call :meth:`drain` first. The port can be bound again
        at once (loop transport: after :meth:`aclose`).
        """
        self._protocol.check_loop(waits=False)
        self._end()

    def _end(self) -> None:
        """Close it, whatever event loop runs here."""
        self._protocol.close()
        # Not close(), which would first send the write buffer of transport.sendto.
        self._transport.abort()

    async def aclose(self) -> None:
        """Close the endpoint, and return when its port can be bound again. Idempotent.

        Drops the datagrams in the queue, like :meth:`close`. Cancelling it doesn't undo
        the closing.
        """
        self.close()
        await self._transport.wait_closed()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self.closed
        except AttributeError:  # __init__ failed before it owned anything
            return
        if forgotten:
            _warn(f"unclosed endpoint {self!r}", ResourceWarning, source=self)
            end_forgotten(self)

    # -- information

    def stats(self) -> Stats:
        """Return the counters of this endpoint, even after it was closed."""
        stats, errors = self._transport.stats(), self._protocol.errors
        return replace(
            stats,
            dropped_queue=self._protocol.inbox.dropped,
            dropped_close=self._protocol.dropped_close,
            dropped_errors=stats.dropped_errors
            + (0 if errors is None else errors.dropped),
        )

    @property
    def local_addr(self) -> AddressT_co:
        """The address the endpoint is bound to, even after it was closed."""
        addr: AddressT_co = public_address(self.get_extra_info("sockname"))
        return addr

    @property
    def port(self) -> int:
        """The port the endpoint is bound to, even after it was closed.

        Raises:
            ValueError: If the endpoint is a UNIX datagram socket, which has no port.
        """
        return port_of(self.local_addr)

    @property
    def remote_addr(self) -> AddressT_co | None:
        """The peer of a connected endpoint, else ``None``."""
        peer = self._transport.get_extra_info("peername")
        addr: AddressT_co | None = None if peer is None else public_address(peer)
        return addr

    @property
    def family(self) -> int:
        """The address family, one of the ``AF_`` constants of :mod:`socket`."""
        return int(self.get_extra_info("socket").family)

    @property
    def closed(self) -> bool:
        """Whether the endpoint was closed."""
        return self._protocol.closed

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return int(self.get_extra_info("socket").fileno())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the transport under *name*, or *default*.

        As in asyncio: ``"socket"``, ``"sockname"``, ``"peername"``. Also
        ``"offload"``: a dictionary of ``gso_segments`` (maximum datagrams per train),
        ``gso_refused_for`` (a list of the addresses for which a train was refused,
        which get the next 1,024 datagrams singly), ``gro`` and ``batchio``.
        """
        return self._transport.get_extra_info(name, default)

    @property
    def transport(self) -> DatagramTransport:
        """The endpoint's transport. It doesn't keep the endpoint open."""
        return self._transport

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        peer = "" if self.remote_addr is None else f" remote_addr={self.remote_addr!r}"
        return f"<Endpoint {state}{peer}>"


async def send_step(endpoint: Endpoint[Any], step: Callable[[], object]) -> None:
    """Make one exact send, *step*, in order with all other sends of *endpoint*.

    For endpoints that wrap another one, and must set up the socket for each datagram.
    *step* is called until it doesn't raise BlockingIOError; then it returns ``None``.
    """
    endpoint._protocol.check_loop()
    await endpoint._sender.in_turn(step)


def drop_at_close(endpoint: Endpoint[Any], count: int) -> None:
    """Count datagrams that a consumer took, and couldn't handle before the close."""
    endpoint._protocol.dropped_close += count


def end_forgotten(
    endpoint: Endpoint[Any], also: Callable[[], object] | None = None
) -> None:
    """Close *endpoint* for a finalizer, which runs in any thread and beside any loop.

    If the endpoint's loop runs in another thread, that one closes it: tasks may be
    waiting, and only their own thread can wake them. It then calls *also*, which wakes
    other tasks; not if the loop is closed.
    """
    transport: Any = endpoint._transport

    def end() -> None:
        endpoint._end()
        if also is not None and not transport._loop.is_closed():
            also()

    if place_of(transport._loop, transport._pid) is Place.OTHER_THREAD:
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            transport._loop.call_soon_threadsafe(end)
            return
    end()


def _checked(
    protocol: EndpointProtocol, transport: DatagramTransport
) -> Callable[[Payload, Address | None], None]:
    """Return ``try_send`` for debug mode."""

    def try_send(data: Payload, addr: Address | None) -> None:
        protocol.check_loop()
        transport.try_send(data, addr)

    return try_send


async def recv_at_once(
    endpoint: Endpoint, wanted: int, *, poll: bool = False
) -> list[Any]:
    """Wait for one datagram, and return all queued ones, oldest first.

    Like :meth:`Endpoint.recv_many`, or :meth:`Endpoint.recv_messages`, for a consumer
    that works on a batch while it's in the processor's cache: from now on, one read
    brings about *wanted* datagrams, at most ``queue_size``, and nothing is added to
    what it brought. With *poll*, reads at once if nothing is queued, without waiting
    for the event loop.
    """
    protocol = endpoint._protocol
    wanted = protocol.inbox.at_once = min(wanted, protocol.inbox.capacity)
    if not endpoint._items or protocol.detour:
        if poll and not protocol.detour and (more := endpoint._transport.poll(wanted)):
            return more
        await protocol.turn()
    datagrams: list[Any] = protocol.inbox.take()
    protocol.resume_if_empty()
    return datagrams
