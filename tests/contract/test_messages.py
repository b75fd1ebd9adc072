"""Messages: a datagram, and what the kernel knows about it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp
from aioudp._system import sockets

from .support import linux_only, needs_ipv6, plain_socket, port_of

if TYPE_CHECKING:
    from tests.conftest import Endpoints

LOOPBACK: Final = socket.if_nametoindex("lo") if sys.platform == "linux" else 1
SELECTOR = pytest.mark.parametrize("transport", ["selector"])
OFFLOAD = pytest.mark.parametrize(
    "offload", [True, False], ids=["offload", "no-offload"]
)


@pytest.fixture
def endpoint_options() -> dict[str, Any]:
    """Return the options of every endpoint here."""
    return {"packet_info": True}


async def _one_by_one(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Message]:
    return [await endpoint.recv_message() for _ in range(count)]


async def _batches(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Message]:
    messages: list[aioudp.Message] = []
    while len(messages) < count:
        messages += await endpoint.recv_messages(count - len(messages))
    return messages


async def _iterated(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Message]:
    iterator = endpoint.messages()
    return [await anext(iterator) for _ in range(count)]


EVERY_WAY = pytest.mark.parametrize(
    "receive",
    [_one_by_one, _batches, _iterated],
    ids=["recv_message", "recv_messages", "messages"],
)
Receive = Callable[[aioudp.Endpoint, int], Any]


def mark(sock: socket.socket, *, tos: int, hop_limit: int) -> None:
    """Have a plain socket send with these, whatever it sends."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)


# -- what is known


@linux_only
@SELECTOR
@EVERY_WAY
async def test_all_packet_info(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """Address, interface, traffic class, hop limit, time (B126) (B170) (B171)."""
    endpoint = await endpoints.bind()
    mark(peer, tos=0b101110_01, hop_limit=9)

    before = time.time_ns()
    peer.sendto(b"payload", endpoint.local_addr)
    (message,) = await receive(endpoint, 1)
    after = time.time_ns()

    assert message[:2] == (b"payload", peer.getsockname())
    assert message.local_addr == endpoint.local_addr
    assert message.interface == LOOPBACK
    assert (message.tos, message.ecn, message.hop_limit) == (0b101110_01, 1, 9)
    assert before <= message.timestamp_ns <= after
    assert message.timestamp == pytest.approx(message.timestamp_ns / 1e9, abs=1e-6)
    assert (message.truncated, message.full_length) == (False, None)
    assert message.unicast is True


@linux_only
@SELECTOR
@OFFLOAD
@EVERY_WAY
async def test_every_datagram_of_a_train_has_packet_info(
    endpoints: Endpoints, offload: bool, receive: Receive
) -> None:
    """The kernel's packet info applies to all of them (B169)."""
    endpoint = await endpoints.bind(offload=offload)
    sender = await endpoints.bind()
    payload = bytes(range(250)) * 10

    await sender.send(
        payload, endpoint.local_addr, segment_size=1000, tos=2, hop_limit=33
    )
    messages = await receive(endpoint, 3)

    assert [message.data for message in messages] == [
        payload[:1000],
        payload[1000:2000],
        payload[2000:],
    ]
    for message in messages:
        assert message.addr == sender.local_addr
        assert message.local_addr == endpoint.local_addr
        assert (message.interface, message.tos) == (LOOPBACK, 2)
        assert (message.ecn, message.hop_limit) == (2, 33)
        assert abs(message.timestamp_ns - time.time_ns()) < 10**10


@linux_only
@SELECTOR
@OFFLOAD
@EVERY_WAY
@pytest.mark.parametrize("segments", [1, 20])
async def test_the_time_is_that_of_the_arrival(
    endpoints: Endpoints, offload: bool, receive: Receive, segments: int
) -> None:
    """At rest it is within a millisecond of the wall clock, of a train too."""
    endpoint = await endpoints.bind(offload=offload)
    sender = await endpoints.bind()

    ages = []
    for _ in range(20):  # the machine may be busy with something else now and then
        await sender.send(b"x" * segments, endpoint.local_addr, segment_size=1)
        now = time.time_ns()
        messages = await receive(endpoint, segments)
        ages.append(max(abs(message.timestamp_ns - now) for message in messages))

    assert min(ages) < 1_000_000


@linux_only
@SELECTOR
@OFFLOAD
async def test_every_message_of_a_batch_has_its_own(
    endpoints: Endpoints, peer: socket.socket, offload: bool
) -> None:
    """Of a hundred datagrams none has what belongs to another, and time goes on."""
    endpoint = await endpoints.bind(offload=offload)
    for number in range(100):
        mark(peer, tos=number << 1 & 0xFC, hop_limit=number + 1)
        peer.sendto(b"%d" % number, endpoint.local_addr)

    messages = await _batches(endpoint, 100)

    assert [(int(one.data), one.tos, one.hop_limit) for one in messages] == [
        (number, number << 1 & 0xFC, number + 1) for number in range(100)
    ]
    stamps = [one.timestamp_ns or 0 for one in messages]
    assert stamps == sorted(stamps)
    assert stamps[0] > 0


@linux_only
@needs_ipv6
@OFFLOAD
async def test_dual_stack(offload: bool) -> None:
    """An IPv4 datagram has IPv4 packet info (B190)."""
    async with aioudp.bind(("", 0), packet_info=True, offload=offload) as endpoint:
        port = port_of(endpoint)
        for host, local_addr in (
            ("127.0.0.1", ("127.0.0.5", port)),
            ("::1", ("::1", port, 0, 0)),
        ):
            with plain_socket(host) as peer:
                mark(peer, tos=7, hop_limit=21)
                peer.sendto(b"x", local_addr)
                message = await endpoint.recv_message()

            assert message.addr == peer_address(peer, message)
            assert message.local_addr == local_addr
            assert (message.interface, message.tos) == (LOOPBACK, 7)
            assert (message.hop_limit, message.unicast) == (21, True)
            assert message.timestamp_ns


def peer_address(peer: socket.socket, message: aioudp.Message) -> Any:
    """Return the address of a plain socket that is closed by now."""
    assert peer.fileno() == -1
    return (*message.addr[:2], 0, 0) if ":" in message.addr[0] else message.addr[:2]


@linux_only
async def test_sent_by_broadcast() -> None:
    """The message says where it was sent to, and that others have got it too."""
    async with (
        aioudp.bind(("0.0.0.0", 0), packet_info=True) as endpoint,
        aioudp.bind(("0.0.0.0", 0), broadcast=True) as peer,
    ):
        await peer.send(b"hello", ("127.255.255.255", port_of(endpoint)))
        message = await endpoint.recv_message()

        assert message.local_addr == ("127.255.255.255", port_of(endpoint))
        assert (message.unicast, message.to_group) == (False, False)
        await endpoint.reply(message, b"to you alone")
        assert await peer.recv() == (b"to you alone", ("127.0.0.1", port_of(endpoint)))


@pytest.mark.parametrize("transport", ["loop"])
@EVERY_WAY
async def test_fields_that_the_loop_lacks_are_none(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """Its own transports know payload and sender alone."""
    endpoint = await endpoints.bind()

    peer.sendto(b"payload", endpoint.local_addr)
    (message,) = await receive(endpoint, 1)

    assert message == aioudp.Message(b"payload", peer.getsockname())
    assert set(message[2:]) == {None, False}
    assert message.ecn is None
    await endpoint.reply(message, b"answer")
    assert await asyncio.to_thread(peer.recv, 100) == b"answer"


@linux_only
@SELECTOR
async def test_adopted_socket(endpoints: Endpoints, host: str) -> None:
    """The option holds for a socket from elsewhere."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    async with aioudp.adopt(sock, packet_info=True) as endpoint:
        sender = await endpoints.bind()
        await sender.send(b"x", endpoint.local_addr, tos=3)

        assert (await endpoint.recv_message()).tos == 3


@linux_only
@needs_ipv6
@pytest.mark.parametrize("target", ["127.0.0.5", "::1"])
async def test_what_came_before_it_was_adopted(target: str) -> None:
    """The kernel kept less of it; it is answered from where it came to all the same."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("", 0))
    port = sock.getsockname()[1]
    async with aioudp.connect((target, port)) as peer:
        await peer.send(b"early")
        async with aioudp.adopt(sock, packet_info=True) as endpoint:
            message = await endpoint.recv_message()

            assert message.local_addr == peer.remote_addr
            assert message.interface in (None, LOOPBACK)
            assert message.unicast in (None, True)
            await endpoint.reply(message, b"answer")
            assert (await peer.recv()).data == b"answer"


@linux_only
@pytest.mark.parametrize("timestamps", ["software", "hardware"])
async def test_adopted_socket_with_timestamps_of_its_own(
    timestamps: Any,
) -> None:
    """The clock is the one that was asked for."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    sock.setsockopt(socket.SOL_SOCKET, 37, 1 << 2 | 1 << 6)  # SO_TIMESTAMPING
    async with (
        aioudp.adopt(sock, packet_info=True, timestamps=timestamps) as endpoint,
        aioudp.connect(endpoint.local_addr) as peer,
    ):
        await peer.send(b"x")
        message = await endpoint.recv_message()

        assert (message.timestamp_ns is None) == (timestamps == "hardware")
        assert bool(sock.getsockopt(socket.SOL_SOCKET, 37)) == (
            timestamps == "hardware"
        )


@linux_only
async def test_together_with_the_error_queue() -> None:
    """Packet info doesn't depend on how errors are received."""
    async with (
        aioudp.bind(("127.0.0.1", 0), packet_info=True, icmp_errors=True) as endpoint,
        aioudp.connect(endpoint.local_addr) as peer,
    ):
        await peer.send(b"x", tos=3)
        message = await endpoint.recv_message()

        assert (message.local_addr, message.tos) == (endpoint.local_addr, 3)
        assert message.timestamp_ns is not None


@linux_only
@SELECTOR
async def test_hardware_timestamps_where_there_are_none(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A device without a clock gives no timestamp; the other fields are set."""
    endpoint = await endpoints.bind(timestamps="hardware")

    peer.sendto(b"x", endpoint.local_addr)
    message = await endpoint.recv_message()

    assert (message.timestamp, message.timestamp_ns) == (None, None)
    assert message.local_addr == endpoint.local_addr


async def test_hardware_timestamps_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is an error of the opening, and leaves no socket behind."""
    monkeypatch.setattr(sockets, "_accepts", lambda *_: False)
    with pytest.raises(ValueError, match="hardware"):
        await aioudp.bind(("127.0.0.1", 0), packet_info=True, timestamps="hardware")


# -- answering


@linux_only
@needs_ipv6
@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.5", "::1"])
async def test_the_answer_comes_from_the_address_that_was_asked(target: str) -> None:
    """A client that is connected to any address of the server hears its answer."""
    async with (
        aioudp.bind(("", 0), packet_info=True) as server,
        aioudp.connect((target, port_of(server))) as client,
    ):
        await client.send(b"question")
        message = await server.recv_message()
        await server.reply(message, b"answer")

        assert await client.recv() == (b"answer", client.remote_addr)


@linux_only
async def test_many_answers_at_once() -> None:
    """One call answers each from where it was asked."""
    hosts = [f"127.0.0.{number}" for number in range(1, 11)]
    async with aioudp.bind(("0.0.0.0", 0), packet_info=True) as server:
        port = port_of(server)
        clients = [await aioudp.connect((host, port)) for host in hosts]
        try:
            for client in clients:
                await client.send(b"question")
            messages = await _batches(server, len(clients))
            await server.send_many(
                (
                    b"answer",
                    message.addr,
                    aioudp.SendOptions(local_addr=message.local_addr),
                )
                for message in messages
            )
            for client, host in zip(clients, hosts, strict=True):
                assert await client.recv() == (b"answer", (host, port))
        finally:
            for client in clients:
                client.close()
