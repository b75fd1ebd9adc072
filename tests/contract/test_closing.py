"""Closing: it wakes everybody, frees the port, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

if TYPE_CHECKING:
    from tests.conftest import Endpoints, LoopFactory, UntilBlocked


async def iterate(endpoint: aioudp.Endpoint) -> int:
    return sum([1 async for _ in endpoint])


async def test_close_wakes_everybody_who_waits(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """Each waiting call ends: recv and recv_many raise, iteration stops (B220)."""
    endpoint = await endpoints.bind()
    calls = (endpoint.recv(), endpoint.recv_many(), endpoint.recv(), iterate(endpoint))
    tasks = [asyncio.ensure_future(call) for call in calls]
    await until_blocked(*tasks)

    endpoint.close()

    *raised, iterated = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in raised] == [aioudp.EndpointClosedError] * 3
    assert iterated == 0


async def test_calls_after_close(endpoints: Endpoints) -> None:
    """Every call on a closed endpoint says that it is closed (B081) (B222)."""
    endpoint, peer = await endpoints.pair()
    await endpoint.aclose()

    for call in (endpoint.recv(), endpoint.recv_many(), endpoint.aclose()):
        if call.__name__ == "aclose":
            await call
            continue
        with pytest.raises(aioudp.EndpointClosedError):
            await call
    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.recv_nowait()
    for sending in (
        endpoint.send(b"", peer.local_addr),
        endpoint.send(b"four", peer.local_addr, segment_size=2),
        endpoint.send_many([(b"", peer.local_addr)]),
    ):
        with pytest.raises(aioudp.EndpointClosedError):
            await sending
    assert await iterate(endpoint) == 0


async def test_close_again(endpoints: Endpoints) -> None:
    """Closing twice, and aborting what is closed, do nothing (B223)."""
    endpoint = await endpoints.bind()

    endpoint.close()
    endpoint.close()
    endpoint.transport.close()
    endpoint.transport.abort()
    await endpoint.aclose()

    assert endpoint.closed


async def test_the_port_is_free_on_the_next_line(endpoints: Endpoints) -> None:
    """After aclose the same port can be bound, time and again (B225)."""
    endpoint = await endpoints.bind()
    port: Any = endpoint.local_addr[1]
    for _ in range(20):
        await endpoint.aclose()
        endpoint = await endpoints.bind(port=port)

    assert endpoint.local_addr[1] == port


async def test_close_itself_frees_the_port(host: str) -> None:
    """With the selector transport close needs no await for that (B225)."""
    endpoint = await aioudp.bind((host, 0), transport="selector")
    local_addr = endpoint.local_addr

    endpoint.close()
    async with aioudp.bind(local_addr, transport="selector") as again:
        assert again.local_addr == local_addr


async def test_what_a_closed_endpoint_still_tells(endpoints: Endpoints) -> None:
    """Addresses and counts outlive it, the descriptor does not (B028)."""
    endpoint, peer = await endpoints.pair()
    await peer.send(b"hello")
    await endpoint.recv()
    before = endpoint.local_addr, endpoint.stats()

    await endpoint.aclose()

    assert (endpoint.local_addr, endpoint.stats()) == before
    assert (endpoint.closed, endpoint.fileno()) == (True, -1)
    assert "closed" in repr(endpoint)


async def test_close_from_a_task_that_receives(endpoints: Endpoints) -> None:
    """Closing in the middle of an iteration ends it (B107) (B227)."""
    endpoint, peer = await endpoints.pair()
    await peer.send_many([(b"%d" % number, None) for number in range(10)])
    seen = []

    async for data, _ in endpoint:
        seen.append(data)
        endpoint.close()

    assert seen == [b"0"]


async def test_a_forgotten_endpoint_warns_and_closes(
    endpoints: Endpoints, transport: aioudp.TransportKind, host: str
) -> None:
    """Garbage collected open, it warns once, and its port is free (B229) (B231)."""
    endpoint = await aioudp.bind((host, 0), transport=transport)
    port: Any = endpoint.local_addr[1]
    lost = endpoint.transport.wait_closed()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del endpoint
        gc.collect()
    await lost

    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "unclosed endpoint" in str(caught[0].message)
    assert (await endpoints.bind(port=port)).local_addr[1] == port


async def test_forgotten_as_a_datagram_arrives(
    endpoints: Endpoints, transport: aioudp.TransportKind, host: str
) -> None:
    """A datagram for an endpoint that is gone disturbs nobody (B230)."""
    endpoint = await aioudp.bind((host, 0), transport=transport)
    lost = endpoint.transport.wait_closed()
    sender = await endpoints.bind()
    await sender.send(b"too late", endpoint.local_addr)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del endpoint
        gc.collect()

    await lost
    assert [warning.category for warning in caught] == [ResourceWarning]
    await asyncio.sleep(0)


def test_forgotten_after_its_loop(loop_factory: LoopFactory) -> None:
    """When the loop is closed already, it still warns once and closes (B230)."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        endpoint = runner.run(bound())
    sock = endpoint.get_extra_info("socket")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del endpoint
        gc.collect()

    assert [warning.category for warning in caught] == [ResourceWarning]
    assert sock.fileno() == -1


async def bound() -> aioudp.Endpoint:
    return await aioudp.bind(("127.0.0.1", 0), transport="selector")


async def test_a_hundred_endpoints(endpoints: Endpoints) -> None:
    """All of them receive, and all of them close (B029)."""
    sender = await endpoints.bind()
    receivers = [await endpoints.bind() for _ in range(100)]

    await sender.send_many(
        [(b"%d" % index, one.local_addr) for index, one in enumerate(receivers)]
    )

    received = [(await one.recv()).data for one in receivers]
    assert received == [b"%d" % index for index in range(100)]
