"""Multicast on one machine: groups, sharing, errors. B205, B206, B208, B209, B210."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import replace
from typing import Any, Final

import pytest

import aioudp
from aioudp._endpoint.fanout import FanoutEndpoint
from aioudp._system import interfaces

from ..conftest import UntilBlocked
from .support import WAYS_TO_RECEIVE, Gate, linux_only, outcome, plain_socket

_GROUPS: Final = [f"239.255.77.{number}" for number in range(10)]
_PATIENCE: Final = 5  # seconds


@pytest.fixture(params=[socket.AF_INET], ids=["ipv4"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    """Return IPv4: Linux sends no IPv6 multicast over its loopback interface.

    ``network/test_multicast.py`` has both.
    """
    family: socket.AddressFamily = request.param
    return family


@pytest.fixture
def groups() -> list[str]:
    """Return groups of the address family."""
    return _GROUPS


@pytest.fixture
def options(host: str, transport: aioudp.TransportKind) -> Any:
    """Return the options that keep an endpoint on the loopback interface."""
    return {"interfaces": [host], "transport": transport}


def port_of(endpoint: aioudp.MulticastEndpoint | aioudp.Endpoint) -> int:
    return int(endpoint.local_addr[1])


async def take(endpoint: aioudp.MulticastEndpoint) -> bytes:
    async with asyncio.timeout(_PATIENCE):
        return (await endpoint.recv()).data


# -- sending and receiving


async def test_every_listener_gets_it(groups: list[str], options: Any) -> None:
    """They share the port, and each has its copy. B209."""
    async with (
        aioudp.open_multicast(groups[0], 0, **options) as one,
        aioudp.open_multicast(groups[0], port_of(one), **options) as two,
        aioudp.open_multicast(groups[0], port_of(one), **options) as three,
    ):
        (outcome,) = await one.send(b"hello")

        assert outcome.sent
        assert outcome.error is None
        assert outcome.addr[:2] == (groups[0], port_of(one))
        assert [await take(each) for each in (one, two, three)] == [b"hello"] * 3


@pytest.mark.parametrize("way", WAYS_TO_RECEIVE)
async def test_every_way_to_receive(groups: list[str], options: Any, way: str) -> None:
    """They are those of an endpoint."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        for data in (b"one", b"", b"three"):
            await endpoint.send(data)
        received: Any = WAYS_TO_RECEIVE[way]

        async with asyncio.timeout(_PATIENCE):
            datagrams = await received(endpoint, 3)

        assert [data for data, _ in datagrams] == [b"one", b"", b"three"]
        assert endpoint.stats().received == endpoint.stats().sent == 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_every_kind_of_payload(
    groups: list[str], options: Any, kind: Any
) -> None:
    """Whatever is bytes-like, and nothing else."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        await endpoint.send(kind(b"hello"))
        assert await take(endpoint) == b"hello"

        with pytest.raises(TypeError, match="bytes-like"):
            await endpoint.send("text")  # type: ignore[arg-type]


async def test_several_groups(groups: list[str], options: Any) -> None:
    """One endpoint joins all of them, and sends to any of them."""
    async with (
        aioudp.open_multicast(groups[0], 0, **options) as endpoint,
        aioudp.open_multicast(groups[9], port_of(endpoint), **options) as other,
    ):
        for group in groups[1:4]:
            endpoint.join(group)
        for group in groups[:4]:
            await other.send(group.encode(), group=group)
            assert await take(endpoint) == group.encode()

        endpoint.leave(groups[2])
        await other.send(b"left", group=groups[2])
        await other.send(b"end", group=groups[3])
        assert await take(endpoint) == b"end"


@linux_only
async def test_a_group_of_another_socket_is_not_heard(
    groups: list[str], options: Any
) -> None:
    """Though it is joined on this machine, for this port. B210."""
    async with (
        aioudp.open_multicast(groups[0], 0, **options) as endpoint,
        aioudp.open_multicast(groups[1], port_of(endpoint), **options) as other,
    ):
        await other.send(b"not yours")
        await endpoint.send(b"end")

        assert await take(endpoint) == b"end"
        assert await take(other) == b"not yours"


async def test_an_answer_to_one(groups: list[str], options: Any, host: str) -> None:
    """An endpoint that is in no group hears it at its own address."""
    with plain_socket(host) as asker:
        async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
            await endpoint.send_to(b"answer", asker.getsockname())

            assert asker.recv(100) == b"answer"


@pytest.mark.no_matrix
async def test_send_to_is_not_for_groups(groups: list[str], options: Any) -> None:
    """The interface would be anyone's guess."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        with pytest.raises(ValueError, match="is a group"):
            await endpoint.send_to(b"", (groups[1], 9))


async def test_each_interface_is_used_once(
    groups: list[str], options: Any, host: str
) -> None:
    """However often, and in whatever way, it is named."""
    loopback, *_ = interfaces.choose([host])
    options |= {"interfaces": [host, loopback.name, loopback.index]}
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        assert len(await endpoint.send(b"once")) == 1


# -- options of the socket


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("ttl", [0, 1, 255])
async def test_ttl_and_loop(
    groups: list[str], options: Any, ttl: int, loop: bool
) -> None:
    """They are set on the socket that sends. B203, B204."""
    async with aioudp.open_multicast(
        groups[0], 0, ttl=ttl, loop=loop, **options
    ) as endpoint:
        sock = endpoint.get_extra_info("socket")
        names = socket.IP_MULTICAST_TTL, socket.IP_MULTICAST_LOOP

        assert [sock.getsockopt(socket.IPPROTO_IP, name) for name in names] == [
            ttl,
            loop,
        ]


async def test_what_it_tells(groups: list[str], options: Any, family: int) -> None:
    """Address, family, descriptor, and whether it is closed."""
    endpoint = await aioudp.open_multicast(groups[0], 0, **options)
    assert endpoint.family == family
    assert endpoint.port == endpoint.local_addr[1] > 0
    assert endpoint.fileno() == endpoint.get_extra_info("socket").fileno()
    assert endpoint.transport.is_reading()
    assert repr(endpoint) == f"<MulticastEndpoint local_addr={endpoint.local_addr!r}>"
    assert not endpoint.closed

    await endpoint.aclose()

    assert endpoint.closed
    assert repr(endpoint) == "<MulticastEndpoint closed>"


# -- errors


async def test_joined_already(groups: list[str], options: Any) -> None:
    """EADDRINUSE; nothing has changed."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        with pytest.raises(OSError, match=f"joining {groups[0]}.*leave it") as caught:
            endpoint.join(groups[0])

        assert caught.value.errno == errno.EADDRINUSE
        await endpoint.send(b"still there")
        assert await take(endpoint) == b"still there"


async def test_left_already(groups: list[str], options: Any, host: str) -> None:
    """EADDRNOTAVAIL, wherever it is to be left; the others are still heard. B208."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        endpoint.join(groups[1])
        endpoint.leave(groups[1])
        for interfaces in (None, [host]):
            with pytest.raises(
                OSError, match=f"leaving {groups[1]}.*isn't joined"
            ) as caught:
                endpoint.leave(groups[1], interfaces=interfaces)
            assert caught.value.errno == errno.EADDRNOTAVAIL

        endpoint.join(groups[1])
        await endpoint.send(b"still there")
        assert await take(endpoint) == b"still there"


async def test_a_source_twice(groups: list[str], options: Any) -> None:
    """As a group twice, though Linux has other numbers for it."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        await endpoint.send(b"who am I?")
        async with asyncio.timeout(_PATIENCE):
            source = str((await endpoint.recv()).addr[0])
        endpoint.leave(groups[0])
        endpoint.join(groups[0], source=source)

        with pytest.raises(OSError, match=f"{groups[0]} from {source}") as caught:
            endpoint.join(groups[0], source=source)
        assert caught.value.errno == errno.EADDRINUSE
        await endpoint.send(b"from the source")
        assert await take(endpoint) == b"from the source"

        endpoint.leave(groups[0], source=source)
        with pytest.raises(OSError) as caught:
            endpoint.leave(groups[0], source=source, **interfaces_of(options))
        assert caught.value.errno == errno.EADDRNOTAVAIL


def interfaces_of(options: Any) -> Any:
    return {"interfaces": options["interfaces"]}


@pytest.mark.parametrize("interface", ["no-such-one", 2**31 - 1])
async def test_an_interface_that_is_not_there(
    groups: list[str], options: Any, interface: Any
) -> None:
    """ENODEV, and its name; the endpoint still works."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        for call in (endpoint.join, endpoint.leave):
            with pytest.raises(OSError, match=str(interface)) as caught:
                call(groups[1], interfaces=[interface])
            assert caught.value.errno == errno.ENODEV

        await endpoint.send(b"still there")
        assert await take(endpoint) == b"still there"


NO_GROUPS: Final = ["192.0.2.1", "2001:db8::1", "example.org", "", "239.1.2", "%lo"]


@pytest.mark.no_matrix
@pytest.mark.parametrize("group", NO_GROUPS)
async def test_what_is_no_group(options: Any, groups: list[str], group: str) -> None:
    """ValueError at the call, before there is a socket."""
    with pytest.raises(ValueError, match="address"):
        aioudp.open_multicast(group, 0)
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        for call in (endpoint.join, endpoint.leave):
            with pytest.raises(ValueError, match="address"):
                call(group)
        with pytest.raises(ValueError, match="address"):
            await endpoint.send(b"", group=group)


def test_what_is_no_argument() -> None:
    """TypeError and ValueError at the call."""
    group: Any
    for group in (None, b"239.1.2.3", 239, ("239.1.2.3", 1)):
        with pytest.raises(TypeError, match="a group is"):
            aioudp.open_multicast(group, 0)
    call: Any = aioudp.open_multicast
    for name, value in (
        ("ttl", "1"),
        ("ttl", True),
        ("loop", 1),
        ("source", 1),
        ("interfaces", "lo"),
        ("no_such_option", 1),
    ):
        with pytest.raises(TypeError, match=name):
            call("239.1.2.3", 0, **{name: value})
    for name, value in (
        ("ttl", -1),
        ("ttl", 256),
        ("source", "example.org"),
        ("source", "239.1.2.3"),
        ("source", "::1"),
        ("family", socket.AF_INET6),
    ):
        with pytest.raises(ValueError, match=r"source|ttl|family"):
            call("239.1.2.3", 0, **{name: value})
    with pytest.raises(ValueError, match="port"):
        call("239.1.2.3", 65536)
    with pytest.raises(ValueError, match="includes an interface"):
        call("ff02::1234%lo", 0, interfaces=["lo"])


@pytest.mark.no_matrix
async def test_groups_of_one_family(groups: list[str], options: Any) -> None:
    """A socket has one."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        with pytest.raises(ValueError, match="family mismatch"):
            endpoint.join("ff15::1")


async def test_every_call_after_close(
    groups: list[str], options: Any, host: str
) -> None:
    """EndpointClosedError."""
    endpoint = await aioudp.open_multicast(groups[0], 0, **options)
    endpoint.close()
    await endpoint.aclose()

    for call in (endpoint.join, endpoint.leave):
        with pytest.raises(aioudp.EndpointClosedError):
            call(groups[1])
    for waiting in (
        endpoint.recv(),
        endpoint.recv_many(),
        endpoint.send(b""),
        endpoint.send_to(b"", (host, 9)),
    ):
        with pytest.raises(aioudp.EndpointClosedError):
            await waiting
    assert [datagram async for datagram in endpoint] == []


async def test_a_port_that_is_not_shared(groups: list[str], options: Any) -> None:
    """An ordinary endpoint has its port alone; the message names it."""
    async with aioudp.bind() as owner:
        port = int(owner.local_addr[1])

        with pytest.raises(OSError, match=f"port {port}") as caught:
            await aioudp.open_multicast(groups[0], port, **options)

    assert caught.value.errno == errno.EADDRINUSE


async def test_a_datagram_that_is_too_long(groups: list[str], options: Any) -> None:
    """Each outcome contains the reason."""
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        (outcome,) = await endpoint.send(bytes(70_000))

        assert not outcome.sent
        assert outcome.error is not None
        assert outcome.error.errno == errno.EMSGSIZE
        assert endpoint.stats().send_errors == 1


async def test_waiting_for_room(
    groups: list[str],
    options: Any,
    monkeypatch: pytest.MonkeyPatch,
    until_blocked: UntilBlocked,
) -> None:
    """As an endpoint waits; cancelled meanwhile, nothing is sent."""
    gate = Gate(monkeypatch)
    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        sending = asyncio.create_task(endpoint.send(b"never"))
        await until_blocked(sending)
        sending.cancel()
        assert isinstance(await outcome(sending), asyncio.CancelledError)

        gate.grants = [1]
        (report,) = await endpoint.send(b"at last")

        assert report.sent
        assert await take(endpoint) == b"at last"


async def test_closed_between_two_interfaces(
    groups: list[str], options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EndpointClosedError, and no outcome that blames the second interface."""
    first, *_ = interfaces.choose(["127.0.0.1"])
    second = replace(first, name="second")
    links = [(one.name, one) for one in (first, second)]
    attempt = FanoutEndpoint._attempt

    async def attempt_and_close(
        endpoint: FanoutEndpoint, *arguments: Any
    ) -> aioudp.SendOutcome:
        outcome = await attempt(endpoint, *arguments)
        endpoint.close()
        return outcome

    async with aioudp.open_multicast(groups[0], 0, **options) as endpoint:
        monkeypatch.setattr(interfaces, "look", lambda *_: links)
        monkeypatch.setattr(FanoutEndpoint, "_attempt", attempt_and_close)

        with pytest.raises(aioudp.EndpointClosedError):
            await endpoint.send(b"hello")


async def test_cancelled_opening(groups: list[str], options: Any) -> None:
    """It leaves no socket behind, as the guards would see."""
    port = 0
    async with aioudp.open_multicast(groups[0], 0, **options) as other:
        port = port_of(other)

    async def open_() -> None:
        async with aioudp.open_multicast(groups[0], port, **options):
            await asyncio.Event().wait()

    opening = asyncio.create_task(open_())
    await asyncio.sleep(0)
    opening.cancel()

    assert isinstance(await outcome(opening), asyncio.CancelledError)
    async with aioudp.bind(("", port), family=socket.AF_INET) as owner:
        assert port_of(owner) == port
