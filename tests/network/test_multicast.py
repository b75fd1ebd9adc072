"""Multicast over one link: groups, sources, hops, and links that go away."""

from __future__ import annotations

import errno
from dataclasses import replace
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import pytest

import aioudp
from aioudp._system import interfaces as system_interfaces

from .links import DEVICE, FAR, Link
from .members import _GROUP, _OTHER_GROUP, Members, errno_by, joined, port_of, take
from .namespaces import Namespace
from .traffic import END

_SECOND: Final = {AF_INET: "192.0.2.12", AF_INET6: "2001:db8::12"}


async def test_to_and_from_another_host(
    link: Link, members: Members, family: AddressFamily, transport: Any
) -> None:
    """Both hear what the other sends to the group, and the answer to the one address.

    B206.
    """
    group = _GROUP[family]
    async with aioudp.open_multicast(group, 0, transport=transport) as endpoint:
        far = members(link.far, family, port_of(endpoint), group)

        assert errno_by(await endpoint.send(b"question")) == {DEVICE: None}
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
    monkeypatch.setattr(
        system_interfaces, "kernel_interfaces", lambda: [*present, gone]
    )
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
            assert errno_by(await endpoint.send(END)) == {"lo": None}
            assert (await take(endpoint)).data == END

        bare.ip("link set lo down")
        with pytest.raises(OSError, match="no interface") as caught:
            await aioudp.open_multicast(_GROUP[AF_INET], 0)

    assert caught.value.errno == errno.ENODEV
