"""Broadcast: an endpoint that hears everybody, and is heard on every interface.

One socket, bound to every address, since on most systems one that is bound to a
single address hears no broadcast. It is never connected: answers come from addresses
that nobody has named. Which interfaces there are is looked at for each send.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Unpack

from ._endpoint.endpoint import Endpoint
from ._endpoint.fanout import FanoutEndpoint, SendOutcome
from ._endpoint.opening import Opening, adopt
from ._endpoint.options import Options, check
from ._errors import EndpointClosedError
from ._system import broadcasts
from ._system import interfaces as system_interfaces
from ._system.addresses import check_number
from ._system.group_address import Interfaces
from ._system.interfaces import Interface
from ._system.shared_port import open_shared
from ._types import Address, Datagram, Message, Payload

_SYSTEMS_CHOICE = Interface("", 0, (), (), frozenset())


def open_broadcast(
    port: int,
    *,
    interfaces: Interfaces = None,
    receive_own: bool = True,
    **options: Unpack[Options],
) -> Opening[BroadcastEndpoint]:
    """Open an endpoint that sends to everybody on the local networks, and hears them.

    The port is shared: any number of endpoints and other programs on this machine
    get each datagram that is broadcast to it. What is sent to one address of this
    machine and to that port goes to only one of them. There is broadcast over IPv4
    only.

    Args:
        port: The port to hear, and to send to; 0 lets the system choose.
        interfaces: Where to send out of: names, indexes or local addresses. Default:
            every interface that is up, knows broadcast and has an IPv4 address; the
            loopback interface if there is none. What is heard does not depend on it.
        receive_own: Whether to hear what is sent from this port of this machine,
            which is what this endpoint sends, and other programs that share the port.
        options: See :class:`aioudp.Options`. ``broadcast`` is always on.

    Raises:
        OSError: If the system refuses; the message says why. ENODEV: an interface is
            not there.
        TypeError: If an argument is of a wrong type, or an option is unknown.
        ValueError: If a number is out of range, or an option asks for what is not
            broadcast; with ``receive_own=False``, if this system does not tell the
            addresses of its interfaces.
    """
    check_number("port", port, 0, 0xFFFF)
    wanted = check_interfaces(interfaces)
    if not isinstance(receive_own, bool):
        raise TypeError(f"receive_own must be a bool, got {receive_own!r}")
    settings = check(options)
    if settings.family not in (0, socket.AF_INET):
        raise ValueError("family mismatch: there is broadcast over IPv4 only")
    if not options.get("broadcast", True):
        raise ValueError("broadcast=False: a broadcast endpoint has it on")
    rest = {key: options[key] for key in options if key not in _DECIDED}  # type: ignore[literal-required]

    async def open_() -> BroadcastEndpoint:
        if wanted is not None:
            system_interfaces.choose(wanted)
        sock = open_shared(socket.AF_INET, port, reuse_port=settings.reuse_port)
        try:
            endpoint = await adopt(sock, broadcast=True, **rest)
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
    """Return a copy of what may be given as *interfaces*.

    Raises:
        TypeError: If it is one interface, and no sequence of them.
    """
    if isinstance(interfaces, (str, int)):
        raise TypeError(f"interfaces must be a sequence, got {interfaces!r}")
    return None if interfaces is None else tuple(interfaces)


class BroadcastEndpoint(FanoutEndpoint):
    """An endpoint that broadcasts. Made by :func:`aioudp.open_broadcast`.

    It receives what is broadcast to its port, and what is sent to its own address and
    port, such as answers. Receiving, closing and looking are those of an
    :class:`~aioudp.Endpoint`.
    """

    __slots__ = ("_interfaces", "_own", "_port", "_receive_own", "_served")

    def __init__(
        self, endpoint: Endpoint, interfaces: Interfaces, *, receive_own: bool = True
    ) -> None:
        super().__init__(endpoint)
        self._interfaces = interfaces
        self._port = int(endpoint.local_addr[1])
        self._receive_own = receive_own
        self._served: set[int] = set()  # by index, of those that nobody named
        self._own: frozenset[Address] = frozenset()
        if receive_own:
            return
        self._note_own(system_interfaces.interfaces())
        if not self._own:
            raise ValueError("receive_own=False is not supported on this system")

    # -- sending

    async def send(self, data: Payload, port: int | None = None) -> list[SendOutcome]:
        """Send one datagram to everybody, out of each interface.

        It goes to the directed broadcast address of each network that an interface is
        on, and to 255.255.255.255 where there is none. The interfaces are those that
        the endpoint was opened with, as they are now. Waiting and cancelling are as in
        :meth:`Endpoint.send`, for each address.

        Args:
            data: The payload.
            port: Default: the endpoint's own port.

        Returns:
            One outcome for each address, in the order of the indexes of the interfaces
            or of *interfaces*. An interface that is down or gone is among them, with
            its error, and the others have been served.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            TypeError: If *data* is not bytes-like, or *port* not an int.
            ValueError: If *port* is not from 1 to 65535.
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
                send = self._sender(payload, addr, found.index)
                outcomes.append(await self._attempt(name, addr, send))
        return outcomes

    def _sender(self, payload: bytes, addr: Address, index: int) -> Callable[[], None]:
        prepared = self.transport.prepare([(payload, addr)])

        def send() -> None:
            if self.closed:
                raise EndpointClosedError
            with broadcasts.leaving_by(self.get_extra_info("socket"), index):
                self.transport.try_send_many(prepared)

        return send

    def _destinations(self) -> list[tuple[str, Interface | OSError]]:
        """Return where to send to now, each interface once.

        One that cannot be used is there with its error.
        """
        present = system_interfaces.interfaces()
        if not self._receive_own:
            self._note_own(present)
        if self._interfaces is None:
            return [system_interfaces.usable(link) for link in self._suitable(present)]
        return system_interfaces.look(self._interfaces, present)

    def _suitable(self, present: list[Interface]) -> list[Interface]:
        serving = {link.index for link in present if broadcasts.serves(link)}
        # What was served before and is down now is told, not forgotten.
        self._served = serving | self._served & {link.index for link in present}
        return (
            [link for link in present if link.index in self._served]
            or [link for link in present if link.flags >= {"up", "loopback"}]
            or [_SYSTEMS_CHOICE]
        )

    # -- receiving

    async def recv(self) -> Datagram:
        """Wait for the next datagram, as :meth:`Endpoint.recv` does."""
        while self._is_own(datagram := await self._endpoint.recv()):
            pass
        return datagram

    async def recv_many(self, max_datagrams: int | None = None) -> list[Datagram]:
        """Wait for one datagram and return all that are there, as
        :meth:`Endpoint.recv_many` does.
        """
        while True:
            datagrams = await self._endpoint.recv_many(max_datagrams)
            if heard := [one for one in datagrams if not self._is_own(one)]:
                return heard

    def recv_nowait(self) -> Datagram:
        """Return the next datagram without waiting, as :meth:`Endpoint.recv_nowait`
        does.
        """
        while self._is_own(datagram := self._endpoint.recv_nowait()):
            pass
        return datagram

    async def recv_message(self) -> Message:
        """Wait for the next datagram, as :meth:`Endpoint.recv_message` does.

        Among what the kernel tells is the interface that it came by.
        """
        while self._is_own(message := await self._endpoint.recv_message()):
            pass
        return message

    async def recv_messages(self, max_messages: int | None = None) -> list[Message]:
        """Wait for one datagram and return all that are there, as
        :meth:`Endpoint.recv_messages` does.
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
        """Keep the addresses that this machine sends from, as they are now."""
        self._own = frozenset(
            (host, self._port) for link in present for host in link.addresses
        )
