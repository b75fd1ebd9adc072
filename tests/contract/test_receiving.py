"""Receiving: what is handed over, and each of the ways to wait for it."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import EITHER_WAY, WAYS_TO_RECEIVE, outcome, plain_socket, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

Receive = Callable[[aioudp.Endpoint, int], Awaitable[list[aioudp.Datagram]]]

EVERY_WAY = pytest.mark.parametrize(
    "receive", WAYS_TO_RECEIVE.values(), ids=WAYS_TO_RECEIVE
)


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


@pytest.fixture
def other(host: str) -> Iterator[socket.socket]:
    """Return another one."""
    with plain_socket(host) as sock:
        yield sock


def send_all(sock: socket.socket, endpoint: aioudp.Endpoint, *payloads: bytes) -> None:
    """Send the datagrams; on loopback they are in the kernel when this returns."""
    for payload in payloads:
        sock.sendto(payload, endpoint.local_addr)


async def queued(endpoint: aioudp.Endpoint, count: int) -> None:
    """Let the loop turn until the endpoint has taken *count* from the kernel."""
    await turns_until(lambda: endpoint.stats().received == count)


def payloads_of(datagrams: list[aioudp.Datagram]) -> list[bytes]:
    return [data for data, _ in datagrams]


MANY = pytest.mark.parametrize("many", ["recv_many", "recv_batch"])

# -- what is handed over


@EVERY_WAY
async def test_datagrams_are_kept_apart(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """Datagrams arrive one by one, whole, in order, with their sender (B100) (B101)."""
    endpoint = await endpoints.bind()
    payloads = [b"one", b"", b"x" * 1472, b"y" * 8192, b"", b"two", bytes(60_000)]

    send_all(peer, endpoint, *payloads)

    assert await receive(endpoint, len(payloads)) == [
        (payload, peer.getsockname()) for payload in payloads
    ]


@EVERY_WAY
async def test_each_sender_is_named(
    endpoints: Endpoints, peer: socket.socket, other: socket.socket, receive: Receive
) -> None:
    """Each datagram comes with the address of its own sender (B100) (B122)."""
    endpoint = await endpoints.bind()
    senders = [peer, other, other, peer, other] * 4

    for sender in senders:
        send_all(sender, endpoint, b"same")

    assert await receive(endpoint, len(senders)) == [
        (b"same", sender.getsockname()) for sender in senders
    ]


@EVERY_WAY
async def test_class_of_a_datagram(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """A datagram is a Datagram, its payload is bytes, and it unpacks."""
    endpoint = await endpoints.bind()
    send_all(peer, endpoint, b"hello")

    [datagram] = await receive(endpoint, 1)

    assert type(datagram) is aioudp.Datagram
    assert type(datagram.data) is bytes
    data, addr = datagram
    assert (data, addr) == (datagram.data, datagram.addr)


@EVERY_WAY
async def test_longest_datagram(
    endpoints: Endpoints, family: int, peer: socket.socket, receive: Receive
) -> None:
    """The longest datagram there is arrives whole: nothing is cut off (B102)."""
    endpoint = await endpoints.bind()
    longest = random.Random(102).randbytes(
        65_507 if family == socket.AF_INET else 65_527
    )
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    send_all(peer, endpoint, longest, b"next")

    assert payloads_of(await receive(endpoint, 2)) == [longest, b"next"]
    assert endpoint.stats().truncated == 0


@EVERY_WAY
async def test_many_empty_datagrams(
    endpoints: Endpoints, peer: socket.socket, receive: Receive
) -> None:
    """A hundred empty datagrams arrive as a hundred, and end nothing (B065) (B066)."""
    endpoint = await endpoints.bind()

    send_all(peer, endpoint, *[b""] * 100, b"end")

    assert payloads_of(await receive(endpoint, 101)) == [b""] * 100 + [b"end"]


async def test_received_is_counted(endpoints: Endpoints, peer: socket.socket) -> None:
    """Datagrams and bytes are counted as they are taken from the kernel."""
    endpoint = await endpoints.bind()

    send_all(peer, endpoint, b"one", b"", b"three")
    await queued(endpoint, 3)

    assert endpoint.stats() == aioudp.Stats(received=3, received_bytes=8)


async def test_source_port_0(
    endpoints: Endpoints, family: socket.AddressFamily, host: str
) -> None:
    """A datagram from port 0 is received; answering it is a ValueError (B121)."""
    endpoint = await endpoints.bind()
    try:
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("cannot: raw: no permission to forge a UDP header")
    with raw:
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
        header = struct.pack("!4H", 0, endpoint.local_addr[1], 8 + 5, 0)
        raw.sendto(header + b"hello", (host, 0))

    data, addr = await endpoint.recv()

    assert (data, addr[:2]) == (b"hello", (host, 0))
    with pytest.raises(ValueError, match="port"):
        await endpoint.send(b"answer", addr)


# -- waiting


async def test_recv_waits(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """A recv waits until there is a datagram, and returns it."""
    endpoint = await endpoints.bind()
    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)
    assert not receiving.done()

    send_all(peer, endpoint, b"hello")

    assert await receiving == (b"hello", peer.getsockname())


async def test_an_empty_datagram_wakes(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """An empty datagram ends the wait of a recv, each time (B066)."""
    endpoint = await endpoints.bind()

    for _ in range(10):
        receiving = asyncio.create_task(endpoint.recv())
        await until_blocked(receiving)
        send_all(peer, endpoint, b"")
        assert await receiving == (b"", peer.getsockname())


@pytest.mark.skipif(
    sys.platform == "win32", reason="cannot: signals: Windows loops handle none"
)
async def test_a_signal_disturbs_nothing(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """A signal while a recv waits neither ends the wait nor loses anything (B119)."""
    endpoint = await endpoints.bind()
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, signalled.set)
    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)

    await asyncio.to_thread(os.kill, os.getpid(), signal.SIGINT)
    await signalled.wait()
    assert not receiving.done()
    send_all(peer, endpoint, b"hello")

    assert await receiving == (b"hello", peer.getsockname())
    loop.remove_signal_handler(signal.SIGINT)


# -- recv_many and recv_batch


@MANY
async def test_recv_many_waits_for_one(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, many: str
) -> None:
    """A recv_many waits until there is a datagram."""
    endpoint = await endpoints.bind()
    receiving = asyncio.create_task(getattr(endpoint, many)())
    await until_blocked(receiving)
    assert not receiving.done()

    send_all(peer, endpoint, b"hello")

    assert await receiving == [(b"hello", peer.getsockname())]


@MANY
async def test_recv_many_returns_all(
    endpoints: Endpoints, peer: socket.socket, many: str
) -> None:
    """A recv_many returns all that are queued, oldest first."""
    endpoint = await endpoints.bind()
    send_all(peer, endpoint, *(b"%d" % number for number in range(5)))
    await queued(endpoint, 5)

    datagrams = await getattr(endpoint, many)()

    assert datagrams == list(datagrams)
    assert payloads_of(datagrams) == [b"0", b"1", b"2", b"3", b"4"]


@MANY
async def test_recv_many_takes_what_the_kernel_has(
    host: str, peer: socket.socket, many: str
) -> None:
    """On the selector transport it returns all that had arrived, queued or not."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        send_all(peer, endpoint, *(b"%d" % number for number in range(50)))

        datagrams = await getattr(endpoint, many)()

    assert payloads_of(datagrams) == [b"%d" % number for number in range(50)]


@MANY
async def test_recv_many_after_single_datagrams_takes_all(
    host: str, peer: socket.socket, many: str
) -> None:
    """However many came alone before, recv_many returns all that had arrived."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        for _ in range(20):
            send_all(peer, endpoint, b"alone")
            await endpoint.recv()
            send_all(peer, endpoint, b"1", b"2", b"3")

            assert payloads_of(await getattr(endpoint, many)()) == [b"1", b"2", b"3"]

            for _ in range(10):
                send_all(peer, endpoint, b"alone")
                await endpoint.recv()


@MANY
async def test_recv_many_with_a_limit(
    endpoints: Endpoints, peer: socket.socket, many: str
) -> None:
    """A recv_many returns no more than it was asked for; the rest stays queued."""
    endpoint = await endpoints.bind()
    send_all(peer, endpoint, *(b"%d" % number for number in range(5)))
    await queued(endpoint, 5)

    limited = [await getattr(endpoint, many)(limit) for limit in (1, 3, 100)]

    assert list(map(payloads_of, limited)) == [[b"0"], [b"1", b"2", b"3"], [b"4"]]


@pytest.mark.no_matrix
@pytest.mark.parametrize("limit", [0, -1])
@MANY
async def test_recv_many_with_a_limit_below_1(
    endpoints: Endpoints, peer: socket.socket, limit: int, many: str
) -> None:
    """A limit below 1 is a ValueError, and takes nothing (B104)."""
    endpoint = await endpoints.bind()
    send_all(peer, endpoint, b"hello")

    with pytest.raises(ValueError, match=str(limit)):
        await getattr(endpoint, many)(limit)

    assert payloads_of([await endpoint.recv()]) == [b"hello"]


# -- recv_nowait


async def test_recv_nowait(endpoints: Endpoints, peer: socket.socket) -> None:
    """A recv_nowait returns what is queued, then raises BlockingIOError."""
    endpoint = await endpoints.bind()
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()
    send_all(peer, endpoint, b"one", b"two")
    await queued(endpoint, 2)

    assert endpoint.recv_nowait() == (b"one", peer.getsockname())
    assert endpoint.recv_nowait() == (b"two", peer.getsockname())
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


async def test_recv_nowait_takes_what_the_kernel_has(
    host: str, peer: socket.socket
) -> None:
    """On the selector transport it finds what arrived since the loop last looked."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        send_all(peer, endpoint, b"hello")

        assert endpoint.recv_nowait() == (b"hello", peer.getsockname())


# -- iteration


async def test_echo_until_cancelled(endpoints: Endpoints) -> None:
    """A server that iterates answers until it is cancelled (B115)."""
    server, client = await endpoints.pair()

    async def echo() -> None:
        async for data, addr in server:
            await server.send(data, addr)

    echoing = asyncio.create_task(echo())
    for number in range(20):
        await client.send(b"%d" % number)
        assert await client.recv() == (b"%d" % number, server.local_addr)
    echoing.cancel()

    assert isinstance(await outcome(echoing), asyncio.CancelledError)
    assert not server.closed


async def test_iterating_again(endpoints: Endpoints, peer: socket.socket) -> None:
    """An iteration that was left goes on where it was left."""
    endpoint = await endpoints.bind()
    send_all(peer, endpoint, b"one", b"two")

    async for data, _ in endpoint:
        assert data == b"one"
        break

    async for data, _ in endpoint:
        assert data == b"two"
        break


# -- wrong arguments


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (math.inf, TypeError),
        (2.5, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        (True, TypeError),
        (2**64, ValueError),
    ],
)
@pytest.mark.parametrize("packet_info", [False, True])
async def test_wrong_number_of_datagrams(
    endpoints: Endpoints,
    peer: socket.socket,
    wrong: Any,
    error: type[Exception],
    packet_info: bool,
) -> None:
    """It is refused before anything is taken, and names the value."""
    endpoint = await endpoints.bind(packet_info=packet_info)
    for data in (b"one", b"two", b"three"):
        peer.sendto(data, endpoint.local_addr)
    await turns_until(lambda: endpoint.stats().received == 3)

    for receive in (endpoint.recv_many, endpoint.recv_batch):
        with pytest.raises(error, match=re.escape(repr(wrong))):
            await receive(wrong)
    if packet_info:
        with pytest.raises(error, match=re.escape(repr(wrong))):
            await endpoint.recv_messages(wrong)

    assert [data for data, _ in await endpoint.recv_many()] == [
        b"one",
        b"two",
        b"three",
    ]
