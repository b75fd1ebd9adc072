"""Broadcast endpoints on a host with two interfaces: by which a datagram leaves."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from socket import AF_INET, SO_BROADCAST, SOL_SOCKET
from typing import Any, Final

import pytest

import aioudp

from .links import DEVICE, OTHER_DEVICE, Link, TwoLinks
from .namespaces import Namespace
from .traffic import END, Sink

_LIMITED: Final = "255.255.255.255"
_PATIENCE: Final = 5  # seconds

Sinks = dict[str, Sink]


@pytest.fixture
def sinks(two_links: TwoLinks) -> Iterator[Sinks]:
    """Open a plain socket on one and the same port at either far end."""
    with ExitStack() as stack:
        first = stack.enter_context(Sink(two_links.far[DEVICE], AF_INET))
        second = Sink(two_links.far[OTHER_DEVICE], AF_INET, first.port)
        yield {DEVICE: first, OTHER_DEVICE: stack.enter_context(second)}


def port_of(sinks: Sinks) -> int:
    return sinks[DEVICE].port


async def take(endpoint: aioudp.BroadcastEndpoint) -> aioudp.Datagram:
    async with asyncio.timeout(_PATIENCE):
        return await endpoint.recv()


def errno_by(outcomes: list[aioudp.SendOutcome]) -> dict[str, int | None]:
    """Return the number of each interface's error, ``None`` where there is none."""
    return {
        one.interface: None if one.error is None else one.error.errno
        for one in outcomes
    }


async def test_every_interface_is_used(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """To the broadcast address of its network; and answers arrive. B196."""
    async with aioudp.open_broadcast(0, transport=transport) as endpoint:
        outcomes = await endpoint.send(b"hello", port_of(sinks))

        assert [(one.interface, one.addr, one.sent) for one in outcomes] == [
            (device, (two_links.broadcast(device), port_of(sinks)), True)
            for device in sinks
        ]
        for device, sink in sinks.items():
            data, addr = await asyncio.wait_for(recvfrom(sink), _PATIENCE)
            assert data == b"hello"
            sink.socket.sendto(device.encode(), addr)
            answer = await take(endpoint)
            assert answer == (device.encode(), (two_links.host(device), sink.port))


async def recvfrom(sink: Sink) -> tuple[bytes, Any]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sink.socket, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sink.socket)
    return sink.socket.recvfrom(2048)


async def test_one_interface_alone(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """Named in any way; nothing leaves by the other."""
    ways = OTHER_DEVICE, two_links.near.index(OTHER_DEVICE), "198.51.101.1"
    for way in ways:
        async with aioudp.open_broadcast(
            0, interfaces=[way], transport=transport
        ) as endpoint:
            outcomes = await endpoint.send(b"hello", port_of(sinks))
            assert errno_by(outcomes) == {OTHER_DEVICE: None}
            assert await sinks[OTHER_DEVICE].recv() == b"hello"

            await endpoint.send_to(END, (two_links.host(DEVICE), port_of(sinks)))
            assert await sinks[DEVICE].recv_until_end() == []


@pytest.mark.parametrize("how", ["switched off", "unplugged"])
async def test_a_dead_link_is_reported(
    two_links: TwoLinks, sinks: Sinks, transport: Any, how: str
) -> None:
    """And the other one is served, also when the dead one was named."""
    port = port_of(sinks)
    async with (
        aioudp.open_broadcast(0, transport=transport) as endpoint,
        aioudp.open_broadcast(
            0, interfaces=[DEVICE, OTHER_DEVICE], transport=transport
        ) as choosy,
    ):
        assert errno_by(await endpoint.send(b"before", port)) == dict.fromkeys(sinks)
        end = two_links.near if how == "switched off" else two_links.far[DEVICE]
        end.ip(f"link set {DEVICE} down")

        for sender in (endpoint, choosy):
            result = errno_by(await sender.send(b"after", port))
            assert list(result) == [DEVICE, OTHER_DEVICE]
            assert result[DEVICE] in (errno.ENETDOWN, errno.ENETUNREACH)
            assert result[OTHER_DEVICE] is None
        await endpoint.send(END, port)
        heard = await sinks[OTHER_DEVICE].recv_until_end()
        assert heard == [b"before", b"after", b"after"]


async def test_interfaces_come_and_go(two_links: TwoLinks, transport: Any) -> None:
    """The next send uses what has come, and forgets what is gone."""
    two_links.near.ip(f"link delete {OTHER_DEVICE}")
    where = two_links.far[OTHER_DEVICE]
    with Sink(where, AF_INET) as sink:
        async with (
            aioudp.open_broadcast(0, transport=transport) as endpoint,
            aioudp.open_broadcast(
                0, interfaces=[DEVICE], transport=transport
            ) as choosy,
        ):
            assert errno_by(await endpoint.send(b"one", sink.port)) == {DEVICE: None}

            Link(two_links.near, where, OTHER_DEVICE)
            two_links.near.ip(f"address add 203.0.113.1/24 brd + dev {OTHER_DEVICE}")
            where.ip(f"address add 203.0.113.2/24 brd + dev {OTHER_DEVICE}")
            both = {DEVICE: None, OTHER_DEVICE: None}
            assert errno_by(await endpoint.send(b"both", sink.port)) == both
            assert await sink.recv() == b"both"

            two_links.near.ip(f"link delete {DEVICE}")
            left = errno_by(await endpoint.send(b"left", sink.port))
            assert left == {OTHER_DEVICE: None}
            gone = errno_by(await choosy.send(b"", sink.port))
            assert gone == {DEVICE: errno.ENODEV}


async def test_an_interface_gets_another_name(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """Then it is there by its index and by its address, and gone by its old name."""
    index = two_links.near.index(DEVICE)
    ways: list[str | int] = [index, "198.51.100.1", DEVICE]
    async with (
        aioudp.open_broadcast(0, transport=transport) as endpoint,
        aioudp.open_broadcast(0, interfaces=ways[:2], transport=transport) as by_index,
        aioudp.open_broadcast(0, interfaces=ways[2:], transport=transport) as by_name,
    ):
        two_links.near.ip(f"link set {DEVICE} down", f"link set {DEVICE} name lan up")
        port = port_of(sinks)
        assert errno_by(await endpoint.send(b"", port)) == {
            "lan": None,
            OTHER_DEVICE: None,
        }
        assert errno_by(await by_index.send(b"", port)) == {"lan": None}
        assert errno_by(await by_name.send(b"", port)) == {DEVICE: errno.ENODEV}


async def test_two_interfaces_on_one_network(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """The routes would send by one of them only."""
    for device, host in ((DEVICE, 1), (OTHER_DEVICE, 2)):
        two_links.near.ip(
            f"address flush dev {device}",
            f"address add 203.0.113.{host}/24 brd + dev {device}",
        )
        two_links.far[device].ip(f"address add 203.0.113.9/24 brd + dev {device}")
    async with aioudp.open_broadcast(0, transport=transport) as endpoint:
        outcomes = await endpoint.send(b"hello", port_of(sinks))

        there = "203.0.113.255", port_of(sinks)
        assert [one.addr for one in outcomes] == [there, there]
        for host, sink in enumerate(sinks.values(), start=1):
            data, addr = await asyncio.wait_for(recvfrom(sink), _PATIENCE)
            assert (data, addr[0]) == (b"hello", f"203.0.113.{host}")


async def test_several_networks_on_one_interface(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """Each is reported, once."""
    two_links.near.ip(
        f"address add 203.0.113.1/24 brd + dev {DEVICE}",
        f"address add 203.0.113.2/24 brd + dev {DEVICE}",
    )
    async with aioudp.open_broadcast(
        0, interfaces=[DEVICE], transport=transport
    ) as endpoint:
        outcomes = await endpoint.send(b"hello", port_of(sinks))

        hosts = [one.addr[0] for one in outcomes]
        assert hosts == [two_links.broadcast(DEVICE), "203.0.113.255"]
        assert all(one.sent for one in outcomes)


async def test_without_a_broadcast_address(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """Everybody's is used, on that interface, also where no address is set."""
    two_links.near.ip(
        f"address flush dev {DEVICE}",
        f"address flush dev {OTHER_DEVICE}",
        f"address add 203.0.113.1/24 dev {DEVICE}",
    )
    async with aioudp.open_broadcast(
        0, interfaces=[DEVICE, OTHER_DEVICE], transport=transport
    ) as endpoint:
        outcomes = await endpoint.send(b"hello", port_of(sinks))

        assert errno_by(outcomes) == dict.fromkeys(sinks)
        assert {one.addr[0] for one in outcomes} == {_LIMITED}
        for sink in sinks.values():
            assert await sink.recv() == b"hello"


async def test_own_datagrams_can_be_left_out(
    two_links: TwoLinks, sinks: Sinks, transport: Any
) -> None:
    """They come back from each network; those of others on the port are heard.

    An address that the machine has got since is its own, too.
    """
    port = port_of(sinks)
    async with (
        aioudp.open_broadcast(port, transport=transport) as everything,
        aioudp.open_broadcast(port, receive_own=False, transport=transport) as others,
    ):
        two_links.near.ip(f"address add 203.0.113.1/24 brd + dev {DEVICE}")
        assert len(await others.send(b"own")) == 3
        for device, sink in sinks.items():
            sink.socket.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
            there = two_links.broadcast(device), port
            sink.socket.sendto(device.encode(), there)

        heard = [(await take(others)).data for _ in sinks]
        assert sorted(heard) == sorted(device.encode() for device in sinks)
        heard = [(await take(everything)).data for _ in range(5)]
        assert sorted(heard) == sorted([*map(str.encode, sinks), *[b"own"] * 3])


@pytest.mark.parametrize("group", [None, "239.1.2.3"])
async def test_which_interface_a_question_came_by(
    two_links: TwoLinks, sinks: Sinks, group: str | None
) -> None:
    """And the reply leaves by it, though both networks have the same addresses."""
    for device, far in two_links.far.items():
        two_links.near.ip(f"address add 203.0.113.1/24 brd + dev {device}")
        far.ip(
            f"address flush dev {device}",
            f"address add 203.0.113.2/24 brd + dev {device}",
            f"route add 239.0.0.0/8 dev {device}",
        )
    opening: Any = (
        aioudp.open_broadcast(0, packet_info=True)
        if group is None
        else aioudp.open_multicast(group, 0, packet_info=True)
    )
    async with opening as endpoint:
        there = group or "203.0.113.255", endpoint.local_addr[1]
        for device, sink in sinks.items():
            sink.socket.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
            sink.socket.sendto(b"question", there)
            async with asyncio.timeout(_PATIENCE):
                message = await endpoint.recv_message()
            assert message.addr == ("203.0.113.2", sink.port)
            assert message.interface == two_links.near.index(device)

            await endpoint.reply(message, device.encode())
            assert await sink.recv() == device.encode()


async def test_only_the_loopback_interface(transport: Any) -> None:
    """Then that one is used; without any, the system is asked and refuses."""
    with Namespace() as bare, bare.entered():
        async with aioudp.open_broadcast(0, transport=transport) as endpoint:
            assert errno_by(await endpoint.send(b"hello")) == {"lo": None}
            assert (await take(endpoint)).data == b"hello"

            bare.ip("link set lo down")
            assert errno_by(await endpoint.send(b"hello")) == {"": errno.ENETUNREACH}


async def test_ordinary_endpoints_share_nothing(
    two_links: TwoLinks, transport: Any
) -> None:
    """None of these options is on unless it is asked for. B198."""
    async with (
        aioudp.bind(transport=transport) as bound,
        aioudp.connect((two_links.host(DEVICE), 9), transport=transport) as connected,
    ):
        for endpoint in (bound, connected):
            sock = endpoint.get_extra_info("socket")
            for name in ("SO_BROADCAST", "SO_REUSEADDR", "SO_REUSEPORT"):
                assert sock.getsockopt(SOL_SOCKET, getattr(socket, name)) == 0

        with pytest.raises(PermissionError, match=r"broadcast=True.*open_broadcast"):
            await bound.send(b"loud", (two_links.broadcast(DEVICE), 9))
