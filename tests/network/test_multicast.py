"""Multicast between hosts: who hears a group, and by which links a datagram leaves."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import pytest

import aioudp
from aioudp._system import interfaces as system_interfaces

from .links import DEVICE, FAR, FAR_LOCAL, HAS_IPV6, Link
from .namespaces import Namespace
from .traffic import END

_OTHER_DEVICE: Final = "veth1"
_GROUP: Final = {AF_INET: "239.1.2.3", AF_INET6: "ff15::1234"}
_OTHER_GROUP: Final = {AF_INET: "239.1.2.4", AF_INET6: "ff15::4321"}
_LOCAL_GROUP: Final = "ff02::1234"  # of one link: RFC 4291, section 2.7
_SECOND: Final = {AF_INET: "192.0.2.12", AF_INET6: "2001:db8::12"}
_PATIENCE: Final = 5  # seconds

needs_ipv6 = pytest.mark.skipif(
    not HAS_IPV6, reason="cannot: ipv6: this kernel does not have it"
)


class Member:
    """A plain socket in a namespace, in a group on one device."""

    def __init__(
        self, where: Namespace, family: AddressFamily, port: int, device: str = DEVICE
    ) -> None:
        self.index = where.index(device)
        with where.entered():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("", port))
        self.family = family
        self.send_through(self.socket)

    def send_through(self, sock: socket.socket) -> None:
        """Have a socket send what goes to groups over this member's link."""
        if self.family == AF_INET6:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF
            request = struct.pack("@i", self.index)
        else:
            level, option = socket.IPPROTO_IP, socket.IP_MULTICAST_IF
            request = struct.pack("@4s4si", bytes(4), bytes(4), self.index)
        sock.setsockopt(level, option, request)

    def join(self, group: str) -> None:
        packed = socket.inet_pton(self.family, group)
        if self.family == AF_INET6:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP
            request = packed + struct.pack("@i", self.index)
        else:
            level, option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP
            request = packed + bytes(4) + struct.pack("@i", self.index)
        self.socket.setsockopt(level, option, request)

    async def recvfrom(self) -> tuple[bytes, Any]:
        async with asyncio.timeout(_PATIENCE):
            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(self.socket, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self.socket)
            return self.socket.recvfrom(2048)

    async def recv(self) -> bytes:
        return (await self.recvfrom())[0]


class Members:
    """Makes members, and closes them all."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self,
        where: Namespace,
        family: AddressFamily,
        port: int,
        *groups: str,
        device: str = DEVICE,
    ) -> Member:
        member = Member(where, family, port, device)
        self._stack.callback(member.socket.close)
        for group in groups:
            member.join(group)
        return member


@pytest.fixture
def members() -> Iterator[Members]:
    """Make plain sockets that are in groups."""
    with ExitStack() as stack:
        yield Members(stack)


def port_of(endpoint: aioudp.MulticastEndpoint) -> int:
    return int(endpoint.local_addr[1])


async def take(endpoint: aioudp.MulticastEndpoint) -> aioudp.Datagram:
    async with asyncio.timeout(_PATIENCE):
        return await endpoint.recv()


def told(outcomes: list[aioudp.SendOutcome]) -> dict[str, int | None]:
    """Return the number of each interface's error, ``None`` where there is none."""
    return {
        one.interface: None if one.error is None else one.error.errno
        for one in outcomes
    }


# -- one link


async def test_to_and_from_another_host(
    link: Link, members: Members, family: AddressFamily, transport: Any
) -> None:
    """Both hear what the other sends to the group, and the answer to the one address.

    B206.
    """
    group = _GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        far = members(link.far, family, port_of(endpoint), group)

        assert told(await endpoint.send(b"question")) == {DEVICE: None}
        data, addr = await far.recvfrom()
        far.socket.sendto(b"answer", addr)
        mine, answer = await take(endpoint), await take(endpoint)
        far.socket.sendto(b"to all", (group, port_of(endpoint)))
        to_all = await take(endpoint)
        await endpoint.send_to(END, to_all.addr)

        assert data == mine.data == b"question"
        assert (answer.data, to_all.data) == (b"answer", b"to all")
        assert answer.addr == to_all.addr
        assert [await far.recv(), await far.recv()] == [b"to all", END]


async def test_after_leaving_nothing_arrives(
    link: Link, members: Members, family: AddressFamily, transport: Any
) -> None:
    """The groups that are left are still heard. B207."""
    group, other = _GROUP[family], _OTHER_GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        endpoint.join(other)
        far = members(link.far, family, port_of(endpoint))
        for one in (group, other):
            far.socket.sendto(one.encode(), (one, port_of(endpoint)))
            assert (await take(endpoint)).data == one.encode()

        endpoint.leave(group)
        far.socket.sendto(b"left", (group, port_of(endpoint)))
        far.socket.sendto(END, (other, port_of(endpoint)))

        assert (await take(endpoint)).data == END


@pytest.mark.parametrize("loop", [True, False])
async def test_loop(
    link: Link, members: Members, family: AddressFamily, transport: Any, loop: bool
) -> None:
    """Whether the sender's own machine hears it, is up to the sender. B204."""
    group = _GROUP[family]
    async with (
        aioudp.open_multicast(group, 0, transport=transport) as listener,
        aioudp.open_multicast(
            group, port_of(listener), loop=loop, transport=transport
        ) as sender,
    ):
        far = members(link.far, family, port_of(listener), group)

        await sender.send(b"hello")
        assert await far.recv() == b"hello"
        far.socket.sendto(END, (group, port_of(listener)))

        expected = [b"hello", END] if loop else [END]
        assert [(await take(listener)).data for _ in expected] == expected


async def test_a_group_of_another_socket_is_not_heard(
    link: Link, members: Members, family: AddressFamily, transport: Any
) -> None:
    """Linux would by default hand over what any socket has joined. B210."""
    group, other = _GROUP[family], _OTHER_GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        port = port_of(endpoint)
        neighbour = members(link.near, family, port, other)
        far = members(link.far, family, port)

        far.socket.sendto(b"not yours", (other, port))
        far.socket.sendto(END, (group, port))

        assert (await take(endpoint)).data == END
        assert await neighbour.recv() == b"not yours"


async def test_a_source_is_heard_alone(
    link: Link, members: Members, family: AddressFamily, transport: Any
) -> None:
    """Source-specific, RFC 4607: also once a second source is joined. B206, B209."""
    group = _GROUP[family]
    link.add_address(link.far, _SECOND[family])
    async with aioudp.open_multicast(
        group, 0, source=FAR[family], transport=transport
    ) as endpoint:
        port = port_of(endpoint)
        far = members(link.far, family, port)

        def send_from(host: str, data: bytes) -> None:
            with link.far.socket(family, host) as sock:
                far.send_through(sock)
                sock.sendto(data, (group, port))

        send_from(_SECOND[family], b"stranger")
        send_from(FAR[family], b"source")
        assert (await take(endpoint))[0] == b"source"

        endpoint.join(group, source=_SECOND[family])
        send_from(_SECOND[family], b"second")
        assert (await take(endpoint))[0] == b"second"

        endpoint.leave(group, source=FAR[family])
        send_from(FAR[family], b"left")
        send_from(_SECOND[family], END)
        assert (await take(endpoint))[0] == END


async def test_everybody_and_one_source_exclude_each_other(
    link: Link, family: AddressFamily
) -> None:
    """EADDRINUSE, in either order; the membership that was there stays."""
    group, source = _GROUP[family], FAR[family]
    async with aioudp.open_multicast(group, 0) as endpoint:
        with pytest.raises(OSError, match="leave it") as caught:
            endpoint.join(group, source=source)
        assert caught.value.errno == errno.EADDRINUSE

        endpoint.leave(group)
        endpoint.join(group, source=source)
        with pytest.raises(OSError, match="leave it") as caught:
            endpoint.join(group)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="another source") as caught:
            endpoint.leave(group, source=_SECOND[family])
        assert caught.value.errno == errno.EADDRNOTAVAIL

        endpoint.leave(group, source=source)


def joined(where: Namespace) -> set[str]:
    """Return the groups that the kernel lists, of both families."""
    found = set()
    with where.entered():
        for line in Path("/proc/thread-self/net/igmp").read_text().splitlines():
            number = line.split()[0]
            if line.startswith("\t\t\t\t"):
                packed = int(number, 16).to_bytes(4, sys.byteorder)
                found.add(socket.inet_ntop(AF_INET, packed))
        if HAS_IPV6:
            for line in Path("/proc/thread-self/net/igmp6").read_text().splitlines():
                packed = bytes.fromhex(line.split()[2])
                found.add(socket.inet_ntop(AF_INET6, packed))
    return found


async def test_closing_leaves_the_groups(
    link: Link, family: AddressFamily, transport: Any
) -> None:
    """The kernel's list is as before."""
    before = joined(link.near)
    groups = {_GROUP[family], _OTHER_GROUP[family]}

    async with aioudp.open_multicast(_GROUP[family], 0, transport=transport) as one:
        one.join(_OTHER_GROUP[family])
        assert joined(link.near) - before == groups

    assert joined(link.near) == before


async def test_failed_opening_leaves_nothing(link: Link, transport: Any) -> None:
    """Neither a group nor a socket, which the guards would see."""
    before = joined(link.near)
    interfaces = [DEVICE, "nowhere"]

    with pytest.raises(OSError, match="nowhere") as caught:
        await aioudp.open_multicast(
            _GROUP[AF_INET], 0, interfaces=interfaces, transport=transport
        )

    assert caught.value.errno == errno.ENODEV
    assert joined(link.near) == before


async def test_too_many_groups(link: Link) -> None:
    """The message names the limit; the groups that were joined stay."""
    link.near.sysctl("net.ipv4.igmp_max_memberships", "2")
    group, other = _GROUP[AF_INET], _OTHER_GROUP[AF_INET]
    async with aioudp.open_multicast(group, 0) as endpoint:
        endpoint.join(other)

        with pytest.raises(OSError, match=r"net\.ipv4\.igmp_max_memberships") as caught:
            endpoint.join("239.1.2.5")
        assert caught.value.errno == errno.ENOBUFS

        assert {group, other} <= joined(link.near)
        endpoint.leave(other)
        endpoint.join("239.1.2.5")


async def test_an_interface_goes_while_it_is_joined(
    link: Link, monkeypatch: pytest.MonkeyPatch, family: AddressFamily
) -> None:
    """As those of containers do. That is an error only if it was named."""
    present = aioudp.interfaces()
    veth = next(one for one in present if one.name == DEVICE)
    gone = replace(veth, name="gone", index=9999)
    monkeypatch.setattr(system_interfaces, "interfaces", lambda: [*present, gone])
    for interfaces in (["gone"], [DEVICE, "gone"]):
        with pytest.raises(OSError, match="gone") as caught:
            await aioudp.open_multicast(_GROUP[family], 0, interfaces=interfaces)
        assert caught.value.errno == errno.ENODEV

    async with aioudp.open_multicast(_GROUP[family], 0) as endpoint:
        outcomes = await endpoint.send(END)
        assert outcomes[0] == aioudp.SendOutcome(DEVICE, outcomes[0].addr)
        assert (await take(endpoint)).data == END


async def test_no_interface() -> None:
    """ENODEV; with only the loopback interface up, that one is used."""
    with Namespace() as bare, bare.entered():
        async with aioudp.open_multicast(_GROUP[AF_INET], 0) as endpoint:
            assert told(await endpoint.send(END)) == {"lo": None}
            assert (await take(endpoint)).data == END

        bare.ip("link set lo down")
        with pytest.raises(OSError, match="no interface") as caught:
            await aioudp.open_multicast(_GROUP[AF_INET], 0)

    assert caught.value.errno == errno.ENODEV


# -- two links


class Office:
    """A host with two interfaces, and a host at the other end of each."""

    def __init__(self, near: Namespace, far: tuple[Namespace, Namespace]) -> None:
        self.near = near
        self.far: Final = dict(zip((DEVICE, _OTHER_DEVICE), far, strict=True))
        for number, (device, where) in enumerate(self.far.items()):
            Link(near, where, device)  # the same link-local addresses on both
            for end, host in ((near, 1), (where, 2)):
                end.ip(f"address add 198.51.{100 + number}.{host}/24 dev {device}")


@pytest.fixture
def office() -> Iterator[Office]:
    """Make a host with two links, and run the test on it."""
    with Namespace() as near, Namespace() as one, Namespace() as two:
        office = Office(near, (one, two))
        with near.entered():
            yield office


async def test_every_interface_is_used(
    office: Office, members: Members, family: AddressFamily, transport: Any
) -> None:
    """To send and to hear; with *interfaces*, only those. B205."""
    group = _GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        port = port_of(endpoint)
        far = {
            device: members(where, family, port, group, device=device)
            for device, where in office.far.items()
        }

        outcomes = await endpoint.send(b"hello")

        assert told(outcomes) == dict.fromkeys(far)
        for member in far.values():
            data, addr = await member.recvfrom()
            assert data == b"hello"
            member.socket.sendto(b"hello yourself", addr)
        answers = [await take(endpoint) for _ in range(4)]
        assert sorted(answer.data for answer in answers) == sorted(
            [b"hello", b"hello yourself"] * 2
        )


async def test_one_interface_alone(
    office: Office, members: Members, family: AddressFamily, transport: Any
) -> None:
    """Named in any way; the other link gets nothing, and is not heard."""
    group = _GROUP[family]
    for name in (_OTHER_DEVICE, office.near.index(_OTHER_DEVICE)):
        async with aioudp.open_multicast(
            group, 0, interfaces=[name], loop=False, transport=transport
        ) as endpoint:
            port = port_of(endpoint)
            far = {
                device: members(where, family, port, group, device=device)
                for device, where in office.far.items()
            }

            assert told(await endpoint.send(b"hello")) == {_OTHER_DEVICE: None}
            assert await far[_OTHER_DEVICE].recv() == b"hello"
            far[DEVICE].socket.sendto(b"not joined here", (group, port))
            # Loopback-fast as a veth is, it has arrived, or never will, by now.
            far[_OTHER_DEVICE].socket.sendto(b"joined", (group, port))
            assert (await take(endpoint)).data == b"joined"


@pytest.mark.parametrize("how", ["switched off", "unplugged"])
async def test_a_dead_link_is_told(
    office: Office, members: Members, family: AddressFamily, transport: Any, how: str
) -> None:
    """And the other one is served."""
    group = _GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        far = members(
            office.far[_OTHER_DEVICE],
            family,
            port_of(endpoint),
            group,
            device=_OTHER_DEVICE,
        )
        end = office.near if how == "switched off" else office.far[DEVICE]
        end.ip(f"link set {DEVICE} down")

        outcomes = await endpoint.send(b"hello")

        result = told(outcomes)
        assert list(result) == [DEVICE, _OTHER_DEVICE]
        assert result[DEVICE] in (errno.ENETDOWN, errno.ENETUNREACH)
        assert result[_OTHER_DEVICE] is None
        assert await far.recv() == b"hello"


async def test_interfaces_come_and_go(
    office: Office, members: Members, transport: Any
) -> None:
    """The next send uses what has come, and joins the group there."""
    family, group = AF_INET, _GROUP[AF_INET]
    office.near.ip(f"link delete {_OTHER_DEVICE}")
    async with (
        aioudp.open_multicast(group, 0, loop=False, transport=transport) as endpoint,
        aioudp.open_multicast(
            group, 0, interfaces=[DEVICE], loop=False, transport=transport
        ) as chosen,
    ):
        assert told(await endpoint.send(b"alone")) == {DEVICE: None}

        where = office.far[_OTHER_DEVICE]
        Link(office.near, where, _OTHER_DEVICE)
        office.near.ip(f"address add 198.51.101.1/24 dev {_OTHER_DEVICE}")
        where.ip(f"address add 198.51.101.2/24 dev {_OTHER_DEVICE}")
        port = port_of(endpoint)
        far = members(where, family, port, group, device=_OTHER_DEVICE)

        assert told(await endpoint.send(b"both")) == {DEVICE: None, _OTHER_DEVICE: None}
        assert await far.recv() == b"both"
        far.socket.sendto(b"welcome", (group, port))
        assert (await take(endpoint)).data == b"welcome"

        office.near.ip(f"link delete {DEVICE}")
        assert told(await endpoint.send(b"one left")) == {_OTHER_DEVICE: None}
        assert told(await chosen.send(b"none left")) == {DEVICE: errno.ENODEV}


async def test_leaving_one_interface(office: Office, members: Members) -> None:
    """Sending does not join the group there again."""
    family, group = AF_INET, _GROUP[AF_INET]
    async with aioudp.open_multicast(group, 0, loop=False) as endpoint:
        port = port_of(endpoint)
        far = {
            device: members(where, family, port, group, device=device)
            for device, where in office.far.items()
        }
        endpoint.leave(group, interfaces=[_OTHER_DEVICE])

        assert told(await endpoint.send(b"hello")) == dict.fromkeys(far)
        for member in far.values():
            assert await member.recv() == b"hello"
        far[_OTHER_DEVICE].socket.sendto(b"left", (group, port))
        far[DEVICE].socket.sendto(END, (group, port))
        assert (await take(endpoint)).data == END

        endpoint.join(group, interfaces=[_OTHER_DEVICE])
        far[_OTHER_DEVICE].socket.sendto(END, (group, port))
        assert (await take(endpoint)).data == END


async def test_each_group_has_its_own_interfaces(office: Office) -> None:
    """A join is for all of them or none, and none of them is for another group."""
    group, other = _GROUP[AF_INET], _OTHER_GROUP[AF_INET]
    async with aioudp.open_multicast(group, 0) as endpoint:
        endpoint.join(other, interfaces=["lo"])
        both = {DEVICE: None, _OTHER_DEVICE: None}
        assert told(await endpoint.send(b"hello")) == both
        assert told(await endpoint.send(b"hello", group=other)) == {**both, "lo": None}

        endpoint.join(other, interfaces=[_OTHER_DEVICE])
        with pytest.raises(OSError, match=_OTHER_DEVICE) as caught:
            endpoint.join(other)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=DEVICE) as caught:
            endpoint.leave(other, interfaces=[DEVICE])
        assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_what_has_come_is_left_with_the_rest(office: Office) -> None:
    """A group is left wherever it is joined."""
    group = _GROUP[AF_INET]
    office.near.ip(f"link set {_OTHER_DEVICE} down")
    async with (
        aioudp.open_multicast(group, 0) as endpoint,
        aioudp.open_multicast(_OTHER_GROUP[AF_INET], 0, interfaces=["lo"]) as witness,
    ):
        office.near.ip(f"link set {_OTHER_DEVICE} up")
        await endpoint.send(b"hello")
        with pytest.raises(OSError, match=_OTHER_DEVICE) as caught:
            endpoint.join(group, interfaces=[_OTHER_DEVICE])
        assert caught.value.errno == errno.EADDRINUSE

        endpoint.leave(group)

        assert _OTHER_GROUP[AF_INET] in joined(office.near)
        assert group not in joined(office.near)
        assert not witness.closed


@needs_ipv6
async def test_a_reply_leaves_by_the_link_of_the_question(
    office: Office, members: Members, transport: Any
) -> None:
    """Though the two who asked have one and the same address. B194."""
    async with aioudp.open_multicast(_LOCAL_GROUP, 0, transport=transport) as endpoint:
        port = port_of(endpoint)
        far = {
            device: members(where, AF_INET6, port, device=device)
            for device, where in office.far.items()
        }
        for device, member in far.items():
            member.socket.sendto(device.encode(), (_LOCAL_GROUP, port, 0, member.index))

        questions = [await take(endpoint) for _ in far]
        for question in questions:
            await endpoint.send_to(b"answer to " + question.data, question.addr)

        assert {question.addr[0] for question in questions} == {FAR_LOCAL}
        for device, member in far.items():
            assert await member.recv() == b"answer to " + device.encode()


@needs_ipv6
@pytest.mark.parametrize("form", ["zone", "index", "tuple"])
async def test_a_group_with_a_scope(
    office: Office, members: Members, transport: Any, form: str
) -> None:
    """It is joined on that link alone, and sent out of it alone."""
    index = office.near.index(_OTHER_DEVICE)
    group: Any = {
        "zone": f"{_LOCAL_GROUP}%{_OTHER_DEVICE}",
        "index": f"{_LOCAL_GROUP}%{index}",
        "tuple": (_LOCAL_GROUP, 0, 0, index),
    }[form]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        far = members(
            office.far[_OTHER_DEVICE],
            AF_INET6,
            port_of(endpoint),
            _LOCAL_GROUP,
            device=_OTHER_DEVICE,
        )

        (outcome,) = await endpoint.send(b"hello")

        assert outcome.interface == _OTHER_DEVICE
        assert outcome.addr == (_LOCAL_GROUP, port_of(endpoint), 0, index)
        assert await far.recv() == b"hello"
