"""Broadcast: an endpoint that sends and receives broadcasts on every interface.

It has one socket, bound to every address, because on most systems a socket bound to a
single address doesn't receive broadcasts. The socket is never connected, because
replies come from unknown addresses. Each send looks up the current interfaces.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Unpack

from ._endpoint.endpoint import Endpoint
from ._endpoint.fanout import FanoutEndpoint, SendOutcome
from ._endpoint.opening import Opening, adopt
from ._endpoint.options import Options, check
from ._errors import EndpointClosedError
from ._system import broadcasts
from ._system import interfaces as system_interfaces
from ._system.addresses import check_number
from ._system.datagram_batch import DatagramBatch
from ._system.group_address import Interfaces
from ._system.interfaces import Interface
from ._system.shared_port import open_shared
from ._transports.base import Prepared
from ._types import Datagram, IPAddress, Message, Payload

_SYSTEMS_CHOICE = Interface("", 0, (), (), frozenset())


def open_broadcast(
    port: int,
    *,
    interfaces: Interfaces = None,
    receive_own: bool = True,
    **options: Unpack[Options],
) -> Opening[BroadcastEndpoint]:
    """Open an endpoint that sends broadcasts to the local networks and receives them.

    The port is shared: any number of endpoints and other programs on this machine
    get each datagram that is broadcast to it. A datagram sent to one of the machine's
    own addresses on that port reaches only one of them. Only IPv4 has broadcast.

    Args:
        port: The port to receive on, and to send to; 0 lets the system choose.
        interfaces: The interfaces to send on: names, indexes or local addresses.
            Default: every interface that is up, supports broadcast and has an IPv4
            address; the loopback interface if there is none. Doesn't affect receiving.
        receive_own: Whether to receive datagrams sent from this port on this machine,
            that is, by this endpoint and by other programs that share the port.
        options: See :class:`aioudp.Options`. ``broadcast`` is always on.

    Raises:
        OSError: If the system refuses; the message gives the reason. ENODEV: an
            interface doesn't exist.
        TypeError: If an argument has the wrong type, or an option is unknown.
        ValueError: If a number is out of range, or an option contradicts broadcast;
            with ``receive_own=False``, if the addresses of the interfaces are unknown
            on this system.
    """
    check_number("port", port, 0, 0xFFFF)
    wanted = check_interfaces(interfaces)
    if not isinstance(receive_own, bool):
        raise TypeError(f"receive_own must be a bool, got {receive_own!r}")
    settings = check(options, open_broadcast)
    if settings.family not in (0, socket.AF_INET):
        raise ValueError("family mismatch: only IPv4 has broadcast")
    if not options.get("broadcast", True):
        raise ValueError("broadcast endpoints don't support broadcast=False")
    remaining = {key: options[key] for key in options if key not in _DECIDED}  # type: ignore[literal-required]

    async def open_() -> BroadcastEndpoint:
        if wanted is not None:
            system_interfaces.choose(wanted)
        sock = open_shared(socket.AF_INET, port, reuse_port=settings.reuse_port)
        try:
            endpoint = await adopt(sock, broadcast=True, **remaining)
        except BaseException:
            sock.close()
            raise
        try:
            return BroadcastEndpoint(endpoint, wanted, receive_own=receive_own)
        except BaseException:
            await endpoint.aclose()
            raise

    return Opening(open_)


_DECIDED = ("broadcast", "family", "reuse_port")  # by the socket, once it is there


def check_interfaces(interfaces: Interfaces) -> Interfaces:
    """Return a copy of the argument *interfaces*.

    Raises:
        TypeError: If it's a single interface instead of a sequence.
    """
    if isinstance(interfaces, (str, int)):
        raise TypeError(f"interfaces must be a sequence, got {interfaces!r}")
    return None if interfaces is None else tuple(interfaces)


class BroadcastEndpoint(FanoutEndpoint):
    """An endpoint for broadcast, created by :func:`aioudp.open_broadcast`.

    It receives broadcasts to its port, and datagrams sent to its own address and port,
    such as replies. Methods that receive, close or return information behave like those
    of :class:`~aioudp.Endpoint`.
    """

    __slots__ = ("_interfaces", "_own", "_port", "_receive_own", "_served")

    def __init__(
        self, endpoint: Endpoint, interfaces: Interfaces, *, receive_own: bool = True
    ) -> None:
        super().__init__(endpoint)
        self._interfaces = interfaces
        self._port = endpoint.port
        self._receive_own = receive_own
        self._served: set[int] = set()  # indexes of interfaces used by default
        self._own: frozenset[IPAddress] = frozenset()
        if receive_own:
            return
        self._note_own(self._present())
        if not self._own:
            raise ValueError("receive_own=False is not supported on this system")

    # -- sending

    async def send(self, data: Payload, port: int | None = None) -> list[SendOutcome]:
        """Broadcast one datagram on every interface.

        Sends to the directed broadcast address of each of an interface's networks, or
        to 255.255.255.255 if it has none. Uses the interfaces that the endpoint was
        opened with, in their current state. Waits and can be cancelled like
        :meth:`Endpoint.send`, for each address.

        Args:
            data: The payload.
            port: The destination port. Default: the endpoint's own port.

        Returns:
            One outcome per address, in the order of the interfaces' indexes or of
            *interfaces*. If an interface is down or gone, its outcome contains the
            error; the datagram is still sent on the others.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            TypeError: If *data* isn't bytes-like, or *port* isn't an int.
            ValueError: If *port* isn't from 1 to 65535.
        """
        port = self._port if port is None else port
        check_number("port", port, 1, 0xFFFF)
        payload = data if type(data) is bytes else bytes(memoryview(data))
        if self.closed:
            raise EndpointClosedError
        outcomes = []
        for name, found in self._destinations():
            if isinstance(found, OSError):
                addr = (broadcasts.LIMITED, port)
                outcomes.append(SendOutcome(name, addr, found))
                continue
            for host in broadcasts.addresses_of(found):
                addr = host, port
                prepared = self.transport.prepare([(payload, addr)])
                step = partial(self._send_through, found.index, prepared)
                outcomes.append(await self._attempt(name, addr, step))
        return outcomes

    def _send_through(self, index: int, prepared: Prepared) -> None:
        """Choose the interface and send, in one step that no other send can divide."""
        if self.closed:
            raise EndpointClosedError
        with broadcasts.leaving_by(self.get_extra_info("socket"), index):
            self.transport.try_send_many(prepared)

    def _destinations(self) -> list[tuple[str, Interface | OSError]]:
        """Return the interfaces to send on, each once, by name.

        An unusable interface is replaced by its error.
        """
        present = self._present()
        if not self._receive_own:
            self._note_own(present)
        if self._interfaces is None:
            return [system_interfaces.usable(link) for link in self._suitable(present)]
        return system_interfaces.look(self._interfaces, present)

    def _present(self) -> list[Interface]:
        sock = self.get_extra_info("socket")
        return system_interfaces.interfaces_beside(sock)

    def _suitable(self, present: list[Interface]) -> list[Interface]:
        serving = {link.index for link in present if broadcasts.serves(link)}
        # Keep interfaces that went down, so that their outcome contains the error.
        self._served = serving | self._served & {link.index for link in present}
        return (
            [link for link in present if link.index in self._served]
            or [link for link in present if link.flags >= {"up", "loopback"}]
            or [_SYSTEMS_CHOICE]
        )

    # -- receiving

    async def recv(self) -> Datagram:
        """Wait for the next datagram, like :meth:`Endpoint.recv`."""
        while self._is_own(datagram := await self._endpoint.recv()):
            pass
        return datagram

    async def recv_many(self, max_datagrams: int | None = None) -> list[Datagram]:
        """Wait for one datagram and return all available ones, like
        :meth:`Endpoint.recv_many`.
        """
        while True:
            datagrams = await self._endpoint.recv_many(max_datagrams)
            if heard := [one for one in datagrams if not self._is_own(one)]:
                return heard

    async def recv_batch(
        self,
        max_datagrams: int | None = None,
        *,
        into: DatagramBatch[Any] | None = None,
    ) -> DatagramBatch:
        """Wait for one datagram and return all available ones in columns, like
        :meth:`Endpoint.recv_batch`.

        With ``receive_own=False``, own datagrams are removed from it.
        """
        while True:
            into = await self._endpoint.recv_batch(max_datagrams, into=into)
            if not self._receive_own:
                into._leave_out(self._own)
            if into:
                return into

    def recv_nowait(self) -> Datagram:
        """Return the next datagram without waiting, like
        :meth:`Endpoint.recv_nowait`.
        """
        while self._is_own(datagram := self._endpoint.recv_nowait()):
            pass
        return datagram

    async def recv_message(self) -> Message:
        """Wait for the next message, like :meth:`Endpoint.recv_message`.

        It includes the interface on which the datagram arrived.
        """
        while self._is_own(message := await self._endpoint.recv_message()):
            pass
        return message

    async def recv_messages(self, max_messages: int | None = None) -> list[Message]:
        """Wait for one message and return all available ones, like
        :meth:`Endpoint.recv_messages`.
        """
        while True:
            messages = await self._endpoint.recv_messages(max_messages)
            if heard := [one for one in messages if not self._is_own(one)]:
                return heard

    async def __anext__(self) -> Datagram:
        while self._is_own(datagram := await self._endpoint.__anext__()):
            pass
        return datagram

    def _is_own(self, datagram: Datagram | Message) -> bool:
        return not self._receive_own and datagram.addr in self._own

    def _note_own(self, present: list[Interface]) -> None:
        """Store this machine's current addresses."""
        self._own = frozenset(
            (host, self._port) for link in present for host in link.addresses
        )
