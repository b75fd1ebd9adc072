"""Closing: who waits is woken, and afterwards everything is refused."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import Gate, outcome, port_of, turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

Wait = Callable[[aioudp.Endpoint], Coroutine[Any, Any, Any]]


async def recv(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv()


async def recv_many(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv_many()


async def recv_batch(endpoint: aioudp.Endpoint) -> Any:
    return await endpoint.recv_batch()


async def following(endpoint: aioudp.Endpoint) -> Any:
    return await anext(endpoint)


EVERY_RECV = pytest.mark.parametrize("wait", [recv, recv_many, recv_batch])


async def close(endpoint: aioudp.Endpoint) -> None:
    endpoint.close()


async def aclose(endpoint: aioudp.Endpoint) -> None:
    await endpoint.aclose()


async def leave(endpoint: aioudp.Endpoint) -> None:
    async with endpoint:
        pass


EVERY_CLOSE = pytest.mark.parametrize("close", [close, aclose, leave])

Close = Callable[[aioudp.Endpoint], Awaitable[None]]


class Noting(asyncio.DatagramProtocol):
    """Records calls, and acts when it gets a datagram."""

    def __init__(
        self, transport: Any, on_datagram: Callable[[], None] = lambda: None
    ) -> None:
        self.events: list[Any] = []
        self._on_datagram = on_datagram
        transport.set_protocol(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.events.append(data)
        self._on_datagram()

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost" if exc is None else exc)


# -- waiting tasks are woken


@EVERY_CLOSE
@EVERY_RECV
async def test_close_wakes_a_receiver(
    endpoints: Endpoints, until_blocked: UntilBlocked, wait: Wait, close: Close
) -> None:
    """A call that waits for a datagram raises when the endpoint is closed (B220)."""
    endpoint = await endpoints.bind()
    waiting = asyncio.create_task(wait(endpoint))
    await until_blocked(waiting)

    await close(endpoint)

    with pytest.raises(aioudp.EndpointClosedError):
        await waiting


@EVERY_CLOSE
async def test_close_ends_an_iteration(
    endpoints: Endpoints, until_blocked: UntilBlocked, close: Close
) -> None:
    """An iteration that waits ends when the endpoint is closed (B220)."""
    endpoint = await endpoints.bind()

    async def count() -> int:
        return len([datagram async for datagram in endpoint])

    iterating = asyncio.create_task(count())
    await until_blocked(iterating)

    await close(endpoint)

    assert await iterating == 0


async def test_close_wakes_everybody(
    endpoints: Endpoints, until_blocked: UntilBlocked
) -> None:
    """All waiting tasks are woken, in every kind of call (B220)."""
    endpoint = await endpoints.bind()
    waits: list[Wait] = [recv, recv_many, recv_batch, following] * 10
    waiting = [asyncio.ensure_future(wait(endpoint)) for wait in waits]
    await until_blocked(*waiting)

    endpoint.close()

    outcomes = [type(await outcome(task)) for task in waiting]
    expected = [aioudp.EndpointClosedError] * 3 + [StopAsyncIteration]
    assert outcomes == expected * 10


@pytest.mark.parametrize("turn", range(5))
async def test_close_as_a_datagram_arrives(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked, turn: int
) -> None:
    """Whenever it is closed, a waiter gets the datagram or the error (B220)."""
    endpoint = await endpoints.bind()
    waiting = [asyncio.create_task(endpoint.recv()) for _ in range(2)]
    await until_blocked(*waiting)

    peer.sendto(b"hello", endpoint.local_addr)
    await turns(turn)
    endpoint.close()
    first, second = [await outcome(task) for task in waiting]

    assert isinstance(second, aioudp.EndpointClosedError)
    if not isinstance(first, aioudp.EndpointClosedError):
        assert first == (b"hello", peer.getsockname())


async def test_close_wakes_senders(
    endpoints: Endpoints,
    peer: socket.socket,
    until_blocked: UntilBlocked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sends that wait for room raise, and nothing of them goes out (B221)."""
    gate = Gate(monkeypatch)
    endpoint = await endpoints.connect(peer.getsockname(), offload=False)
    sending = [
        asyncio.create_task(endpoint.send(b"one")),
        asyncio.create_task(endpoint.send_many([(b"two", None), (b"three", None)])),
        asyncio.create_task(endpoint.send(b"four", segment_size=1)),
    ]
    await until_blocked(*sending)

    endpoint.close()
    gate.room = 10

    for task in sending:
        with pytest.raises(aioudp.EndpointClosedError):
            await task
    assert endpoint.stats().sent == 0


# -- afterwards


@EVERY_CLOSE
async def test_every_call_after_close(endpoints: Endpoints, close: Close) -> None:
    """After close every call says so; an iteration ends at once (B222)."""
    endpoint, _ = await endpoints.pair()
    addr = endpoint.local_addr

    await close(endpoint)

    for call in (
        endpoint.recv(),
        endpoint.recv_many(),
        endpoint.recv_many(1),
        endpoint.send(b"hello", addr),
        endpoint.send(b"hello", addr, segment_size=1),
        endpoint.send_many([(b"hello", addr)]),
        endpoint.send_many([]),
    ):
        with pytest.raises(aioudp.EndpointClosedError):
            await call
    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.recv_nowait()
    assert [datagram async for datagram in endpoint] == []


@EVERY_RECV
async def test_what_was_queued_is_discarded(
    endpoints: Endpoints, peer: socket.socket, wait: Wait
) -> None:
    """Datagrams that nobody asked for before close are not handed over (B222)."""
    endpoint = await endpoints.bind()
    peer.sendto(b"hello", endpoint.local_addr)
    await turns_until(lambda: endpoint.stats().received == 1)

    endpoint.close()

    with pytest.raises(aioudp.EndpointClosedError):
        await wait(endpoint)
    assert endpoint.stats().received == 1


async def test_what_stays_readable(
    endpoints: Endpoints, family: int, host: str
) -> None:
    """After close addresses, family and counts can still be read."""
    server, client = await endpoints.pair()
    await client.send(b"hello")
    await server.recv()
    before = client.local_addr, client.remote_addr, client.stats()

    await client.aclose()

    assert (client.local_addr, client.remote_addr, client.stats()) == before
    assert client.family == family
    assert client.closed
    assert "closed" in repr(client)


@EVERY_CLOSE
async def test_descriptor_is_gone(endpoints: Endpoints, close: Close) -> None:
    """After close there is no descriptor (B225)."""
    endpoint = await endpoints.bind()
    descriptor = endpoint.fileno()
    assert descriptor >= 0

    await close(endpoint)
    await endpoint.aclose()

    assert endpoint.fileno() == -1
    assert endpoint.get_extra_info("socket").fileno() == -1
    with pytest.raises(OSError):
        os.fstat(descriptor)


@pytest.mark.parametrize("kind", ["endpoint", "client", "server", "broadcast"])
async def test_no_copies(kind: str) -> None:
    """The end of a copy would close the original; a socket can't be copied either."""
    openings: dict[str, aioudp.Opening[Any]] = {
        "endpoint": aioudp.bind(("127.0.0.1", 0)),
        "client": aioudp.open_client(),
        "server": aioudp.serve(lambda data, addr: None, ("127.0.0.1", 0)),
        "broadcast": aioudp.open_broadcast(0),
    }
    async with openings[kind] as one:
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(
                TypeError, match=f"copy or pickle '{type(one).__name__}"
            ):
                way(one)
        assert not one.closed


async def test_port_is_free_after_aclose(endpoints: Endpoints) -> None:
    """On the line after aclose the port can be bound again, each time (B225)."""
    endpoint = await endpoints.bind()
    port = port_of(endpoint)

    for _ in range(20):
        await endpoint.aclose()
        endpoint = await endpoints.bind(port=port)

    assert port_of(endpoint) == port


async def test_port_is_free_after_close(host: str) -> None:
    """On the selector transport it is free on the line after close, too (B225)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        addr = endpoint.local_addr
        endpoint.close()
        with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:
            sock.bind(addr)


async def test_port_is_free_after_async_with(
    transport: aioudp.TransportKind, host: str
) -> None:
    """At the end of "async with" the port is free, after an exception as well."""
    with pytest.raises(ZeroDivisionError):
        async with aioudp.bind((host, 0), transport=transport) as endpoint:
            raise ZeroDivisionError
    async with aioudp.bind((host, port_of(endpoint)), transport=transport) as again:
        assert again.local_addr == endpoint.local_addr


# -- once is enough


@EVERY_CLOSE
async def test_closing_again(endpoints: Endpoints, close: Close) -> None:
    """Closing again, in whatever way, does nothing (B223)."""
    endpoint = await endpoints.bind()
    await close(endpoint)

    endpoint.close()
    await endpoint.aclose()
    await close(endpoint)
    endpoint.transport.abort()
    endpoint.transport.close()

    assert endpoint.closed


async def test_closing_at_the_same_time(endpoints: Endpoints) -> None:
    """Any number of tasks may wait for the same end (B223)."""
    endpoint = await endpoints.bind()

    await asyncio.gather(*(endpoint.aclose() for _ in range(5)))

    assert endpoint.fileno() == -1


async def test_cancelled_aclose(endpoints: Endpoints) -> None:
    """Cancelling aclose does not undo the closing (B223)."""
    endpoint = await endpoints.bind()
    closing = asyncio.create_task(endpoint.aclose())
    await asyncio.sleep(0)

    closing.cancel()
    await asyncio.wait([closing])

    assert endpoint.closed
    with pytest.raises(aioudp.EndpointClosedError):
        await endpoint.recv()
    await endpoint.aclose()
    assert endpoint.fileno() == -1


@pytest.mark.parametrize("first", ["close", "abort"])
async def test_connection_lost_once(endpoints: Endpoints, first: str) -> None:
    """A protocol of the user's own gets connection_lost once, after close (B226)."""
    endpoint = await endpoints.bind()
    transport = endpoint.transport
    protocol = Noting(transport)

    getattr(transport, first)()
    assert protocol.events == []
    transport.close()
    transport.abort()
    await transport.wait_closed()
    await turns_until(lambda: bool(protocol.events))
    await turns(20)

    assert protocol.events == ["lost"]


# -- in the middle of something


async def test_close_in_an_iteration(endpoints: Endpoints, peer: socket.socket) -> None:
    """Closed in its body, an iteration ends there, whatever is queued (B227)."""
    endpoint = await endpoints.bind()
    for payload in (b"one", b"two", b"three"):
        peer.sendto(payload, endpoint.local_addr)
    received = []

    async for data, _ in endpoint:
        received.append(data)
        endpoint.close()

    assert received == [b"one"]


async def test_close_by_the_task_that_was_served(
    endpoints: Endpoints, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """When a receiver closes it, the others are woken in the same iteration (B227)."""
    endpoint = await endpoints.bind()

    async def receive_and_close() -> bytes:
        data, _ = await endpoint.recv()
        endpoint.close()
        return data

    tasks = [asyncio.create_task(receive_and_close()) for _ in range(3)]
    await until_blocked(*tasks)

    for payload in (b"one", b"two", b"three"):
        peer.sendto(payload, endpoint.local_addr)

    outcomes = [await outcome(task) for task in tasks]
    assert outcomes[0] == b"one"
    assert [type(each) for each in outcomes[1:]] == [aioudp.EndpointClosedError] * 2


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_close_in_the_middle_of_a_batch(
    endpoints: Endpoints, peer: socket.socket, way: str
) -> None:
    """A protocol that closes gets nothing more of what was read (B107) (B227)."""
    endpoint = await endpoints.bind()
    transport = endpoint.transport
    protocol = Noting(transport, on_datagram=getattr(transport, way))

    for payload in (b"one", b"two", b"three"):
        peer.sendto(payload, endpoint.local_addr)
    await turns_until(lambda: len(protocol.events) >= 2)
    await turns(20)

    assert protocol.events == [b"one", "lost"]


async def test_close_in_the_middle_of_a_train(endpoints: Endpoints) -> None:
    """So it is with the many datagrams of a train (B107)."""
    server, client = await endpoints.pair()
    protocol = Noting(server.transport, on_datagram=server.transport.close)

    await client.send(b"0123456789", segment_size=1)
    await turns_until(lambda: len(protocol.events) >= 2)
    await turns(20)

    assert protocol.events == [b"0", "lost"]


async def test_descriptor_that_is_used_again(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """An endpoint that gets a closed one's descriptor is not mistaken for it."""
    for number in range(10):
        endpoint = await endpoints.bind()
        peer.sendto(b"%d" % number, endpoint.local_addr)
        assert (await endpoint.recv()).data == b"%d" % number
        peer.sendto(b"never read", endpoint.local_addr)
        await endpoint.aclose()
