"""Multicast: an endpoint that joins groups, and sends to them on every interface.

It has one socket, bound to every address rather than to the group: a socket bound to a
group can't receive a second one, and never gets replies, which go to its own address.
It receives only the groups that it has joined itself, because ``groups`` clears the
option that lets a Linux socket receive other sockets' groups.

A group is joined on interfaces, which come and go. So each membership stores the
interfaces that the caller requested, and every send looks up the current ones.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
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
from ._transports.base import Prepared
from ._types import Address, IPAddress, Payload


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
    """Open an endpoint that joins a multicast group and can send to it.

    The port is shared: any number of endpoints and other programs on this machine
    get each datagram that is sent to the group. A datagram sent to one of the machine's
    own addresses on that port reaches only one of them.

    Args:
        group: A multicast address. An IPv6 one may include its interface, as in
            ``"ff02::1234%eth0"``.
        port: The group's port; 0 lets the system choose.
        interfaces: The interfaces to join and send on: names, indexes or local
            addresses. Default: every interface that is up, supports multicast and has
            an address of the group's family; the loopback interface if there is none.
        source: Receive only datagrams from this address (source-specific, RFC 4607).
        ttl: The number of links a datagram may cross, 0 to 255; 1 is the local
            network.
        loop: Whether sockets on this machine, including this one, receive this
            endpoint's datagrams. On Windows: whether this endpoint receives datagrams
            from this machine.
        options: See :class:`aioudp.Options`. ``family`` is the group's.

    Raises:
        OSError: If the system refuses; the message explains what to do. ENODEV: an
            interface doesn't exist.
        TypeError: If an argument has the wrong type, or an option is unknown.
        ValueError: If *group* isn't a multicast address, *source* isn't an address of
            the same family, or a number is out of range.
    """
    target = parse_group(group, interfaces, source)
    check_number("port", port, 0, 0xFFFF)
    check_number("ttl", ttl, 0, 255)
    if not isinstance(loop, bool):
        raise TypeError(f"loop must be a bool, got {loop!r}")
    settings = check(options, open_multicast)
    if settings.family not in (0, target.family):
        raise ValueError(f"family mismatch: the group is {target.host}")
    remaining = {key: options[key] for key in options if key not in _DECIDED}  # type: ignore[literal-required]

    async def open_() -> MulticastEndpoint:
        sock = open_shared(target.family, port, reuse_port=settings.reuse_port)
        try:
            groups.set_up(sock, ttl=ttl, loop=loop)
            endpoint = await adopt(sock, **remaining)
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
    """One group, from all sources or from one."""

    wanted: list[Interfaces] = field(default_factory=list)  # one item per join
    joined: set[int] = field(default_factory=set)  # indexes of interfaces
    left: set[int] = field(default_factory=set)  # left explicitly: don't join again


class MulticastEndpoint(FanoutEndpoint):
    """An endpoint for multicast, created by :func:`aioudp.open_multicast`.

    It receives datagrams sent to its groups, and to its own address and port, such as
    replies. Methods that receive, close or return information behave like those of
    :class:`~aioudp.Endpoint`. Closing it leaves the groups.
    """

    __slots__ = ("_memberships", "_port", "_target")

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        super().__init__(endpoint)
        self._target = target
        self._port = endpoint.port
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

        Joins on all the interfaces, or on none. With ``interfaces=None``, interfaces
        that appear later are joined by the next send.

        Args:
            group: As in :func:`aioudp.open_multicast`, of the same family.
            source: Receive only from this address, and from other joined sources.
            interfaces: Default: those that the endpoint was opened with.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: EADDRINUSE if the group is already joined, ENODEV if an interface
                doesn't exist, ENOBUFS if the socket has joined as many groups as the
                system allows.
            TypeError: If an argument has the wrong type.
            ValueError: As in :func:`aioudp.open_multicast`.
        """
        self._join_all(self._parse(group, source, interfaces))

    def _join_all(self, target: Target) -> None:
        joined: list[int] = []
        try:
            for link in _links(target, self._present()):
                try:
                    self._join(target, link)
                except OSError as exc:
                    if target.interfaces is None and exc.errno == errno.ENODEV:
                        continue  # gone since it was listed, and not requested by name
                    raise
                joined.append(link.index)
            if not joined:
                raise OSError(errno.ENODEV, "no interface to join a group on")
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
        """Leave a group, with the same source (or none) with which it was joined.

        Args:
            group: As in :meth:`join`.
            source: The source that was joined.
            interfaces: Leave the group on these. Default: wherever it's joined.

        Raises:
            EndpointClosedError: If the endpoint is closed.
            OSError: EADDRNOTAVAIL if the group isn't joined, ENODEV if an interface
                doesn't exist.
            TypeError: If an argument has the wrong type.
            ValueError: As in :func:`aioudp.open_multicast`.
        """
        target = self._parse(group, source, interfaces, inherit=False)
        key = target.host, target.source
        membership = self._memberships.get(key, _Membership())
        if target.interfaces is not None:
            links = _links(target, self._present())
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
        """Send one datagram to a group, on every interface.

        Uses the interfaces that the endpoint was opened with, in their current state:
        new ones are used, and the groups are joined on them. Waits and can be cancelled
        like :meth:`Endpoint.send`, for each interface.

        Args:
            data: The payload.
            group: Default: the group that the endpoint was opened with. Another group
                doesn't need to be joined. The port is the same.

        Returns:
            One outcome per interface, in the order of their indexes or of
            *interfaces*. If an interface is down or gone, its outcome contains the
            error; the datagram is still sent on the others. Empty if there are no
            interfaces.

        Raises:
            EndpointClosedError: If the endpoint is closed, before or during the call.
            TypeError: If *data* isn't bytes-like.
            ValueError: If *group* isn't a multicast address of the same family.
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
                prepared = self.transport.prepare([(payload, addr)])
                step = partial(self._send_through, index, prepared)
                outcomes.append(await self._attempt(name, addr, step))
        return outcomes

    async def send_to(self, data: Payload, addr: Address) -> None:
        """Send one datagram to one address, like :meth:`Endpoint.send`.

        Use it to answer a single peer.

        Raises:
            ValueError: If *addr* is a group: use :meth:`send`, which chooses the
                interfaces.
        """
        if isinstance(addr, tuple) and addr and is_group(addr[0]):
            raise ValueError(f"{addr!r} is a group; use send() with group=")
        await super().send_to(data, addr)

    def _send_through(self, index: int, prepared: Prepared) -> None:
        """Set the interface and send, in one step that no other send can divide."""
        self._check_open()
        groups.send_through(self._socket, index)
        self.transport.try_send_many(prepared)

    # -- interfaces

    def _refreshed(self, target: Target) -> list[tuple[str, Interface | OSError]]:
        """Join the groups on new interfaces; return the interfaces to send on, by name.

        An unusable interface is replaced by its error.
        """
        self._check_open()
        links = self._present()
        present = {link.index: link for link in links}
        for (host, source), membership in self._memberships.items():
            for index in membership.joined - present.keys():
                with contextlib.suppress(OSError):  # or it counts against the limit
                    groups.leave(self._socket, host, index, source)
            membership.joined &= present.keys()
            membership.left &= present.keys()
            for wanted in membership.wanted:
                # One by one: one that is gone must not keep the others from joining.
                for part in [None] if wanted is None else [[one] for one in wanted]:
                    missing = Target(target.family, host, part, source)
                    self._join_where_missing(missing, membership, links)
        if target.interfaces is not None:
            return system_interfaces.look(target.interfaces, links)
        known = {link.index: link for link in _links(target, links)}
        for (host, _), membership in self._memberships.items():
            if host == target.host:
                # Keep interfaces that went down, so that their outcome has the error.
                known |= {index: present[index] for index in membership.joined}
        return [system_interfaces.usable(known[index]) for index in sorted(known)]

    def _join_where_missing(
        self, target: Target, membership: _Membership, present: Sequence[Interface]
    ) -> None:
        try:
            links = _links(target, present)
        except OSError:  # a requested one is gone; its outcome contains the error
            return
        for link in links:
            if link.index not in membership.joined | membership.left:
                with contextlib.suppress(OSError):
                    self._join(target, link)
                    membership.joined.add(link.index)

    def _join(self, target: Target, link: Interface) -> None:
        """Join on one interface, unless the group is joined there from all sources.

        In that case, Linux would silently switch to receiving from one source only.
        """
        everybody = self._memberships.get((target.host, None))
        if target.source and everybody and link.index in everybody.joined:
            raise OSError(
                errno.EADDRINUSE,
                f"{target.host} is joined on {link.name} from all sources; leave it "
                f"before joining it from {target.source}",
            )
        groups.join(self._socket, target.host, link.index, target.source)

    # -- helpers

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self.get_extra_info("socket")
        return sock

    def _present(self) -> list[Interface]:
        return system_interfaces.interfaces_beside(self._socket)

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
                f"family mismatch: {target.host} and {self._target.host} are of "
                "different families"
            )
        self._check_open()
        if inherit and target.interfaces is None:
            return target._replace(interfaces=self._target.interfaces)
        return target


def _links(target: Target, present: Sequence[Interface]) -> list[Interface]:
    """Return the requested interfaces, or all suitable ones."""
    if target.interfaces is not None:
        return system_interfaces.choose(target.interfaces, present)
    links = [link for link in present if _serves(link, target.family)]
    return [link for link in links if "loopback" not in link.flags] or links


def _serves(link: Interface, family: int) -> bool:
    """Return whether an interface can send multicast of *family*."""
    # Linux' loopback interface can, although it doesn't have the flag.
    can = "up" in link.flags and ("multicast" in link.flags or "loopback" in link.flags)
    return can and any(
        (":" in addr) == (family == socket.AF_INET6) for addr in link.addresses
    )


def _address_of(target: Target, port: int, index: int) -> IPAddress:
    if target.family == socket.AF_INET6:
        return target.host, port, 0, index
    return target.host, port
