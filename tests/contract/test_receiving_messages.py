"""``recv_message`` and ``recv_messages``: waiting, and what is too long."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp

from .support import outcome, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

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


# -- waiting


@pytest.mark.no_matrix
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


@pytest.mark.no_matrix
@pytest.mark.parametrize("count", [0, -1])
async def test_less_than_one_message(endpoints: Endpoints, count: int) -> None:
    """As with ``recv_many``."""
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match="from 1"):
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
    [
        methodcaller("recv"),
        methodcaller("recv_many"),
        methodcaller("recv_batch"),
        _nowait,
        anext,
    ],
    ids=["recv", "recv_many", "recv_batch", "recv_nowait", "iteration"],
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
@pytest.mark.parametrize("many", ["recv_many", "recv_batch"])
async def test_a_long_one_among_others(
    endpoints: Endpoints, packet_info: bool, many: str
) -> None:
    """``recv_many`` returns what stands before it; nothing is lost or out of order."""
    endpoint, peer = await endpoints.pair(max_datagram_size=4, packet_info=packet_info)
    sent = [b"1", b"2", b"3 too long", b"4 too long", b"5", b"6"]
    for data in sent:
        await peer.send(data)
    await turns_until(lambda: endpoint.stats().received == len(sent))

    seen: list[Any] = []
    while len(seen) < len(sent):
        try:
            seen += [data for data, _ in await getattr(endpoint, many)()]
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
