"""The endpoint: what a program holds in its hand.

It is a handle. The event loop keeps the transport and its protocol alive, and they do
not know the endpoint; so an endpoint that is forgotten is garbage collected, says so
with a ``ResourceWarning``, and closes. Receiving is the protocol's business, and
sending that of ``sending``; here is only the short way that every datagram takes when
nobody waits and nothing is wrong.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Self, TypeVar

from .._errors import EndpointClosedError
from .._system.addresses import check_number, public_address
from .._system.path_mtu import known_mtu
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport
from .._types import Address, Datagram, Message, NetworkError, Payload, Stats
from .closing import ClosedAtTheEnd
from .error_inbox import ErrorInbox
from .protocol import CHECKED, EndpointProtocol
from .sending import Sender, send_options

_TOP_UPS: Final = 2  # how often recv_many asks whether there is still more
_MOST: Final = 2**63 - 1  # datagrams at a time; more than any list holds

_T = TypeVar("_T")


class UntilClosed(AsyncIterator[_T]):
    """Iterates over what a call gives, until the endpoint is closed or drained."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None:
        self._call = call

    async def __anext__(self) -> _T:
        try:
            return await self._call()
        except EndpointClosedError:
            raise StopAsyncIteration from None


class Endpoint(ClosedAtTheEnd):
    """A UDP socket, or a UNIX datagram socket, to await on.

    Made by :func:`aioudp.bind`, :func:`aioudp.connect` and :func:`aioudp.adopt`.
    ``async with`` closes it at the end; ``async for`` iterates over the datagrams
    until it is closed or drained. Any number of tasks may use it at the same time. It
    belongs to the event loop, and so to the thread, in which it was opened; in
    asyncio's debug mode, calls from elsewhere raise :class:`RuntimeError`.

    No error closes an endpoint: after any exception but
    :class:`~aioudp.EndpointClosedError` it goes on working.
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
        self._items: deque[Datagram] = items  # in a subclass also messages
        self._packet_info = packet_info
        self._try_send: Callable[[Payload, Address | None], None] = transport.try_send
        if protocol.detour & CHECKED:
            self._try_send = _checked(protocol, transport)
        self._sender = Sender(transport)

    # -- receiving

    async def recv(self) -> Datagram:
        """Wait for the next datagram.

        Several tasks may wait at once; they are served first come, first served.
        Cancelling is safe: a datagram is either returned or stays queued. Wrap the
        call in :func:`asyncio.timeout` to bound the wait.

        Returns:
            The payload, ``b""`` for an empty datagram, and the sender's address.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call,
                or was drained and nothing is left.
            OSError: An error that the system reported instead of a datagram; on a
                connected endpoint :class:`ConnectionRefusedError` when the peer's
                host says that nobody listens there. Each is raised once. With the
                option ``icmp_errors`` :meth:`recv_error` tells of these instead.
            TruncatedError: If the next datagram was longer than the option
                ``max_datagram_size`` allows; it has the beginning. Raised once, in its
                place among the datagrams.
        """
        if self._items and not self._protocol.detour:
            return self._items.popleft()
        await self._protocol.turn()
        return self._items.popleft()

    async def recv_many(self, max_datagrams: int | None = None) -> list[Datagram]:
        """Wait for one datagram, and return all that are there, oldest first.

        Cheaper for each datagram than :meth:`recv`. Waiting, order among tasks and
        cancelling are as there.

        Args:
            max_datagrams: Return at most so many; ``None`` sets no limit.

        Raises:
            EndpointClosedError: As :meth:`recv`.
            OSError: As :meth:`recv`.
            TruncatedError: As :meth:`recv`. A truncated datagram that others stand
                before ends the list, and is raised by the next call.
            TypeError: If *max_datagrams* is not an int.
            ValueError: If *max_datagrams* is less than 1.
        """
        if max_datagrams is not None:
            check_number("max_datagrams", max_datagrams, 1, _MOST)
        protocol, inbox = self._protocol, self._protocol.inbox
        queued = bool(self._items) and not protocol.detour
        if not queued:
            await protocol.turn()
        datagrams: list[Any] = inbox.take(max_datagrams)
        # What else has arrived by now need not pass through the queue.
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
        protocol.resume_if_empty()
        return datagrams

    def recv_nowait(self) -> Datagram:
        """Return the next datagram without waiting.

        Raises:
            BlockingIOError: If there is none, or if other tasks are waiting for it.
            EndpointClosedError: As :meth:`recv`.
            OSError: As :meth:`recv`.
            TruncatedError: As :meth:`recv`.
        """
        self._protocol.turn_nowait()
        return self._items.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Datagram:
        if self._items and not self._protocol.detour:
            return self._items.popleft()
        try:
            await self._protocol.turn()
        except EndpointClosedError:
            raise StopAsyncIteration from None
        return self._items.popleft()

    # -- receiving with what the kernel knows

    async def recv_message(self) -> Message:
        """Wait for the next datagram, and return it with what the kernel knows of it.

        Waiting, order among tasks and cancelling are as for :meth:`recv`. A truncated
        datagram is returned like any other, with its mark.

        Raises:
            EndpointClosedError: As :meth:`recv`.
            OSError: As :meth:`recv`.
            ValueError: If the endpoint was opened without ``packet_info=True``.
        """
        self._check_packet_info()
        if not self._items or self._protocol.detour:
            await self._protocol.turn()
        messages: deque[Any] = self._items
        message: Message = messages.popleft()
        return message

    async def recv_messages(self, max_messages: int | None = None) -> list[Message]:
        """Wait for one datagram and return all that are there, as messages.

        It is to :meth:`recv_message` what :meth:`recv_many` is to :meth:`recv`.

        Args:
            max_messages: Return at most so many; ``None`` sets no limit.

        Raises:
            EndpointClosedError: As :meth:`recv_message`.
            OSError: As :meth:`recv_message`.
            TypeError: If *max_messages* is not an int.
            ValueError: As :meth:`recv_message`, and if *max_messages* is less than 1.
        """
        self._check_packet_info()
        messages: list[Any] = await Endpoint.recv_many(self, max_messages)
        return messages

    def messages(self) -> AsyncIterator[Message]:
        """Iterate over the datagrams as messages, until it is closed or drained.

        Each step is a :meth:`recv_message`.

        Raises:
            OSError: A step, as :meth:`recv_message`.
            ValueError: As :meth:`recv_message`.
        """
        self._check_packet_info()
        return UntilClosed(self.recv_message)

    def _check_packet_info(self) -> None:
        if not self._packet_info:
            raise ValueError("messages need an endpoint opened with packet_info=True")

    async def reply(self, message: Message, data: Payload) -> None:
        """Send a datagram back, from the address and interface that *message* came to.

        On a machine with several addresses, an endpoint that is bound to all of them
        would otherwise answer from the one that the routes prefer, which is not the
        one that was asked; the peer then takes the answer for somebody else's. Of what
        was sent to a group or by broadcast, the answer leaves from an address of the
        interface that it came by.

        Waiting, cancelling and errors are as for :meth:`send`.
        """
        local_addr = None if message.unicast is False else message.local_addr
        await self.send(
            data, message.addr, local_addr=local_addr, interface=message.interface
        )

    # -- what the network says of what was sent

    async def recv_error(self) -> NetworkError:
        """Wait for the next error that the network reports. Needs ``icmp_errors``.

        It tells where the datagram was going that failed, why, and who said so. At most
        ``queue_size`` errors are kept; older ones are dropped, and counted in
        ``stats().dropped_errors``. Waiting, order among tasks and cancelling are as in
        :meth:`recv`.

        That no error comes means nothing: routers and hosts limit how many they send,
        and firewalls drop them.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            ValueError: If the endpoint was opened without ``icmp_errors=True``.
        """
        return await self._errors().take()

    def errors(self) -> AsyncIterator[NetworkError]:
        """Iterate over these errors until the endpoint is closed.

        Each step is a :meth:`recv_error`.

        Raises:
            ValueError: If the endpoint was opened without ``icmp_errors=True``.
        """
        return UntilClosed(self._errors().take)

    def _errors(self) -> ErrorInbox:
        errors = self._protocol.errors
        if errors is None:
            raise ValueError("no errors are kept: open with icmp_errors=True")
        return errors

    def mtu(self, addr: Address | None = None) -> int | None:
        """Return the path MTU to *addr*, as far as the system knows it now.

        It never waits and sends nothing: until a datagram has been too long for a
        router, this is the MTU of the interface. The kernel forgets what it has learned
        after some time (Linux: 10 minutes).

        Args:
            addr: A numeric address; on a connected endpoint ``None``, or its peer.

        Returns:
            Bytes of a whole IP packet. The payload of a datagram is 28 bytes shorter
            over IPv4, 48 over IPv6. ``None`` where the system does not tell: that is
            everywhere but on Linux, and for UNIX sockets.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: If no way leads there.
            TypeError: If *addr* is not an address.
            ValueError: As :meth:`send`, and if *addr* is missing.
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
        """Send one datagram, or with *segment_size* one buffer as many datagrams.

        Returns when the kernel has taken it. While the kernel has no room, waits;
        several tasks that wait are served first come, first served. A task that sends
        without end lets the event loop run now and then.

        Cancelling a send that waits is safe: the datagram is not sent. With
        *segment_size*, the datagrams before the one that had to wait are out.

        Args:
            data: The payload. ``b""`` is an empty datagram.
            addr: The destination, numeric: look names up with :func:`aioudp.resolve`.
                On a connected endpoint ``None``, or the peer's own address.
            segment_size: Cut *data* into datagrams of so many bytes; the last may be
                shorter. Where the kernel has UDP_SEGMENT this is many times faster
                than single sends.
            local_addr, interface, tos, hop_limit: How this one is to leave, as in
                :class:`aioudp.SendOptions`. The socket stays as it is.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            OSError: What the system says of this very datagram (with *segment_size*:
                of the first one refused; those before it are out). Never what ICMP
                reports of an earlier one: that is raised by :meth:`recv`, or told by
                :meth:`recv_error`.
            TypeError: If *data* is not bytes-like or *addr* is not an address.
            ValueError: If *addr* is no numeric address, is of another family, is not
                the peer of a connected endpoint, or has a port out of range; if
                *segment_size* is less than 1; or if an option is refused by
                :class:`aioudp.SendOptions`, or is not to be had on this system.
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
        datagrams: Iterable[
            tuple[Payload, Address | None]
            | tuple[Payload, Address | None, SendOptions | None]
        ],
        *,
        local_addr: str | Address | None = None,
        interface: int | str | None = None,
        tos: int | None = None,
        hop_limit: int | None = None,
    ) -> None:
        """Send several datagrams, in order, in as few system calls as possible.

        Every datagram that the kernel takes goes out once; returns when it has them.
        Waits while the kernel has no room, and gives the event loop a turn now and
        then. When cancelled, the datagrams up to some point in the order are out.

        Args:
            datagrams: Pairs of payload and destination, ``None`` for the peer of a
                connected endpoint; or triples of these and a
                :class:`aioudp.SendOptions` that holds for this one alone.
            local_addr, interface, tos, hop_limit: How all the others are to leave, as
                in :class:`aioudp.SendOptions`. The socket stays as it is.

        If the iterable raises, what it gave before goes out, and its exception is
        raised. If the system had refused some of that, the :class:`SendManyError` is
        the exception's ``__context__``; so it is with the errors below.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            SendManyError: If the system refused some; all the others are out.
            TypeError: If one is not a pair, its payload not bytes-like or its
                destination not an address. Some of those before it may be out.
            ValueError: If a destination or an option is refused as in :meth:`send`.
                Some of the datagrams before it may be out.
        """
        self._protocol.check_loop()
        options = send_options(local_addr, interface, tos, hop_limit)
        await self._sender.send_many(datagrams, options)

    # -- ending

    def drain(self) -> AsyncIterator[Datagram]:
        """Stop receiving, without losing what has arrived. Idempotent.

        The kernel's receive buffer is read out, and after that nothing more is read.
        Tasks that wait in a receive call or iterate go on as before until everything
        has been handed over; then they end as if the endpoint were closed: ``async
        for`` stops, and the calls raise :class:`~aioudp.EndpointClosedError`. Sending
        works until the endpoint is closed, so everything can still be answered.

        The receive queue grows beyond ``queue_size`` for this, unless the ``overflow``
        policy is to discard. What arrives later stays in the kernel.

        Returns:
            An iterator over what is there, each step of which is a :meth:`recv`. It
            need not be used: other receive calls and iterations, such as
            :meth:`messages`, take from the same queue. On a closed endpoint, it is
            empty.
        """
        self._protocol.check_loop(waits=False)
        self._protocol.drain()
        return UntilClosed(self.recv)

    def close(self) -> None:
        """Close the endpoint at once. Idempotent.

        Every task that waits in a receive or send call gets
        :class:`~aioudp.EndpointClosedError`. Datagrams that nobody has taken are
        discarded, and counted in ``stats().dropped_close``; those that are still in the
        kernel's buffer are lost uncounted. To lose none, :meth:`drain` first. The port
        can be bound again at once (loop transport: after :meth:`aclose`).
        """
        self._protocol.check_loop(waits=False)
        self._protocol.close()
        # Not close(), which would first send what was given to transport.sendto.
        self._transport.abort()

    async def aclose(self) -> None:
        """Close the endpoint, and return when its port can be bound again. Idempotent.

        It discards what nobody has taken, as :meth:`close` does. Cancelling it does
        not undo the closing.
        """
        self.close()
        await self._transport.wait_closed()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = not self.closed
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if forgotten:
            _warn(f"unclosed endpoint {self!r}", ResourceWarning, source=self)
            self._protocol.close()
            self._transport.abort()

    # -- looking

    def stats(self) -> Stats:
        """Return what happened on this endpoint so far; also after it was closed."""
        stats, errors = self._transport.stats(), self._protocol.errors
        return replace(
            stats,
            dropped_queue=self._protocol.inbox.dropped,
            dropped_close=self._protocol.dropped_close,
            dropped_errors=stats.dropped_errors
            + (0 if errors is None else errors.dropped),
        )

    @property
    def local_addr(self) -> Address:
        """The address the endpoint is bound to; also after it was closed."""
        return public_address(self._transport.get_extra_info("sockname"))

    @property
    def remote_addr(self) -> Address | None:
        """The peer of a connected endpoint, else ``None``."""
        peer = self._transport.get_extra_info("peername")
        return None if peer is None else public_address(peer)

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
        """Return what the transport knows under *name*, or *default*.

        As in asyncio: ``"socket"``, ``"sockname"``, ``"peername"``. Also
        ``"offload"``: a dictionary of ``gso_segments`` (most datagrams of one train),
        ``gso_refused_for`` (a list of the addresses that refused a train and get the
        next 1,024 datagrams singly), ``gro`` and ``batchio``.
        """
        return self._transport.get_extra_info(name, default)

    @property
    def transport(self) -> DatagramTransport:
        """The transport below. It does not keep the endpoint open."""
        return self._transport

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_addr={self.local_addr!r}"
        peer = "" if self.remote_addr is None else f" remote_addr={self.remote_addr!r}"
        return f"<Endpoint {state}{peer}>"


async def send_step(endpoint: Endpoint, step: Callable[[], object]) -> None:
    """Make one exact send, *step*, in turn with all sends of *endpoint*.

    For endpoints that are built on another one, and have to set the socket up for each
    datagram. *step* is called once or more, until it doesn't raise BlockingIOError;
    then it returns ``None``.
    """
    endpoint._protocol.check_loop()
    await endpoint._sender.in_turn(step)


def _checked(
    protocol: EndpointProtocol, transport: DatagramTransport
) -> Callable[[Payload, Address | None], None]:
    """Return ``try_send`` for debug mode."""

    def try_send(data: Payload, addr: Address | None) -> None:
        protocol.check_loop()
        transport.try_send(data, addr)

    return try_send
