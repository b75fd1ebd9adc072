"""Refusals by a peer: who hears of them, once, and that nothing else is lost.

That ``recv`` raises an error of the network at all, and a send never does, is in
``test_connected.py``. Here: which call raises it, and what errors leave untouched.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    linux_only,
    outcome,
    plain_socket,
    refusing_address,
    turns,
    turns_until,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

Wait = Callable[[aioudp.Endpoint], Coroutine[Any, Any, Any]]


async def recv(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv()


async def recv_many(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv_many()


async def recv_batch(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv_batch()


async def iterate(endpoint: aioudp.Endpoint) -> Any:
    async for datagram in endpoint:
        return datagram
    return None


EVERY_WAIT = pytest.mark.parametrize("wait", [recv, recv_many, recv_batch, iterate])


@pytest.fixture
def stranger(host: str) -> Iterator[socket.socket]:
    """Return another one."""
    with plain_socket(host) as sock:
        yield sock


@pytest.fixture
def dead_addr(host: str) -> Iterator[Any]:
    """Return an address where nobody listens."""
    with refusing_address(host) as addr:
        yield addr


async def refused(endpoint: aioudp.Endpoint) -> None:
    """Let the loop turn until the endpoint has heard of a refusal."""
    await turns_until(lambda: endpoint.stats().receive_errors > 0)


# -- a refusal, and who hears of it


@linux_only
@EVERY_WAIT
async def test_every_way_to_wait_raises_it(
    endpoints: Endpoints, dead_addr: Any, until_blocked: UntilBlocked, wait: Wait
) -> None:
    """A refusal is raised by whatever call waits, and by one call alone (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    waiting = asyncio.create_task(wait(endpoint))
    await until_blocked(waiting)

    await endpoint.send(b"hello")

    with pytest.raises(ConnectionRefusedError):
        await waiting
    again = asyncio.create_task(wait(endpoint))
    await until_blocked(again)
    assert not again.done()
    again.cancel()


@linux_only
async def test_recv_nowait_raises_it(endpoints: Endpoints, dead_addr: Any) -> None:
    """A refusal is raised by recv_nowait, once (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    await endpoint.send(b"hello")
    await refused(endpoint)

    with pytest.raises(ConnectionRefusedError):
        endpoint.recv_nowait()
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()
    assert endpoint.stats().receive_errors == 1


@linux_only
async def test_one_of_several_hears_of_it(
    endpoints: Endpoints, dead_addr: Any, until_blocked: UntilBlocked
) -> None:
    """Of several tasks the first raises the refusal; the others wait on (B142)."""
    endpoint = await endpoints.connect(dead_addr)
    waiting = [asyncio.create_task(endpoint.recv()) for _ in range(3)]
    await until_blocked(*waiting)

    await endpoint.send(b"hello")
    with pytest.raises(ConnectionRefusedError):
        await waiting[0]
    await until_blocked(*waiting)

    assert not waiting[1].done()
    assert not waiting[2].done()
    for task in waiting[1:]:
        task.cancel()


@linux_only
@pytest.mark.parametrize("turn", range(5))
async def test_a_cancelled_task_does_not_take_it_along(
    endpoints: Endpoints, dead_addr: Any, until_blocked: UntilBlocked, turn: int
) -> None:
    """In whatever turn a task is cancelled, the refusal is raised once (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    waiting = asyncio.create_task(endpoint.recv())
    await until_blocked(waiting)

    await endpoint.send(b"hello")
    await turns(turn)
    waiting.cancel()
    await asyncio.wait([waiting])
    raised = [] if waiting.cancelled() else [waiting.exception()]
    if not raised:
        raised.append(await outcome(asyncio.ensure_future(endpoint.recv())))

    assert isinstance(raised[0], ConnectionRefusedError)
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


class Vanishing:
    """A peer that connects to somebody else, so that the endpoint is refused."""

    def __init__(self, sock: socket.socket, stranger: socket.socket) -> None:
        self.sock = sock
        self._stranger = stranger

    def vanish(self) -> None:
        self.sock.connect(self._stranger.getsockname())


@pytest.fixture
def vanishing(peer: socket.socket, stranger: socket.socket) -> Vanishing:
    return Vanishing(peer, stranger)


@linux_only
async def test_it_costs_no_datagram(endpoints: Endpoints, vanishing: Vanishing) -> None:
    """What the peer had sent before it was gone is received all the same (B106)."""
    endpoint = await endpoints.connect(vanishing.sock.getsockname())
    for payload in (b"one", b"", b"two"):
        vanishing.sock.sendto(payload, endpoint.local_addr)
    vanishing.vanish()
    await endpoint.send(b"hello")
    outcomes: list[Any] = []

    for _ in range(4):
        try:
            outcomes.append((await endpoint.recv()).data)
        except ConnectionRefusedError as exc:
            outcomes.append(type(exc))

    assert [each for each in outcomes if each is not ConnectionRefusedError] == [
        b"one",
        b"",
        b"two",
    ]


@linux_only
async def test_it_waits_for_a_full_queue(
    endpoints: Endpoints, vanishing: Vanishing
) -> None:
    """An endpoint whose reading pauses hears of a refusal when it goes on (B138)."""
    endpoint = await endpoints.connect(vanishing.sock.getsockname(), queue_size=1)
    vanishing.sock.sendto(b"only", endpoint.local_addr)
    await turns_until(lambda: endpoint.stats().received == 1)
    vanishing.vanish()

    await endpoint.send(b"hello")
    await turns(20)
    outcomes = [await outcome(asyncio.ensure_future(endpoint.recv())) for _ in range(2)]

    # Where nothing can pause the error is there already, and goes first.
    outcomes.sort(key=lambda each: isinstance(each, ConnectionRefusedError))
    assert outcomes[0] == (b"only", vanishing.sock.getsockname())
    assert isinstance(outcomes[1], ConnectionRefusedError)


@linux_only
async def test_iteration_goes_on_after_it(
    endpoints: Endpoints, peer: socket.socket, stranger: socket.socket
) -> None:
    """A refusal ends an iteration by its exception; the next one goes on (B131)."""
    endpoint = await endpoints.connect(peer.getsockname())
    peer.connect(stranger.getsockname())
    await endpoint.send(b"refused")
    received = []

    with pytest.raises(ConnectionRefusedError):
        await iterate(endpoint)
    peer.connect(endpoint.local_addr)
    peer.send(b"welcome")
    async for data, _ in endpoint:
        received.append(data)
        break

    assert received == [b"welcome"]


@linux_only
async def test_it_is_not_logged(
    endpoints: Endpoints, dead_addr: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal that nobody asks for is logged nowhere (B141)."""
    caplog.set_level(logging.DEBUG)
    caplog.clear()  # asyncio names its selector when a loop is made
    endpoint = await endpoints.connect(dead_addr)

    for _ in range(20):
        await endpoint.send(b"hello")
    await refused(endpoint)
    await endpoint.aclose()

    assert caplog.messages == []


@linux_only
async def test_refused_again_and_again(endpoints: Endpoints, dead_addr: Any) -> None:
    """Each refusal is raised once, and none of them closes the endpoint (B131)."""
    endpoint = await endpoints.connect(dead_addr)

    for _ in range(5):  # not many more: kernels limit the rate of ICMP
        await endpoint.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()

    assert endpoint.stats().sent == 5
    assert endpoint.stats().receive_errors == 5
    assert not endpoint.closed


@linux_only
async def test_the_next_socket_after_a_refusal(
    endpoints: Endpoints, dead_addr: Any
) -> None:
    """An endpoint that is closed as soon as it's refused leaves its number usable.

    uvloop closes its handle for a number with an error, and kept the closed one for
    whatever had that number next.
    """
    for _ in range(3):
        endpoint = await endpoints.connect(dead_addr)
        await endpoint.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()
        await endpoint.aclose()

        following = await endpoints.bind()  # the system gives it the same number
        await following.send(b"hello", following.local_addr)
        assert (await following.recv()).data == b"hello"
        await following.aclose()


@linux_only
async def test_protocol_hears_of_it_once(endpoints: Endpoints, dead_addr: Any) -> None:
    """A protocol of the user's own gets the refusal in error_received (B142)."""
    endpoint = await endpoints.connect(dead_addr)
    protocol = Noting()
    endpoint.transport.set_protocol(protocol)

    endpoint.transport.sendto(b"hello")
    await turns_until(lambda: bool(protocol.events))
    await turns(20)

    assert list(map(type, protocol.events)) == [ConnectionRefusedError]


@linux_only
async def test_protocol_closes_when_it_hears_of_it(
    endpoints: Endpoints, dead_addr: Any
) -> None:
    """A protocol may close the transport from error_received (B139)."""
    endpoint = await endpoints.connect(dead_addr)
    protocol = Noting(on_error=endpoint.transport.close)
    endpoint.transport.set_protocol(protocol)

    endpoint.transport.sendto(b"hello")
    await turns_until(lambda: len(protocol.events) == 2)
    await turns(20)

    assert isinstance(protocol.events[0], ConnectionRefusedError)
    assert protocol.events[1:] == ["lost"]
    assert endpoint.fileno() == -1


class Noting(asyncio.DatagramProtocol):
    """Records calls, and acts when it gets an error."""

    def __init__(self, on_error: Callable[[], None] = lambda: None) -> None:
        self.events: list[Any] = []
        self._on_error = on_error

    def error_received(self, exc: Exception) -> None:
        self.events.append(exc)
        self._on_error()

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost" if exc is None else exc)


# -- what comes from outside harms nobody

GARBAGE = [
    b"",
    b"\0",
    b"\xff",
    b"\n" * 3,
    bytes(8),
    bytes(1472),
    bytes(60_000),
    b"\xff" * 1472,
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01" + bytes(100),
    "\N{SNOWMAN}".encode(),
    b"%s%n%x{}{0}" * 10,
    random.Random(236).randbytes(1200),
]


async def test_garbage_does_not_stop_a_server(
    endpoints: Endpoints, peer: socket.socket, stranger: socket.socket
) -> None:
    """A server that iterates answers, whatever else it is sent (B236)."""
    endpoint = await endpoints.bind()

    async def serve() -> None:
        async for data, addr in endpoint:
            if data == b"question":
                await endpoint.send(b"answer", addr)

    serving = asyncio.create_task(serve())
    for garbage in GARBAGE:
        stranger.sendto(garbage, endpoint.local_addr)
        peer.sendto(b"question", endpoint.local_addr)
    await turns_until(lambda: endpoint.stats().sent == len(GARBAGE))

    assert [peer.recv(100) for _ in GARBAGE] == [b"answer"] * len(GARBAGE)
    assert not serving.done()
    serving.cancel()
