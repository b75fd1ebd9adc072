"""Messages: what the kernel knows about each datagram, and answering from there."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp
from aioudp._system import sockets

from .support import linux_only, needs_ipv6, outcome, plain_socket, port_of, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

LOOPBACK: Final = socket.if_nametoindex("lo") if sys.platform == "linux" else 1
SELECTOR = pytest.mark.parametrize("transport", ["selector"])
OFFLOAD = pytest.mark.parametrize(
    "offload", [True, False], ids=["offload", "no-offload"]
)


@pytest.fixture
def endpoint_options() -> dict[str, Any]:
    """Return the options of every endpoint here."""
    return {"packet_info": True}


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket to send from."""
    with plain_socket(host) as sock:
        yield sock


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
async def test_everything_is_told(
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
async def test_every_datagram_of_a_train_is_told_about(
    endpoints: Endpoints, offload: bool, receive: Receive
) -> None:
    """What the kernel tells once holds for all of them (B169)."""
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
    """An IPv4 datagram is told about in terms of IPv4 (B190)."""
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
    return (*message.addr[:2], 0, 0) if ":" in message.addr[0] else message.addr[:2]  # type: ignore[operator]


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
        assert message.unicast is False
        await endpoint.reply(message, b"to you alone")
        assert await peer.recv() == (b"to you alone", ("127.0.0.1", port_of(endpoint)))


@pytest.mark.parametrize("transport", ["loop"])
@EVERY_WAY
async def test_what_the_loop_does_not_tell_is_none(
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
    """What is told does not depend on how errors are heard."""
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
    """A device without a clock gives no time; the rest is told."""
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


# -- waiting


@EVERY_WAY
async def test_without_the_option(endpoints: Endpoints, receive: Receive) -> None:
    """It is an error that names the option, and takes nothing."""
    endpoint, peer = await endpoints.pair(packet_info=False)
    await peer.send(b"x")

    with pytest.raises(ValueError, match="packet_info=True"):
        await receive(endpoint, 1)
    assert (await endpoint.recv()).data == b"x"


@EVERY_WAY
async def test_closed_while_waiting(
    endpoints: Endpoints, receive: Receive, until_blocked: UntilBlocked
) -> None:
    """A call ends with the error, an iteration ends."""
    endpoint = await endpoints.bind()
    waiting = asyncio.ensure_future(receive(endpoint, 1))
    await until_blocked(waiting)

    endpoint.close()

    expected = (
        StopAsyncIteration if receive is _iterated else aioudp.EndpointClosedError
    )
    with pytest.raises(expected):
        await waiting
    with pytest.raises(expected):
        await receive(endpoint, 1)


@EVERY_WAY
@pytest.mark.parametrize("turn", range(4))
async def test_cancelling_loses_nothing(
    endpoints: Endpoints, receive: Receive, turn: int, until_blocked: UntilBlocked
) -> None:
    """Whichever turn of the loop it comes in, the message is still there."""
    endpoint, peer = await endpoints.pair()
    waiting = asyncio.ensure_future(receive(endpoint, 1))
    await until_blocked(waiting)
    await peer.send(b"x")
    for _ in range(turn):
        await asyncio.sleep(0)
    waiting.cancel()

    messages = await outcome(waiting)

    if isinstance(messages, asyncio.CancelledError):
        messages = [await endpoint.recv_message()]
    assert [message.data for message in messages] == [b"x"]


async def test_ways_can_be_mixed(endpoints: Endpoints) -> None:
    """Messages and plain datagrams come from one queue, in order."""
    endpoint, peer = await endpoints.pair()
    for number in range(10):
        await peer.send(b"%d" % number)
    await turns_until(lambda: endpoint.stats().received == 10)

    taken = [
        (await endpoint.recv()).data,
        (await endpoint.recv_message()).data,
        endpoint.recv_nowait().data,
        *(data for data, _ in await endpoint.recv_many(2)),
        *(message.data for message in await endpoint.recv_messages(2)),
        (await anext(endpoint)).data,
        (await anext(endpoint.messages())).data,
        *(data for data, _ in await endpoint.recv_many()),
    ]

    assert taken == [b"%d" % number for number in range(10)]


async def test_plain_datagrams_are_what_they_always_are(endpoints: Endpoints) -> None:
    """``data, addr = ...`` goes on working with the option."""
    endpoint, peer = await endpoints.pair()
    for _ in range(3):
        await peer.send(b"x")
    await turns_until(lambda: endpoint.stats().received == 3)

    for datagram in (
        await endpoint.recv(),
        endpoint.recv_nowait(),
        *(await endpoint.recv_many()),
    ):
        assert type(datagram) is aioudp.Datagram
        assert datagram == (b"x", peer.local_addr)


@pytest.mark.parametrize("count", [0, -1])
async def test_less_than_one_message(endpoints: Endpoints, count: int) -> None:
    """As with ``recv_many``."""
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match="at least 1"):
        await endpoint.recv_messages(count)


async def test_another_protocol_gets_plain_datagrams(endpoints: Endpoints) -> None:
    """One that was written for asyncio knows payload and address."""

    class Protocol(asyncio.DatagramProtocol):
        received: asyncio.Future[Any]

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received.set_result((data, addr))

    endpoint, peer = await endpoints.pair()
    protocol = Protocol()
    protocol.received = asyncio.get_running_loop().create_future()
    endpoint.transport.set_protocol(protocol)

    await peer.send(b"x")

    assert await protocol.received == (b"x", peer.local_addr)


class Interrupting(asyncio.DatagramProtocol):
    """Hands the transport back after the first datagram."""

    def __init__(self, endpoint: aioudp.Endpoint) -> None:
        self.transport = endpoint.transport
        self.owner = endpoint.transport.get_protocol()
        self.heard: list[Any] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)
        self.transport.set_protocol(self.owner)

    def error_received(self, exc: Exception) -> None:
        self.heard.append(exc)


async def test_what_another_protocol_leaves_is_a_message(
    endpoints: Endpoints,
) -> None:
    """The rest of a batch has lost nothing on the way."""
    endpoint, peer = await endpoints.pair()
    await peer.send_many([(b"%d" % number, None) for number in range(3)])
    protocol = Interrupting(endpoint)
    endpoint.transport.set_protocol(protocol)

    messages = await _batches(endpoint, 2)

    assert protocol.heard == [b"0"]
    assert [message.data for message in messages] == [b"1", b"2"]
    assert {type(message) for message in messages} == {aioudp.Message}


@pytest.mark.parametrize("packet_info", [False, True])
async def test_another_protocol_gets_no_beginning_for_the_whole(
    endpoints: Endpoints, packet_info: bool
) -> None:
    """What was too long for it is an error, in its place."""
    endpoint, peer = await endpoints.pair(max_datagram_size=3, packet_info=packet_info)
    protocol = Interrupting(endpoint)
    endpoint.transport.set_protocol(protocol)

    await peer.send_many([(b"long", None), (b"x", None)])
    await turns_until(lambda: len(protocol.heard) == 2)

    error, data = protocol.heard
    assert (error.errno, data) == (errno.EMSGSIZE, b"x")
    assert "4 bytes" in str(error)
    assert endpoint.stats().truncated == 1


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


# -- too long


async def _cut(endpoint: aioudp.Endpoint, receive: Any) -> aioudp.TruncatedError:
    with pytest.raises(aioudp.TruncatedError) as caught:
        await receive(endpoint)
    return caught.value


async def _nowait(endpoint: aioudp.Endpoint) -> aioudp.Datagram:
    found: list[aioudp.Datagram] = []

    def ready() -> bool:
        try:
            found.append(endpoint.recv_nowait())
        except BlockingIOError:
            return False
        return True

    await turns_until(ready)
    return found[0]


PLAIN_WAYS: Final = pytest.mark.parametrize(
    "receive",
    [methodcaller("recv"), methodcaller("recv_many"), _nowait, anext],
    ids=["recv", "recv_many", "recv_nowait", "iteration"],
)
WITH_AND_WITHOUT = pytest.mark.parametrize("packet_info", [False, True])


@WITH_AND_WITHOUT
@PLAIN_WAYS
async def test_a_datagram_that_is_too_long(
    endpoints: Endpoints, receive: Any, packet_info: bool
) -> None:
    """It is an error with the beginning and the length, and the next is fine (B102)."""
    endpoint, peer = await endpoints.pair(
        max_datagram_size=100, packet_info=packet_info
    )
    await peer.send(b"a" * 100 + b"b")
    await turns_until(lambda: endpoint.stats().received == 1)

    error = await _cut(endpoint, receive)

    assert (error.data, error.addr, error.length) == (
        b"a" * 100,
        peer.local_addr,
        101,
    )
    assert endpoint.stats().truncated == 1
    await peer.send(b"c" * 100)
    assert (await endpoint.recv()).data == b"c" * 100
    assert endpoint.stats().truncated == 1


@EVERY_WAY
async def test_a_message_that_is_too_long(
    endpoints: Endpoints, receive: Receive
) -> None:
    """It is returned like any other, and says so itself."""
    endpoint, peer = await endpoints.pair(max_datagram_size=3)
    for data in (b"abc", b"abcd", b"", b"x" * 5000):
        await peer.send(data)

    messages = await receive(endpoint, 4)

    assert [(one.data, one.truncated, one.full_length) for one in messages] == [
        (b"abc", False, None),
        (b"abc", True, 4),
        (b"", False, None),
        (b"xxx", True, 5000),
    ]
    assert endpoint.stats().truncated == 2
    assert endpoint.stats().received == 4


@WITH_AND_WITHOUT
async def test_a_long_one_among_others(endpoints: Endpoints, packet_info: bool) -> None:
    """``recv_many`` returns what stands before it; nothing is lost or out of order."""
    endpoint, peer = await endpoints.pair(max_datagram_size=4, packet_info=packet_info)
    sent = [b"1", b"2", b"3 too long", b"4 too long", b"5", b"6"]
    for data in sent:
        await peer.send(data)
    await turns_until(lambda: endpoint.stats().received == len(sent))

    seen: list[Any] = []
    while len(seen) < len(sent):
        try:
            seen += [data for data, _ in await endpoint.recv_many()]
        except aioudp.TruncatedError as exc:
            seen.append(exc.length)

    assert seen == [b"1", b"2", 10, 10, b"5", b"6"]


@SELECTOR
@OFFLOAD
async def test_a_train_of_datagrams_that_are_too_long(
    endpoints: Endpoints, offload: bool
) -> None:
    """Each is one, and is cut by itself."""
    endpoint = await endpoints.bind(max_datagram_size=10, offload=offload)
    sender = await endpoints.bind()

    await sender.send(b"x" * 50, endpoint.local_addr, segment_size=20)
    messages = await _batches(endpoint, 3)

    assert [one.full_length for one in messages] == [20, 20, None]
    assert [one.data for one in messages] == [b"x" * 10] * 3


async def test_waiting_for_what_is_too_long(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """Of two that wait, the first gets the error, the other the datagram behind it."""
    endpoint, peer = await endpoints.pair(max_datagram_size=1)
    waiting = [asyncio.ensure_future(endpoint.recv()) for _ in range(2)]
    await until_blocked(*waiting)

    await peer.send(b"long")
    await peer.send(b"y")
    first, second = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(first, aioudp.TruncatedError)
    assert second == (b"y", peer.local_addr)
