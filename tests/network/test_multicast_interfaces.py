"""Multicast on a host with two links: each interface is one of its own."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import pytest

import aioudp

from .links import DEVICE, FAR_LOCAL, HAS_IPV6, Link
from .members import _GROUP, _OTHER_GROUP, Members, errno_by, joined, port_of, take
from .namespaces import Namespace
from .traffic import END

_OTHER_DEVICE: Final = "veth1"

_LOCAL_GROUP: Final = "ff02::1234"  # of one link: RFC 4291, section 2.7

needs_ipv6 = pytest.mark.skipif(
    not HAS_IPV6, reason="cannot: ipv6: this kernel does not have it"
)


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

        assert errno_by(outcomes) == dict.fromkeys(far)
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

            assert errno_by(await endpoint.send(b"hello")) == {_OTHER_DEVICE: None}
            assert await far[_OTHER_DEVICE].recv() == b"hello"
            far[DEVICE].socket.sendto(b"not joined here", (group, port))
            # Loopback-fast as a veth is, it has arrived, or never will, by now.
            far[_OTHER_DEVICE].socket.sendto(b"joined", (group, port))
            assert (await take(endpoint)).data == b"joined"


@pytest.mark.parametrize("how", ["switched off", "unplugged"])
async def test_a_dead_link_is_reported(
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

        result = errno_by(outcomes)
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
        assert errno_by(await endpoint.send(b"alone")) == {DEVICE: None}

        where = office.far[_OTHER_DEVICE]
        Link(office.near, where, _OTHER_DEVICE)
        office.near.ip(f"address add 198.51.101.1/24 dev {_OTHER_DEVICE}")
        where.ip(f"address add 198.51.101.2/24 dev {_OTHER_DEVICE}")
        port = port_of(endpoint)
        far = members(where, family, port, group, device=_OTHER_DEVICE)

        assert errno_by(await endpoint.send(b"both")) == {
            DEVICE: None,
            _OTHER_DEVICE: None,
        }
        assert await far.recv() == b"both"
        far.socket.sendto(b"welcome", (group, port))
        assert (await take(endpoint)).data == b"welcome"

        office.near.ip(f"link delete {DEVICE}")
        assert errno_by(await endpoint.send(b"one left")) == {_OTHER_DEVICE: None}
        assert errno_by(await chosen.send(b"none left")) == {DEVICE: errno.ENODEV}


async def test_one_of_two_comes_back(
    office: Office, members: Members, transport: Any
) -> None:
    """The group is joined on it again, though the other one is still gone."""
    family, group = AF_INET, _GROUP[AF_INET]
    async with aioudp.open_multicast(
        group,
        0,
        interfaces=[DEVICE, _OTHER_DEVICE],
        loop=False,
        transport=transport,
    ) as endpoint:
        office.near.ip(f"link delete {DEVICE}", f"link delete {_OTHER_DEVICE}")
        gone = {DEVICE: errno.ENODEV, _OTHER_DEVICE: errno.ENODEV}
        assert errno_by(await endpoint.send(b"nobody")) == gone

        where = office.far[_OTHER_DEVICE]
        Link(office.near, where, _OTHER_DEVICE)
        office.near.ip(f"address add 198.51.101.1/24 dev {_OTHER_DEVICE}")
        where.ip(f"address add 198.51.101.2/24 dev {_OTHER_DEVICE}")
        port = port_of(endpoint)
        far = members(where, family, port, group, device=_OTHER_DEVICE)

        result = errno_by(await endpoint.send(b"back"))

        assert result == {DEVICE: errno.ENODEV, _OTHER_DEVICE: None}
        assert await far.recv() == b"back"
        far.socket.sendto(b"welcome back", (group, port))
        assert (await take(endpoint)).data == b"welcome back"


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

        assert errno_by(await endpoint.send(b"hello")) == dict.fromkeys(far)
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
        assert errno_by(await endpoint.send(b"hello")) == both
        assert errno_by(await endpoint.send(b"hello", group=other)) == {
            **both,
            "lo": None,
        }

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
