"""Debug mode: calls from another thread or event loop raise, and name the endpoint.

Without it nothing is checked: calls from elsewhere are undefined, and tested nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import linux_only

if TYPE_CHECKING:
    from tests.conftest import Endpoints

pytestmark = pytest.mark.no_matrix


@pytest.fixture
async def debugging() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Switch asyncio's debug mode on."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    yield loop
    loop.set_debug(False)


async def recv(endpoint: aioudp.Endpoint) -> object:
    return await endpoint.recv()


async def recv_many(endpoint: aioudp.Endpoint) -> object:
    return await endpoint.recv_many()


async def iterate(endpoint: aioudp.Endpoint) -> object:
    return await anext(endpoint)


async def recv_nowait(endpoint: aioudp.Endpoint) -> object:
    return endpoint.recv_nowait()


async def send(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"x", endpoint.local_addr)


async def send_with_options(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"x", endpoint.local_addr, tos=8)


async def send_segments(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(b"xyz", endpoint.local_addr, segment_size=1)


async def send_many(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send_many([(b"x", endpoint.local_addr)])


async def drain(endpoint: aioudp.Endpoint) -> object:
    return endpoint.drain()


async def close(endpoint: aioudp.Endpoint) -> None:
    endpoint.close()


async def aclose(endpoint: aioudp.Endpoint) -> None:
    await endpoint.aclose()


CALLS = [
    recv,
    recv_many,
    iterate,
    recv_nowait,
    send,
    send_with_options,
    send_segments,
    send_many,
    drain,
    close,
    aclose,
]

Call = Callable[[aioudp.Endpoint], Awaitable[object]]


@pytest.mark.parametrize("call", CALLS)
async def test_from_another_thread(
    endpoints: Endpoints, debugging: object, call: Call
) -> None:
    """Each call raises, changes nothing, and the endpoint goes on."""
    endpoint = await endpoints.bind()
    await endpoint.send(b"first", endpoint.local_addr)
    await asyncio.sleep(0)

    with pytest.raises(RuntimeError) as caught:
        await asyncio.to_thread(lambda: asyncio.run(_awaited(call(endpoint))))

    assert repr(endpoint.local_addr) in str(caught.value)
    assert (await endpoint.recv()).data == b"first"
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


async def _awaited(what: Awaitable[object]) -> object:
    return await what


@pytest.mark.parametrize("name", ["recv_nowait", "drain", "close"])
async def test_from_a_thread_without_a_loop(
    endpoints: Endpoints, debugging: object, name: str
) -> None:
    """What needs no event loop is checked too."""
    endpoint = await endpoints.bind()

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(getattr(endpoint, name))

    assert not endpoint.closed


@linux_only
async def test_fan_out(debugging: object) -> None:
    """Endpoints for groups check their sends too."""
    opening = aioudp.open_multicast("239.255.77.1", 0, interfaces=["lo"])
    async with opening as endpoint:
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(_awaited(endpoint.send(b"x"))))


async def open_one(transport: aioudp.TransportKind = "selector") -> aioudp.Endpoint:
    return await aioudp.bind(("127.0.0.1", 0), transport=transport)


@pytest.mark.parametrize("transport", ["selector", "loop"])
def test_waiting_in_another_loop(transport: aioudp.TransportKind) -> None:
    """A call that has to wait is checked without debug mode too."""
    with asyncio.Runner() as runner:
        endpoint = runner.run(open_one(transport))
        for call in (endpoint.recv, endpoint.recv_many, endpoint.recv_batch):
            with pytest.raises(RuntimeError) as caught:
                asyncio.run(_awaited(call()))

            assert repr(endpoint.local_addr) in str(caught.value)
            assert "belongs to another event loop" in str(caught.value)
        runner.run(endpoint.aclose())


def test_waiting_after_the_end_of_its_loop() -> None:
    """The error says that the loop is closed."""
    endpoint = asyncio.run(open_one())

    with pytest.raises(RuntimeError, match="which is closed; open it"):
        asyncio.run(_awaited(endpoint.recv()))

    endpoint.close()


async def test_in_its_own_loop(endpoints: Endpoints, debugging: object) -> None:
    """There everything works as ever."""
    endpoint = await endpoints.bind()
    for call in (send, send_with_options, send_segments, send_many):
        await call(endpoint)

    received: list[Any] = [await endpoint.recv()]
    while len(received) < 6:
        received += await endpoint.recv_many()

    assert [one.data for one in received] == [b"x", b"x", b"x", b"y", b"z", b"x"]
    assert [one async for one in endpoint.drain()] == []


def test_close_after_the_loop_has_stopped() -> None:
    """An endpoint that outlives its loop can be closed, from wherever."""

    with asyncio.Runner(debug=True) as runner:
        endpoint = runner.run(open_one())
    endpoint.close()

    assert endpoint.closed
