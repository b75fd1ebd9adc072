"""What is known of datagrams that came by a link, and answering on the same way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import pytest

import aioudp

from .links import (
    DEVICE,
    FAR,
    FAR_LOCAL,
    HAS_IPV6,
    NEAR,
    NEAR_LOCAL,
    OTHER_DEVICE,
    Link,
    TwoLinks,
)

SECOND: Final = {AF_INET: "192.0.2.9", AF_INET6: "2001:db8::9"}
GROUP: Final = {AF_INET: "239.1.2.3", AF_INET6: "ff15::1234"}

needs_ipv6 = pytest.mark.skipif(
    not HAS_IPV6, reason="cannot: ipv6: this kernel does not have it"
)


async def answer(sock: socket.socket) -> tuple[bytes, Any]:
    """Return the next datagram of a plain socket that does not block."""
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def read() -> None:
        if not arrived.done():
            arrived.set_result(sock.recvfrom(2000))

    loop.add_reader(sock, read)
    try:
        async with asyncio.timeout(10):
            result: tuple[bytes, Any] = await arrived
            return result
    finally:
        loop.remove_reader(sock)


@pytest.mark.parametrize("asked", ["first", "second"])
async def test_a_host_with_two_addresses(
    link: Link, family: AddressFamily, asked: str
) -> None:
    """The answer comes from the one that was asked, by a wildcard endpoint (B172)."""
    link.add_address(link.near, SECOND[family])
    host = {"first": NEAR, "second": SECOND}[asked][family]
    async with aioudp.bind(("", 0), packet_info=True) as endpoint:
        port = endpoint.local_addr[1]
        with link.far.socket(family, FAR[family]) as asker:
            asker.connect((host, port))
            asker.send(b"question")
            message = await endpoint.recv_message()
            await endpoint.reply(message, b"answer")

            assert (await answer(asker))[0] == b"answer"
    assert message.local_addr == asker_view(host, port)
    assert message.interface == link.near.index(DEVICE)
    assert message.unicast is True


def asker_view(host: str, port: Any) -> aioudp.Address:
    return (host, port, 0, 0) if ":" in host else (host, port)


@pytest.mark.parametrize("device", [DEVICE, OTHER_DEVICE])
async def test_a_host_with_two_interfaces(two_links: TwoLinks, device: str) -> None:
    """The message names the interface, and a broadcast one is answered from there.

    A route says that it is the other one, as where both are in one network.
    """
    (other,) = two_links.far.keys() - {device}
    two_links.near.ip(f"route add {two_links.host(device)}/32 dev {other}")
    async with aioudp.bind(("0.0.0.0", 0), packet_info=True) as endpoint:
        port = endpoint.local_addr[1]
        far = two_links.far[device].socket(AF_INET, "")
        with far:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            far.sendto(b"who?", (two_links.broadcast(device), port))
            message = await endpoint.recv_message()
            await endpoint.reply(message, b"me")
            data, addr = await answer(far)

    assert message.local_addr == (two_links.broadcast(device), port)
    assert message.interface == two_links.near.index(device)
    assert (message.unicast, message.to_group) == (False, False)
    assert (data, addr) == (b"me", (two_links.host(device)[:-1] + "1", port))


@needs_ipv6
@pytest.mark.parametrize("device", [DEVICE, OTHER_DEVICE])
async def test_equal_link_local_addresses(two_links: TwoLinks, device: str) -> None:
    """The scope of ``local_addr`` distinguishes two equal addresses."""
    index = two_links.near.index(device)
    async with aioudp.bind(("::", 0), packet_info=True) as endpoint:
        port = endpoint.local_addr[1]
        where = two_links.far[device]
        with where.entered(), socket.socket(AF_INET6, socket.SOCK_DGRAM) as far:
            far.setblocking(False)
            far.connect((NEAR_LOCAL, port, 0, where.index(device)))
            far.send(b"question")
            message = await endpoint.recv_message()
            await endpoint.reply(message, b"answer")
            await endpoint.send(b"again", message.addr, local_addr=message.local_addr)

            assert (await answer(far))[0] == b"answer"
            assert (await answer(far))[0] == b"again"

    assert message.local_addr == (NEAR_LOCAL, port, 0, index)
    assert message.addr[0] == FAR_LOCAL
    assert message.interface == index


async def test_sent_to_a_group(link: Link, family: AddressFamily) -> None:
    """The answer to a group comes from an address of the interface."""
    async with aioudp.bind((NEAR_HOST[family], 0), packet_info=True) as endpoint:
        port = endpoint.local_addr[1]
        join(endpoint, GROUP[family], link.near.index(DEVICE))
        with link.far.socket(family, FAR[family]) as far:
            set_outgoing(far, link.far.index(DEVICE))
            far.sendto(b"all of you", (GROUP[family], port))
            message = await endpoint.recv_message()
            await endpoint.reply(message, b"one of us")
            data, addr = await answer(far)

    assert message.local_addr == asker_view(GROUP[family], port)
    assert (message.unicast, message.to_group) == (False, True)
    assert (data, addr[0]) == (b"one of us", NEAR[family])


NEAR_HOST: Final = {AF_INET: "0.0.0.0", AF_INET6: "::"}


def join(endpoint: aioudp.Endpoint, group: str, index: int) -> None:
    sock = endpoint.get_extra_info("socket")
    if ":" in group:
        request = socket.inet_pton(AF_INET6, group) + struct.pack("@i", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def set_outgoing(sock: socket.socket, index: int) -> None:
    if sock.family == AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        request = bytes(8) + struct.pack("@i", index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)


@pytest.mark.parametrize("segments", [1, 5])
async def test_hop_limit_and_traffic_class_on_the_way(
    link: Link, family: AddressFamily, segments: int
) -> None:
    """They arrive at another host as they were sent, of trains too (B170)."""
    async with aioudp.bind((NEAR[family], 0)) as endpoint:
        with link.far.entered():
            far = await aioudp.bind((FAR[family], 0), packet_info=True)
        async with far:
            await endpoint.send(
                b"x" * 100 * segments,
                far.local_addr,
                segment_size=100,
                tos=0x2A,
                hop_limit=3,
            )
            seen = [await far.recv_message() for _ in range(segments)]

    assert [(one.data, one.tos, one.ecn, one.hop_limit) for one in seen] == [
        (b"x" * 100, 0x2A, 2, 3)
    ] * segments
    assert {one.interface for one in seen} == {link.far.index(DEVICE)}


@pytest.mark.parametrize("name", [DEVICE, OTHER_DEVICE])
@pytest.mark.parametrize("form", [lambda name: name, socket.if_nametoindex])
async def test_the_interface_to_leave_by(
    two_links: TwoLinks, name: str, form: Callable[[str], Any]
) -> None:
    """A broadcast leaves by the interface that is named, though no route says so."""
    addr: Any
    with two_links.far[name].socket(AF_INET, "") as far:
        addr = ("255.255.255.255", far.getsockname()[1])
        async with aioudp.bind(("0.0.0.0", 0), broadcast=True) as endpoint:
            await endpoint.send(b"x", addr, interface=form(name))

            assert (await answer(far))[0] == b"x"
