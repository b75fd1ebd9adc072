"""Broadcast on one machine: sharing, own datagrams, results, errors. B196, B198."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Final

import pytest

import aioudp
from aioudp import broadcast
from aioudp._system import interfaces

from ..conftest import UntilBlocked
from .support import WAYS_TO_RECEIVE, Gate, linux_only, outcome, plain_socket

_EVERYBODY: Final = "127.255.255.255"  # of this machine
_PATIENCE: Final = 5  # seconds

pytestmark = linux_only  # whose loopback interface has broadcast


@pytest.fixture
def options(transport: aioudp.TransportKind) -> Any:
    """Return the options that keep an endpoint on the loopback interface."""
    return {"interfaces": ["127.0.0.1"], "transport": transport}


def port_of(endpoint: aioudp.BroadcastEndpoint | aioudp.Endpoint) -> int:
    return int(endpoint.local_addr[1])


async def take(endpoint: aioudp.BroadcastEndpoint) -> bytes:
    async with asyncio.timeout(_PATIENCE):
        return (await endpoint.recv()).data


async def _recv_message(endpoint: Any, count: int) -> list[aioudp.Message]:
    return [await endpoint.recv_message() for _ in range(count)]


async def _recv_messages(endpoint: Any, count: int) -> list[aioudp.Message]:
    messages: list[aioudp.Message] = []
    while len(messages) < count:
        messages += await endpoint.recv_messages(count - len(messages))
    return messages


async def _iterate(endpoint: Any, count: int) -> list[aioudp.Message]:
    messages = endpoint.messages()
    return [await anext(messages) for _ in range(count)]


WAYS_TO_GET_MESSAGES: Final[Any] = {
    "recv_message": _recv_message,
    "recv_messages": _recv_messages,
    "messages": _iterate,
}


# -- sending and receiving


async def test_everybody_on_the_port_gets_it(options: Any) -> None:
    """Each gets a copy, including the sender; the outcome has the destination."""
    async with (
        aioudp.open_broadcast(0, **options) as one,
        aioudp.open_broadcast(port_of(one), **options) as two,
        aioudp.open_broadcast(port_of(one), **options) as three,
    ):
        outcomes = await one.send(b"hello")

        assert outcomes == [aioudp.SendOutcome("lo", (_EVERYBODY, port_of(one)))]
        assert outcomes[0].sent
        assert [await take(each) for each in (one, two, three)] == [b"hello"] * 3


async def test_to_another_port(options: Any) -> None:
    """The answer comes to where the question left from."""
    async with (
        aioudp.open_broadcast(0, **options) as device,
        aioudp.open_broadcast(0, **options) as asker,
    ):
        assert port_of(device) != port_of(asker)
        (report,) = await asker.send(b"who?", port_of(device))
        data, addr = await device.recv()
        await device.send_to(b"I", addr)

        assert data == b"who?"
        assert report.addr == (_EVERYBODY, port_of(device))
        assert await take(asker) == b"I"


@pytest.mark.parametrize("way", WAYS_TO_RECEIVE)
async def test_every_way_to_receive(options: Any, way: str) -> None:
    """They are those of an endpoint."""
    async with aioudp.open_broadcast(0, **options) as endpoint:
        for data in (b"one", b"", b"three"):
            await endpoint.send(data)
        received: Any = WAYS_TO_RECEIVE[way]

        async with asyncio.timeout(_PATIENCE):
            datagrams = await received(endpoint, 3)

        assert [data for data, _ in datagrams] == [b"one", b"", b"three"]
        assert endpoint.stats().received == endpoint.stats().sent == 3


@pytest.mark.parametrize("way", WAYS_TO_RECEIVE)
async def test_own_datagrams_can_be_left_out(options: Any, way: str) -> None:
    """Those of others are heard, also of this machine."""
    received: Any = WAYS_TO_RECEIVE[way]
    with plain_socket("127.0.0.1") as other:
        async with aioudp.open_broadcast(0, receive_own=False, **options) as endpoint:
            there = "127.0.0.1", port_of(endpoint)
            await endpoint.send(b"own")
            other.sendto(b"one", there)
            await endpoint.send(b"own")
            await endpoint.send_to(b"own, to itself", there)
            other.sendto(b"two", there)

            async with asyncio.timeout(_PATIENCE):
                datagrams = await received(endpoint, 2)

            assert datagrams == [
                (b"one", other.getsockname()),
                (b"two", other.getsockname()),
            ]


@pytest.mark.parametrize("way", WAYS_TO_GET_MESSAGES)
async def test_messages(options: Any, way: str) -> None:
    """Own datagrams can be ignored in these, too. ``network`` tests their contents."""
    received: Any = WAYS_TO_GET_MESSAGES[way]
    options |= {"packet_info": True}
    with plain_socket("127.0.0.1") as other:
        async with aioudp.open_broadcast(0, receive_own=False, **options) as endpoint:
            await endpoint.send(b"own")
            other.sendto(b"one", ("127.0.0.1", port_of(endpoint)))
            await endpoint.send(b"own")
            other.sendto(b"two", ("127.0.0.1", port_of(endpoint)))

            async with asyncio.timeout(_PATIENCE):
                messages = await received(endpoint, 2)
            await endpoint.reply(messages[0], b"answer")

            assert [message.data for message in messages] == [b"one", b"two"]
            assert other.recv(100) == b"answer"
            endpoint.close()
            assert [message async for message in endpoint.messages()] == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_every_kind_of_payload(options: Any, kind: Any) -> None:
    """Whatever is bytes-like, and nothing else."""
    async with aioudp.open_broadcast(0, **options) as endpoint:
        await endpoint.send(kind(b"hello"))
        assert await take(endpoint) == b"hello"

        with pytest.raises(TypeError, match="bytes-like"):
            await endpoint.send("text")  # type: ignore[arg-type]


async def test_each_interface_is_used_once(options: Any) -> None:
    """However often, and in whatever way, it is named."""
    options |= {"interfaces": ["127.0.0.1", "lo", socket.if_nametoindex("lo")]}
    async with aioudp.open_broadcast(0, **options) as endpoint:
        assert len(await endpoint.send(b"once")) == 1


async def test_no_interface(options: Any) -> None:
    """Then nothing is sent, and there are no outcomes."""
    async with aioudp.open_broadcast(0, **options | {"interfaces": []}) as endpoint:
        assert await endpoint.send(b"") == []


async def test_a_system_that_lists_no_interface(
    monkeypatch: pytest.MonkeyPatch, transport: aioudp.TransportKind
) -> None:
    """The system chooses, and says so if it cannot."""
    monkeypatch.setattr(interfaces, "kernel_interfaces", list)
    async with aioudp.open_broadcast(0, transport=transport) as endpoint:
        (report,) = await endpoint.send(bytes(70_000))

        assert (report.interface, report.addr[0]) == ("", "255.255.255.255")
        assert report.error is not None
        assert report.error.errno in (errno.EMSGSIZE, errno.ENETUNREACH)

    with pytest.raises(ValueError, match="receive_own"):
        await aioudp.open_broadcast(0, receive_own=False, transport=transport)


# -- the socket


async def test_what_is_switched_on(options: Any) -> None:
    """What sharing and broadcasting take; the way out is chosen for each datagram."""
    async with aioudp.open_broadcast(0, **options) as endpoint:
        sock = endpoint.get_extra_info("socket")

        def option(name: str) -> int:
            return int(sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)))

        assert option("SO_BROADCAST") == option("SO_REUSEADDR") == 1
        assert option("SO_REUSEPORT") == 0
        await endpoint.send(b"hello")
        ip_unicast_if = 50  # include/uapi/linux/in.h
        assert sock.getsockopt(socket.IPPROTO_IP, ip_unicast_if) == 0
        assert endpoint.family == socket.AF_INET
        assert repr(endpoint) == (
            f"<BroadcastEndpoint local_addr={endpoint.local_addr!r}>"
        )


async def test_options(options: Any) -> None:
    """They are those of every endpoint."""
    async with aioudp.open_broadcast(
        0,
        reuse_port=True,
        broadcast=True,
        family=socket.AF_INET,
        queue_size=2,
        overflow="drop-newest",
        **options,
    ) as endpoint:
        sock = endpoint.get_extra_info("socket")
        option = getattr(socket, "SO_REUSEPORT")  # noqa: B009
        assert sock.getsockopt(socket.SOL_SOCKET, option) == 1


async def test_a_port_that_is_not_shared(options: Any) -> None:
    """An ordinary endpoint has its port alone; the message names it."""
    async with aioudp.bind(("0.0.0.0", 0)) as owner:
        port = port_of(owner)

        with pytest.raises(OSError, match=f"port {port}") as caught:
            await aioudp.open_broadcast(port, **options)

    assert caught.value.errno == errno.EADDRINUSE


# -- errors


@pytest.mark.parametrize("interface", ["no-such-one", 2**31 - 1])
async def test_an_interface_that_is_not_there(
    transport: aioudp.TransportKind, interface: Any
) -> None:
    """ENODEV when opening, and its name."""
    with pytest.raises(OSError, match=str(interface)) as caught:
        await aioudp.open_broadcast(0, interfaces=[interface], transport=transport)

    assert caught.value.errno == errno.ENODEV


async def test_an_interface_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    """It's reported, and the others are served."""
    loopback, *_ = interfaces.choose(["lo"])
    gone = aioudp.Interface("gone0", 9999, (), (), frozenset({"up", "running"}))
    monkeypatch.setattr(interfaces, "kernel_interfaces", lambda: [loopback, gone])
    options |= {"interfaces": ["gone0", "lo"]}
    async with aioudp.open_broadcast(0, **options) as endpoint:
        first, second = await endpoint.send(b"hello")
        assert first.error is not None
        assert (first.interface, second.interface) == ("gone0", "lo")
        assert second.sent

        monkeypatch.setattr(interfaces, "kernel_interfaces", lambda: [loopback])
        first, second = await endpoint.send(b"hello")
        assert (first.interface, second.sent) == ("gone0", True)
        assert first.addr == ("255.255.255.255", port_of(endpoint))
        assert first.error is not None
        assert first.error.errno == errno.ENODEV


def test_what_is_no_argument() -> None:
    """TypeError and ValueError at the call."""
    call: Any = aioudp.open_broadcast
    for name, value in (
        ("port", "1"),
        ("port", None),
        ("port", True),
        ("interfaces", "lo"),
        ("interfaces", 1),
        ("receive_own", 1),
        ("no_such_option", 1),
    ):
        with pytest.raises(TypeError, match=name):
            call(**{"port": 0, name: value})
    for name, value in (
        ("port", -1),
        ("port", 65536),
        ("family", socket.AF_INET6),
        ("broadcast", False),
        ("queue_size", 0),
    ):
        with pytest.raises(ValueError, match=name):
            call(**{"port": 0, name: value})


@pytest.mark.no_matrix
@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_a_port_that_nothing_can_be_sent_to(options: Any, port: int) -> None:
    """ValueError; a port that is no number is a TypeError."""
    async with aioudp.open_broadcast(0, **options) as endpoint:
        with pytest.raises(ValueError, match="port must be"):
            await endpoint.send(b"", port)
        with pytest.raises(TypeError, match="port must be"):
            await endpoint.send(b"", "9")  # type: ignore[arg-type]

        await endpoint.send(b"still there")
        assert await take(endpoint) == b"still there"


async def test_a_datagram_that_is_too_long(options: Any) -> None:
    """Each outcome contains the reason."""
    async with aioudp.open_broadcast(0, **options) as endpoint:
        (report,) = await endpoint.send(bytes(70_000))

        assert not report.sent
        assert report.error is not None
        assert report.error.errno == errno.EMSGSIZE
        assert endpoint.stats().send_errors == 1


async def test_every_call_after_close(options: Any) -> None:
    """EndpointClosedError."""
    endpoint = await aioudp.open_broadcast(0, **options)
    endpoint.close()
    await endpoint.aclose()

    for waiting in (
        endpoint.recv(),
        endpoint.recv_many(),
        endpoint.send(b"", 9),
        endpoint.send_to(b"", ("127.0.0.1", 9)),
    ):
        with pytest.raises(aioudp.EndpointClosedError):
            await waiting
    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.recv_nowait()
    assert [datagram async for datagram in endpoint] == []
    assert repr(endpoint) == "<BroadcastEndpoint closed>"


# -- waiting, cancelling


async def test_waiting_for_room(
    options: Any, monkeypatch: pytest.MonkeyPatch, until_blocked: UntilBlocked
) -> None:
    """As an endpoint waits; cancelled meanwhile, nothing is sent."""
    gate = Gate(monkeypatch)
    async with aioudp.open_broadcast(0, **options) as endpoint:
        sending = asyncio.create_task(endpoint.send(b"never"))
        await until_blocked(sending)
        sending.cancel()
        assert isinstance(await outcome(sending), asyncio.CancelledError)

        gate.grants = [1]
        (report,) = await endpoint.send(b"at last")

        assert report.sent
        assert await take(endpoint) == b"at last"


async def test_closed_while_waiting_for_room(
    options: Any, monkeypatch: pytest.MonkeyPatch, until_blocked: UntilBlocked
) -> None:
    """EndpointClosedError, and no outcome that blames the interface."""
    Gate(monkeypatch)
    async with aioudp.open_broadcast(0, **options) as endpoint:
        sending = asyncio.create_task(endpoint.send(b"never"))
        await until_blocked(sending)
        endpoint.close()

        assert isinstance(await outcome(sending), aioudp.EndpointClosedError)


async def test_a_cancelled_recv_loses_nothing(
    options: Any, until_blocked: UntilBlocked
) -> None:
    """Also where it has passed over own datagrams before."""
    with plain_socket("127.0.0.1") as other:
        async with aioudp.open_broadcast(0, receive_own=False, **options) as endpoint:
            await endpoint.send(b"own")
            receiving = asyncio.create_task(endpoint.recv())
            await until_blocked(receiving)
            other.sendto(b"hello", ("127.0.0.1", port_of(endpoint)))
            receiving.cancel()
            assert isinstance(await outcome(receiving), asyncio.CancelledError)

            assert await take(endpoint) == b"hello"


async def test_a_failed_opening_leaves_no_socket(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the guards would see."""
    async with aioudp.open_broadcast(0, **options) as other:
        port = port_of(other)
    monkeypatch.setattr(broadcast, "adopt", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        await aioudp.open_broadcast(port, **options)

    async with aioudp.bind(("0.0.0.0", port)) as owner:
        assert port_of(owner) == port
