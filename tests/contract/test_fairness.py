"""Fairness: a task that never has to wait still lets the event loop run.

The loops here never end by themselves; what ends them is a timeout, which fires only if
the event loop gets its turns. Where it doesn't, the test's own limit can't fire either,
so the bodies stop after far more rounds than a timeout takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import linux_only, plain_socket, refusing_address, turns

if TYPE_CHECKING:
    from tests.conftest import Endpoints

ROUNDS = 200_000
LIMIT = 0.05  # seconds


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket that nobody reads: what is too much is dropped."""
    with plain_socket(host) as sock:
        yield sock


async def single(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"x")


async def single_with_options(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"x", tos=8)


async def few(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send_many([(b"x", None), (b"y", None)])


async def segments(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"xyxy", segment_size=1)


async def lone_segment(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"x", segment_size=1)


async def too_long(endpoint: aioudp.Endpoint) -> None:
    with contextlib.suppress(OSError):
        await endpoint.send(bytes(70_000))


async def many_too_long(endpoint: aioudp.Endpoint) -> None:
    with contextlib.suppress(aioudp.SendManyError):
        await endpoint.send_many([(bytes(70_000), None)])


SENDS = [
    single,
    few,
    segments,
    lone_segment,
    too_long,
    many_too_long,
    pytest.param(single_with_options, marks=linux_only),
]


async def times_out(send: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(LIMIT):
            for _ in range(ROUNDS):
                await send()
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("send", SENDS)
async def test_sending_without_end(
    endpoints: Endpoints,
    peer: socket.socket,
    send: Callable[[aioudp.Endpoint], Awaitable[None]],
) -> None:
    """A timeout ends it."""
    endpoint = await endpoints.connect(peer.getsockname())

    assert await times_out(lambda: send(endpoint))


async def test_refusals_without_end(endpoints: Endpoints, host: str) -> None:
    """Also if nobody listens. Of the refusals one is kept for the receiving side."""
    with refusing_address(host) as addr:
        endpoint = await endpoints.connect(addr)

        async def send() -> None:
            with contextlib.suppress(ConnectionRefusedError):
                await endpoint.send(b"x")

        assert await times_out(send)
        await turns(5)
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()
        with pytest.raises(BlockingIOError):
            endpoint.recv_nowait()


class Errors(asyncio.DatagramProtocol):
    """Notes the errors that it is told of."""

    def __init__(self) -> None:
        self.received: list[Exception] = []

    def error_received(self, exc: Exception) -> None:
        self.received.append(exc)


@linux_only
async def test_reports_do_not_pile_up(endpoints: Endpoints, host: str) -> None:
    """Equal errors of one iteration of the loop are one report, and each is counted."""
    with refusing_address(host) as addr:
        endpoint = await endpoints.connect(addr)
        protocol = Errors()
        endpoint.transport.set_protocol(protocol)

        for _ in range(1000):
            with contextlib.suppress(ConnectionRefusedError):
                endpoint.transport.try_send(b"x")
        await turns(5)

        assert {type(error) for error in protocol.received} == {ConnectionRefusedError}
        assert len(protocol.received) <= 2
        assert endpoint.stats().receive_errors > 300


async def test_several_tasks_that_send_without_end(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """Each of them gets its share."""
    endpoint = await endpoints.connect(peer.getsockname())
    sent = [0] * 3

    async def flood(index: int) -> None:
        for _ in range(ROUNDS):
            await endpoint.send(b"x")
            sent[index] += 1

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(flood(index) for index in range(3)))

    assert min(sent) > max(sent) / 2 > 0


async def test_a_send_that_lets_others_run_can_be_cancelled(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """Then it is not sent: what came out is what returned."""
    endpoint = await endpoints.connect(peer.getsockname())
    sends = 0

    async def flood() -> None:
        nonlocal sends
        for _ in range(ROUNDS):
            await endpoint.send(b"x")
            sends += 1

    task = asyncio.create_task(flood())
    await turns(3)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert endpoint.stats().sent == sends


@linux_only
@pytest.mark.parametrize("family", [socket.AF_INET], ids=["ipv4"])
@pytest.mark.parametrize("kind", ["multicast", "broadcast"])
async def test_fan_out_without_end(
    transport: aioudp.TransportKind, host: str, kind: str
) -> None:
    """Endpoints that send by several interfaces let the loop run too."""
    opening: Any = (
        aioudp.open_multicast("239.255.77.1", 0, interfaces=[host], transport=transport)
        if kind == "multicast"
        else aioudp.open_broadcast(0, interfaces=[host], transport=transport)
    )
    async with opening as endpoint:
        assert await times_out(lambda: endpoint.send(b"x"))
