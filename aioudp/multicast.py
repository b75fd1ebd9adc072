"""Multicast: an endpoint that is in groups, and sends to them out of each interface.

One socket, bound to every address and not to the group: a socket that is bound to a
group is in no second one, and never hears the answers to what it asked, which come to
its own address. It hears only the groups that it has joined itself, because
``groups`` switches off what lets a Linux socket hear those of others.

A group is joined on interfaces, not on the machine, and those come and go. So each
membership keeps what the caller asked for, and every send looks at what there is now.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from ._endpoint.endpoint import Endpoint
from ._endpoint.fanout import FanoutEndpoint, SendOutcome
from ._endpoint.opening import Opening, adopt
from ._endpoint.options import Options, check
from ._errors import EndpointClosedError
from ._system import groups
from ._system import interfaces as system_interfaces
from ._system.addresses import check_number
from ._system.group_address import (
    GroupAddress,
    Interfaces,
    Target,
    is_group,
    parse_group,
)
from ._system.interfaces import Interface
from ._system.shared_port import open_shared
from ._types import Address, Payload


def open_multicast(
    group: GroupAddress,
    port: int,
    *,
    interfaces: Interfaces = None,
    source: str | None = None,
    ttl: int = 1,
    loop: bool = True,
    **options: Unpack[Options],
) -> Opening[MulticastEndpoint]:
    """Open an endpoint that is in a group, and sends to it.

    The port is shared: any number of endpoints and other programs on this machine
    get each datagram that is sent to the group. What is sent to one address of this
    machine and to that port goes to only one of them.

    Args:
        group: A multicast address. An IPv6 one may name its interface, as in
            ``"ff02::1234%eth0"``.
        port: The port of the group; 0 lets the system choose.
        interfaces: Where to join, and to send out of: names, indexes or local
            addresses. Default: every interface that is up, can multicast and has an
            address of the group's family; the loopback interface if there is none.
        source: Hear only what this address sends (source-specific, RFC 4607).
        ttl: How many links a datagram may cross, 0 to 255; 1 is this network only.
        loop: Whether sockets on this machine, this one included, get what this
            endpoint sends. On Windows: whether this one gets what others here send.
        options: See :class:`aioudp.Options`. ``family`` is the group's.

    Raises:
        OSError: If the system refuses; the message says what to do. ENODEV: an
            interface is not there.
        TypeError: If an argument is of a wrong type, or an option is unknown.
        ValueError: If *group* is no multicast address, *source* none of the same
            family, or a number is out of range.
    """
    target = parse_group(group, interfaces, source)
    check_number("port", port, 0, 0xFFFF)
    check_number("ttl", ttl, 0, 255)
    if not isinstance(loop, bool):
        raise TypeError(f"loop must be a bool, got {loop!r}")
    settings = check(options)
    if settings.family not in (0, target.family):
        raise ValueError(f"family mismatch: the group is {target.host}")
    rest = {key: options[key] for key in options if key not in _DECIDED}  # type: ignore[literal-required]

    async def open_() -> MulticastEndpoint:
        sock = open_shared(target.family, port, reuse_port=settings.reuse_port)
        try:
            groups.set_up(sock, ttl=ttl, loop=loop)
            endpoint = await adopt(sock, **rest)
        except BaseException:
            sock.close()
            raise
        opened = MulticastEndpoint(endpoint, target)
        try:
            opened._join_all(target)
        except BaseException:
            await opened.aclose()
            raise
        return opened

    return Opening(open_)


_DECIDED = ("family", "reuse_port")  # by the socket, once it is there


@dataclass(slots=True)
class _Membership:
    """One group, from everybody or from one source."""

    wanted: list[Interfaces] = field(default_factory=list)  # one item for each join
    joined: set[int] = field(default_factory=set)  # interfaces, by index
    left: set[int] = field(default_factory=set)  # by name, so not to be joined again


class MulticastEndpoint(FanoutEndpoint):
    """An endpoint that is in multicast groups. Made by :func:`aioudp.open_multicast`.

    It receives what is sent to its groups, and what is sent to its own address and
    port, such as answers. Receiving, closing and looking are those of an
    :class:`~aioudp.Endpoint`. Closing leaves the groups.
    """

    __slots__ = ("_memberships", "_port", "_target")

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        super().__init__(endpoint)
        self._target = target
        self._port = int(endpoint.local_addr[1])
        self._memberships: dict[tuple[str, str | None], _Membership] = {}

    # -- groups

    def join(
        self,
        group: GroupAddress,
        *,
        source: str | None = None,
        interfaces: Interfaces = None,
    ) -> None:
        """Join another group, or a group on more interfaces or from more sources.

        It is joined on all the interfaces, or on none. With ``interfaces=None``, those
        that come later are joined when something is sent.

        Args:
            group: As for :func:`aioudp.open_multicast`, of the same family.
            source: Hear only what this address sends, and other sources joined.
            interfaces: Default: those that the endpoint was opened with.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: EADDRINUSE if it is joined already, ENODEV if an interface is
                not there, ENOBUFS if the socket is in as many groups as the system
                allows.
            TypeError: If an argument is of a wrong type.
            ValueError: As :func:`aioudp.open_multicast`.
        """
        self._join_all(self._parse(group, source, interfaces))

    def _join_all(self, target: Target) -> None:
        joined: list[int] = []
        try:
            for link in _links(target, system_interfaces.interfaces()):
                try:
                    self._join(target, link)
                except OSError as exc:
                    if target.interfaces is None and exc.errno == errno.ENODEV:
                        continue  # gone since it was listed; nobody named it
                    raise
                joined.append(link.index)
            if not joined:
                raise OSError(errno.ENODEV, "there is no interface to join a group on")
        except OSError:
            for index in joined:
                groups.leave(self._socket, target.host, index, target.source)
            raise
        membership = self._memberships.setdefault(
            (target.host, target.source), _Membership()
        )
        membership.wanted.append(target.interfaces)
        membership.joined.update(joined)

    def leave(
        self,
        group: GroupAddress,
        *,
        source: str | None = None,
        interfaces: Interfaces = None,
    ) -> None:
        """Leave a group, as it was joined: with the same source, or without one.

        Args:
            group: As for :meth:`join`.
            source: The source that was joined.
            interfaces: Leave it on these. Default: wherever it is joined.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: EADDRNOTAVAIL if it is not joined, ENODEV if an interface is not
                there.
            TypeError: If an argument is of a wrong type.
            ValueError: As :func:`aioudp.open_multicast`.
        """
        target = self._parse(group, source, interfaces, inherit=False)
        key = target.host, target.source
        membership = self._memberships.get(key, _Membership())
        if target.interfaces is not None:
            links = _links(target, system_interfaces.interfaces())
            indexes = [link.index for link in links]
        elif membership.joined:
            indexes = sorted(membership.joined)
        else:
            raise groups.not_joined(target.host, target.source)
        for index in indexes:
            groups.leave(self._socket, target.host, index, target.source)
            membership.joined.discard(index)
            membership.left.add(index)
        if not membership.joined:
            self._memberships.pop(key, None)

    # -- sending

    async def send(
        self, data: Payload, *, group: GroupAddress | None = None
    ) -> list[SendOutcome]:
        """Send one datagram to a group, out of each interface.

        The interfaces are those that the endpoint was opened with, as they are now:
        one that has come since is used, and its groups are joined. Waiting and
        cancelling are as in :meth:`Endpoint.send`, for each interface.

        Args:
            data: The payload.
            group: Default: the group that the endpoint was opened with. Another one
                need not be joined. The port is the same.

        Returns:
            One outcome for each interface, in the order of their indexes or of
            *interfaces*. An interface that is down or gone is among them, with its
            error, and the others have been served. Empty if there is no interface.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            TypeError: If *data* is not bytes-like.
            ValueError: If *group* is no multicast address of the same family.
        """
        target = self._target if group is None else self._parse(group, None, None)
        payload = data if type(data) is bytes else bytes(memoryview(data))
        outcomes = []
        for name, found in self._refreshed(target):
            index = found.index if isinstance(found, Interface) else 0
            addr = _address_of(target, self._port, index)
            if isinstance(found, OSError):
                outcomes.append(SendOutcome(name, addr, found))
            else:
                send = self._sender(payload, addr, index)
                outcomes.append(await self._attempt(name, addr, send))
        return outcomes

    async def send_to(self, data: Payload, addr: Address) -> None:
        """Send one datagram to one address, as :meth:`Endpoint.send` does.

        This is how to answer only the one who asked.

        Raises:
            ValueError: If *addr* is a group: :meth:`send` chooses the interfaces.
        """
        if isinstance(addr, tuple) and addr and is_group(addr[0]):
            raise ValueError(f"{addr!r} is a group; use send() with group=")
        await super().send_to(data, addr)

    def _sender(self, payload: bytes, addr: Address, index: int) -> Callable[[], None]:
        prepared = self.transport.prepare([(payload, addr)])

        def send() -> None:
            self._check_open()
            # Set and used in one step, so that no other send comes in between.
            groups.send_through(self._socket, index)
            self.transport.try_send_many(prepared)

        return send

    # -- interfaces

    def _refreshed(self, target: Target) -> list[tuple[str, Interface | OSError]]:
        """Return where to send to now, once the groups are joined where they can be.

        An interface that cannot be used is in the list with its error.
        """
        self._check_open()
        links = system_interfaces.interfaces()
        present = {link.index: link for link in links}
        for (host, source), membership in self._memberships.items():
            for index in membership.joined - present.keys():
                with contextlib.suppress(OSError):  # or it would count for ever
                    groups.leave(self._socket, host, index, source)
            membership.joined &= present.keys()
            membership.left &= present.keys()
            for wanted in membership.wanted:
                missing = Target(target.family, host, wanted, source)
                self._join_where_missing(missing, membership, links)
        if target.interfaces is not None:
            return system_interfaces.look(target.interfaces, links)
        known = {link.index: link for link in _links(target, links)}
        for (host, _), membership in self._memberships.items():
            if host == target.host:
                # What was served before and is down now is told, not forgotten.
                known |= {index: present[index] for index in membership.joined}
        return [system_interfaces.usable(known[index]) for index in sorted(known)]

    def _join_where_missing(
        self, target: Target, membership: _Membership, present: Sequence[Interface]
    ) -> None:
        try:
            links = _links(target, present)
        except OSError:  # one that was named is away; the outcome of the send says so
            return
        for link in links:
            if link.index not in membership.joined | membership.left:
                with contextlib.suppress(OSError):
                    self._join(target, link)
                    membership.joined.add(link.index)

    def _join(self, target: Target, link: Interface) -> None:
        """Join on one interface, unless the group is joined there from everybody.

        Linux would go over to hearing the one source alone, without a word.
        """
        everybody = self._memberships.get((target.host, None))
        if target.source and everybody and link.index in everybody.joined:
            raise OSError(
                errno.EADDRINUSE,
                f"{target.host} is joined on {link.name} from everybody; leave it "
                f"before joining it from {target.source}",
            )
        groups.join(self._socket, target.host, link.index, target.source)

    # -- small things

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self.get_extra_info("socket")
        return sock

    def _check_open(self) -> None:
        if self.closed:
            raise EndpointClosedError

    def _parse(
        self,
        group: GroupAddress,
        source: str | None,
        interfaces: Interfaces,
        *,
        inherit: bool = True,
    ) -> Target:
        """Check the arguments of a call; *inherit* the endpoint's own interfaces."""
        target = parse_group(group, interfaces, source)
        if target.family != self._target.family:
            raise ValueError(
                f"family mismatch: {target.host} and {self._target.host} are not of "
                "one family"
            )
        self._check_open()
        if inherit and target.interfaces is None:
            return target._replace(interfaces=self._target.interfaces)
        return target


def _links(target: Target, present: Sequence[Interface]) -> list[Interface]:
    """Return the interfaces asked for, or all that are suitable."""
    if target.interfaces is not None:
        return system_interfaces.choose(target.interfaces, present)
    links = [link for link in present if _serves(link, target.family)]
    return [link for link in links if "loopback" not in link.flags] or links


def _serves(link: Interface, family: int) -> bool:
    """Tell whether multicast of *family* can go out of an interface."""
    # Linux' loopback interface can, though it does not say so.
    can = "up" in link.flags and ("multicast" in link.flags or "loopback" in link.flags)
    return can and any(
        (":" in addr) == (family == socket.AF_INET6) for addr in link.addresses
    )


def _address_of(target: Target, port: int, index: int) -> Address:
    if target.family == socket.AF_INET6:
        return target.host, port, 0, index
    return target.host, port
