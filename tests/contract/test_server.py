"""Servers: what they answer, what they drop, and how they end.

The file is long because ``serve`` has many options.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

import aioudp
from aioudp import server as server_module

from ..conftest import Endpoints, UntilBlocked
from .support import linux_only, plain_socket, turns, turns_until

_PATIENCE: Final = 10  # seconds


class Serve:
    """Opens servers on the loopback interface, and peers that talk to them."""

    def __init__(self, endpoints: Endpoints, transport: str, host: str) -> None:
        self._endpoints = endpoints
        self._transport = transport
        self.host = host

    @asynccontextmanager
    async def __call__(self, handler: Any, **options: Any) -> AsyncIterator[Any]:
        options.setdefault("transport", self._transport)
        addr = (options.pop("host", self.host), 0)
        async with aioudp.serve(handler, addr, **options) as server:
            yield server

    async def peer(
        self, server: aioudp.Server, host: str | None = None
    ) -> aioudp.Endpoint:
        if host is not None:
            return await self._endpoints.connect((host, server.port))
        return await self._endpoints.connect(server.local_addr)


@pytest.fixture
def serving(endpoints: Endpoints, transport: str, host: str) -> Serve:
    return Serve(endpoints, transport, host)


async def recv(peer: aioudp.Endpoint, count: int = 1) -> list[bytes]:
    async with asyncio.timeout(_PATIENCE):
        return [(await peer.recv()).data for _ in range(count)]


# -- replies


async def _async_upper(data: bytes, addr: Any) -> bytes:
    return data.upper()


class _AsyncCallable:
    async def __call__(self, data: bytes, addr: Any) -> bytes:
        return data.upper()


@pytest.mark.parametrize(
    "handler",
    [
        lambda data, addr: data.upper(),
        lambda data, addr: bytearray(data.upper()),
        lambda data, addr: memoryview(data.upper()),
        lambda data, addr: [data.upper()],
        lambda data, addr: (each for each in (data.upper(),)),
        lambda data, addr: _async_upper(data, addr),
        _async_upper,
        functools.partial(_async_upper),
        _AsyncCallable(),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "list",
        "generator",
        "returns a coroutine",
        "coroutine function",
        "partial",
        "callable object",
    ],
)
async def test_reply(serving: Serve, handler: Any) -> None:
    """Whatever form it has, it comes back, from the address that was asked."""
    async with serving(handler) as server:
        peer = await serving.peer(server)
        for _ in range(3):
            await peer.send(b"hello")
            assert await peer.recv() == (b"HELLO", server.local_addr)
        await turns_until(lambda: server.stats().replies == 3)
        stats = server.stats()
        assert (stats.requests, stats.replies, stats.failed) == (3, 3, 0)
        assert stats.endpoint.received == stats.endpoint.sent == 3


async def test_several_replies_and_none(serving: Serve) -> None:
    """An iterable is sent in order; None, and nothing in an iterable, is no reply."""
    answers = {b"three": [b"1", b"", b"3"], b"none": None, b"empty": [], b"": b""}
    async with serving(lambda data, addr: answers[data]) as server:
        peer = await serving.peer(server)
        for data in (b"none", b"three", b"empty", b""):
            await peer.send(data)

        assert await recv(peer, 4) == [b"1", b"", b"3", b""]
        await turns_until(lambda: server.stats().replies == 4)
        assert server.stats().requests == 4


async def test_packet_info(serving: Serve) -> None:
    """The handler gets the message."""

    def handler(message: aioudp.Message) -> bytes:
        seen.append(message)
        return message.data

    seen: list[aioudp.Message] = []
    async with serving(handler, packet_info=True) as server:
        peer = await serving.peer(server)
        await peer.send(b"hello")
        assert await recv(peer) == [b"hello"]

    assert isinstance(seen[0], aioudp.Message)
    assert seen[0].addr == peer.local_addr


@linux_only
@pytest.mark.parametrize("every_address", [False, True])
async def test_a_datagram_that_is_too_long(serving: Serve, every_address: bool) -> None:
    """A handler that couldn't see that it's truncated doesn't get it."""
    seen = []

    def handler(data: bytes, addr: Any) -> bytes:
        seen.append(data)
        return data

    options = {"host": "" if "." not in serving.host else "0.0.0.0"}
    async with serving(
        handler, max_datagram_size=10, **(options if every_address else {})
    ) as server:
        peer = await serving.peer(server, serving.host)
        await peer.send_many([(bytes(n), None) for n in (11, 10, 11, 4, 11)])

        assert await recv(peer, 2) == [bytes(10), bytes(4)]
        assert seen == [bytes(10), bytes(4)]
        await turns_until(lambda: server.stats().endpoint.truncated == 3)
        assert server.stats().requests == 2


async def test_a_message_that_is_too_long(serving: Serve) -> None:
    """With packet_info, the handler gets it, and can see that it's truncated."""
    async with serving(
        lambda message: b"truncated" if message.truncated else message.data,
        max_datagram_size=10,
        packet_info=True,
    ) as server:
        peer = await serving.peer(server)
        await peer.send_many([(bytes(n), None) for n in (11, 4)])

        assert await recv(peer, 2) == [b"truncated", bytes(4)]


async def test_the_reply_leaves_from_the_address_that_was_asked() -> None:
    """On a machine with several, and a server on all of them."""
    async with aioudp.serve(lambda data, addr: data, ("0.0.0.0", 0)) as server:
        port = int(server.local_addr[1])
        async with aioudp.connect(("127.0.0.5", port)) as peer:
            await peer.send(b"hello")
            assert await recv(peer) == [b"hello"]


# -- what goes wrong


async def test_a_handler_that_raises(
    serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs that datagram; logged is each kind once, and never the payload."""

    def handler(data: bytes, addr: Any) -> bytes:
        if data.startswith(b"bad"):
            raise ValueError(f"secret: {data!r}")
        if data.startswith(b"worse"):
            return data[1000:1001] + bytes([data[1000]])
        return data

    async with serving(handler) as server:
        peer = await serving.peer(server)
        for number in range(10):
            await peer.send(b"bad %d" % number)
            await peer.send(b"good")
            await peer.send(b"worse")

        assert await recv(peer, 10) == [b"good"] * 10
        await turns_until(lambda: server.stats().failed == 20)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "the handler raised ValueError in " in lines[0]
    assert "test_server.py:" in lines[0]
    assert ascii(peer.local_addr) in lines[0]
    assert "IndexError" in lines[1]
    for line in lines:
        assert "secret" not in line
        assert "bad" not in line


@pytest.mark.parametrize("bad", ["text", 7, [b"fine", "text"], [7], object()])
async def test_what_is_no_reply(
    serving: Serve, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is sent, and it counts as a failure."""
    async with serving(lambda data, addr: bad if data == b"bad" else data) as server:
        peer = await serving.peer(server)
        await peer.send(b"bad")
        await peer.send(b"good")

        assert await recv(peer) == [b"good"]
        assert server.stats().failed == 1
        await turns_until(lambda: server.stats().replies == 1)
    assert "TypeError" in caplog.text


async def test_replies_without_end(
    serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """They are refused: nothing of them is sent."""

    def handler(data: bytes, addr: Any) -> Any:
        return iter(lambda: b"x", None) if data == b"all" else data

    async with serving(handler) as server:
        peer = await serving.peer(server)
        await peer.send(b"all")
        await peer.send(b"good")
        assert await recv(peer) == [b"good"]
        assert server.stats().failed == 1


@pytest.mark.parametrize("where", ["accept", "dedupe"])
async def test_another_function_that_raises(
    serving: Serve, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs that datagram."""

    def function(data: bytes, addr: Any = None) -> Any:
        if data == b"bad":
            raise RuntimeError("secret")
        return data if where == "dedupe" else True

    async with serving(lambda data, addr: data, **{where: function}) as server:
        peer = await serving.peer(server)
        await peer.send(b"bad")
        await peer.send(b"good")
        assert await recv(peer) == [b"good"]
        assert server.stats().failed == 1
    assert f"the {where} function raised RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@linux_only
async def test_a_sender_that_cannot_be_answered(serving: Serve) -> None:
    """One that claims port 0 costs its own reply; the others go out, once each."""
    async with serving(lambda data, addr: data) as server:
        peer = await serving.peer(server)
        addr: Any = peer.local_addr
        batch = [
            aioudp.Datagram(b"one", addr),
            aioudp.Datagram(b"nobody", (serving.host, 0)),
            aioudp.Datagram(b"two", addr),
        ]
        await server._service._handle_plainly(batch)

        assert await recv(peer, 2) == [b"one", b"two"]
        assert (server.stats().replies, server.stats().unsent) == (2, 1)
        await peer.send(b"next")
        assert await recv(peer) == [b"next"]


async def test_a_reply_that_is_too_long(serving: Serve) -> None:
    """The system refuses it; that is counted, and the others go out."""
    async with serving(
        lambda data, addr: bytes(70_000) if data == b"long" else data
    ) as server:
        peer = await serving.peer(server)
        for data in (b"one", b"long", b"two"):
            await peer.send(data)
        assert await recv(peer, 2) == [b"one", b"two"]
        await turns_until(lambda: server.stats().unsent == 1)


# -- how many at once


async def test_handlers_run_side_by_side(serving: Serve) -> None:
    """100 of 50 ms take about as long as one."""

    async def handler(data: bytes, addr: Any) -> bytes:
        await asyncio.sleep(0.05)
        return data

    loop = asyncio.get_running_loop()
    async with serving(handler) as server:
        peer = await serving.peer(server)
        started = loop.time()
        for number in range(100):
            await peer.send(b"%d" % number)
        assert len(set(await recv(peer, 100))) == 100
        assert loop.time() - started < 2.5  # one after the other: 5 seconds
        assert server.stats().dropped_busy == 0


class Gated:
    """A handler that waits until it is let go on."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []

    async def __call__(self, data: bytes, addr: Any) -> bytes:
        self.begun.append(data)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(data)
            raise
        return data


async def _offer(serving: Serve, server: aioudp.Server, count: int) -> aioudp.Endpoint:
    peer = await serving.peer(server)
    for number in range(count):
        await peer.send(b"%d" % number)
    return peer


async def test_drop_newest(serving: Serve) -> None:
    """What finds no place is dropped, and counted."""
    handler = Gated()
    async with serving(handler, concurrency=3) as server:
        peer = await _offer(serving, server, 10)
        await turns_until(lambda: server.stats().requests == 10)
        assert (server.in_hand, server.stats().dropped_busy) == (3, 7)

        handler.gate.set()
        assert sorted(await recv(peer, 3)) == [b"0", b"1", b"2"]
        assert server.stats().aborted == 0


async def test_drop_oldest(serving: Serve) -> None:
    """The newest are served; those that made room are cancelled, and counted."""
    handler = Gated()
    async with serving(handler, concurrency=3, when_busy="drop-oldest") as server:
        peer = await _offer(serving, server, 10)
        await turns_until(lambda: server.stats().requests == 10)
        await turns_until(lambda: len(server._service.tasks._waiting) == 0)
        assert server.in_hand == 3

        handler.gate.set()
        assert sorted(await recv(peer, 3)) == [b"7", b"8", b"9"]
        stats = server.stats()
        assert stats.aborted + stats.dropped_busy == 7


async def test_a_handler_that_ignores_its_end(serving: Serve) -> None:
    """There are never more tasks than places, nor more that wait."""

    async def stubborn(data: bytes, addr: Any) -> bytes:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass
        return data

    gate = asyncio.Event()
    async with serving(stubborn, concurrency=3, when_busy="drop-oldest") as server:
        await _offer(serving, server, 20)
        await turns_until(lambda: server.stats().requests == 20)
        tasks = server._service.tasks
        assert len(tasks._running) == 3
        assert len(tasks._waiting) == 3
        assert server.stats().dropped_busy == 14
        gate.set()
        await turns_until(lambda: server.in_hand == 0)


async def test_wait(serving: Serve) -> None:
    """Nothing is dropped: what finds no place waits where it is."""
    handler = Gated()
    async with serving(handler, concurrency=3, when_busy="wait") as server:
        peer = await _offer(serving, server, 10)
        await turns_until(lambda: len(handler.begun) == 3)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(handler.begun) == server.in_hand == 3

        handler.gate.set()
        assert sorted(await recv(peer, 10)) == [b"%d" % number for number in range(10)]
        assert (server.stats().dropped_busy, server.stats().aborted) == (0, 0)


@pytest.mark.parametrize("when_busy", ["drop-newest", "drop-oldest", "wait"])
@pytest.mark.parametrize("way", ["function", "awaitable"])
async def test_handlers_that_do_not_wait_are_never_busy(
    serving: Serve, when_busy: Any, way: str
) -> None:
    """A burst of more datagrams than there are places is answered whole."""

    async def handler(data: bytes, addr: Any) -> bytes:
        return data

    called = handler if way == "function" else lambda data, addr: handler(data, addr)
    async with serving(called, concurrency=5, when_busy=when_busy) as server:
        peer = await _offer(serving, server, 60)
        answers = await recv(peer, 60)

    assert sorted(answers, key=int) == [b"%d" % number for number in range(60)]
    assert (server.stats().dropped_busy, server.stats().aborted) == (0, 0)


class _Odd(BaseException):
    """Neither an error nor a request to end."""


async def test_a_task_frees_its_place_whatever_it_raises(
    serving: Serve,
) -> None:
    """The event loop reports it, and the next datagram is served."""
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    async def handler(data: bytes, addr: Any) -> bytes:
        await asyncio.sleep(0)
        if data == b"0":
            raise _Odd
        return data

    async with serving(handler, concurrency=1, when_busy="wait") as server:
        peer = await _offer(serving, server, 3)
        assert await recv(peer, 2) == [b"1", b"2"]
        assert server.in_hand == 0

    (context,) = reported
    assert isinstance(context["exception"], _Odd)


@pytest.mark.parametrize("function", ["handler", "async handler", "accept", "dedupe"])
async def test_a_function_that_looks_at_a_cancelled_future(
    serving: Serve, function: str
) -> None:
    """Its CancelledError is a failure like any other, not the end of the server."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()

    def look(data: bytes, addr: Any = None) -> bytes:
        if data == b"0":
            future.result()
        return data

    async def wait(data: bytes, addr: Any) -> bytes:
        if data == b"0":
            await future
        return data

    options: dict[str, Any] = {}
    if function in ("accept", "dedupe"):
        options[function] = look
    handler: Any = {"handler": look, "async handler": wait}.get(function)
    async with serving(handler or (lambda data, addr: b"1"), **options) as server:
        peer = await _offer(serving, server, 2)
        assert await recv(peer) == [b"1"]
        assert server.stats().failed == 1
        assert not server.closed


async def test_closing_while_datagrams_wait_for_a_place(serving: Serve) -> None:
    """No coroutine is left behind that was never awaited."""
    handler = Gated()
    waiting: Any = lambda data, addr: handler(data, addr)  # noqa: E731
    async with serving(waiting, concurrency=1, when_busy="wait") as server:
        await _offer(serving, server, 5)
        await turns_until(lambda: len(handler.begun) == 1)
    assert handler.begun == handler.cancelled == [b"0"]
    gc.collect()


@pytest.mark.parametrize("end", ["close", "drain", "cancel"])
async def test_what_is_not_handled_before_the_end_is_counted(
    serving: Serve, end: str
) -> None:
    """Every datagram was a request, or is in ``dropped_close`` of the endpoint."""
    handler = Gated()
    async with serving(handler, concurrency=1, when_busy="wait") as server:
        await _offer(serving, server, 5)
        await turns_until(lambda: len(handler.begun) == 1)
        await turns_until(lambda: server.stats().endpoint.received == 5)
        if end == "close":
            server.close()
        elif end == "drain":
            assert not await server.drain(0.001)
        else:
            forever = asyncio.create_task(server.serve_forever())
            await turns(3)
            forever.cancel()
            await asyncio.wait([forever])
    stats = server.stats()
    assert stats.requests < 5
    assert stats.requests + stats.endpoint.dropped_close == 5


# -- who is served


async def test_accept(serving: Serve) -> None:
    """What it refuses reaches no other function."""

    def handler(data: bytes, addr: Any) -> bytes:
        assert data.startswith(b"ok")
        return data

    async with serving(handler, accept=lambda data, addr: data[:2] == b"ok") as server:
        peer = await serving.peer(server)
        for data in (b"no", b"ok 1", b"", b"ok 2"):
            await peer.send(data)
        assert await recv(peer, 2) == [b"ok 1", b"ok 2"]
        stats = server.stats()
        assert (stats.rejected, stats.requests, stats.failed) == (2, 2, 0)


async def test_rate_limit(serving: Serve) -> None:
    """The burst is served, and what exceeds the rate is not."""
    limit = aioudp.RateLimit(per_peer=0.001, burst=5, peers=10)
    async with serving(lambda data, addr: data, accept=limit) as server:
        peer = await _offer(serving, server, 20)
        assert await recv(peer, 5) == [b"%d" % number for number in range(5)]
        await turns_until(lambda: server.stats().rejected == 15)
        assert len(limit) == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_dedupe(serving: Serve, asynchronous: bool) -> None:
    """A request that comes again gets the same reply, and the handler runs once."""

    def handler(data: bytes, addr: Any) -> bytes:
        runs.append(data)
        return data + b" %d" % len(runs)

    async def async_handler(data: bytes, addr: Any) -> bytes:
        await asyncio.sleep(0)
        return handler(data, addr)

    runs: list[bytes] = []
    chosen: Any = async_handler if asynchronous else handler
    async with serving(chosen, dedupe=lambda data: data[:1]) as server:
        one, other = await serving.peer(server), await serving.peer(server)
        for _ in range(3):
            await one.send(b"a")
            assert await recv(one) == [b"a 1"]
        await other.send(b"a")  # another address: another request
        assert await recv(other) == [b"a 2"]
        assert (len(runs), server.stats().duplicates) == (2, 2)


async def test_dedupe_while_the_handler_is_at_work(serving: Serve) -> None:
    """The duplicate is dropped: the reply is on its way."""
    handler = Gated()
    async with serving(handler, dedupe=bytes) as server:
        peer = await serving.peer(server)
        for _ in range(3):
            await peer.send(b"a")
        await turns_until(lambda: server.stats().duplicates == 2)
        handler.gate.set()
        assert await recv(peer) == [b"a"]
        assert handler.begun == [b"a"]
        await peer.send(b"a")
        assert await recv(peer) == [b"a"]


@pytest.mark.parametrize("how", ["raises", "is dropped", "is cancelled"])
async def test_dedupe_of_a_request_that_was_not_handled(
    serving: Serve, how: str
) -> None:
    """It is forgotten, so that it may be tried again."""
    handler = Gated()
    failing = how == "raises"

    async def chosen(data: bytes, addr: Any) -> bytes:
        nonlocal failing
        if failing and data == b"a":
            failing = False
            raise ValueError
        return await handler(data, addr)

    logging.getLogger("aioudp").disabled = True
    when_busy = "drop-oldest" if how == "is cancelled" else "drop-newest"
    try:
        async with serving(
            chosen, dedupe=bytes, concurrency=1 + failing, when_busy=when_busy
        ) as server:
            peer = await serving.peer(server)
            first, second = (b"b", b"a") if how == "is dropped" else (b"a", b"b")
            await peer.send(first)
            await peer.send(second)
            counter = {"raises": "failed", "is dropped": "dropped_busy"}
            name = counter.get(how, "aborted")
            await turns_until(lambda: getattr(server.stats(), name) == 1)
            handler.gate.set()
            await turns_until(lambda: server.in_hand == 0)
            for _ in range(50):
                await asyncio.sleep(0)
            assert await recv(peer) == [b"b"]

            await peer.send(b"a")
            assert await recv(peer) == [b"a"]
    finally:
        logging.getLogger("aioudp").disabled = False


async def test_amplification(serving: Serve) -> None:
    """At most three times what came is sent; the reply is cut, not left out."""
    async with serving(
        lambda data, addr: [bytes(250), bytes(250)],
        amplification=3.0,
        accept=lambda data, addr: data[:1] != b"x",
    ) as server:
        peer = await serving.peer(server)
        await peer.send(bytes(100))
        assert [len(data) for data in await recv(peer, 2)] == [250, 50]
        await peer.send(b"x" * 200)  # refused, but it counts
        await peer.send(b"")
        assert [len(data) for data in await recv(peer, 2)] == [250, 250]
        assert server.stats().clamped == 1

        server.validate(peer.local_addr)
        await peer.send(b"")
        assert [len(data) for data in await recv(peer, 2)] == [250, 250]


async def test_no_amplification_to_lift(serving: Serve) -> None:
    """A server without the limit says so."""
    async with serving(lambda data, addr: data) as server:
        with pytest.raises(ValueError, match="amplification"):
            server.validate(("192.0.2.1", 9))


# -- the end


async def test_drain(serving: Serve) -> None:
    """Everything that has come is answered, then the port is free."""
    async with serving(lambda data, addr: data) as server:
        with plain_socket(serving.host) as sock:
            sock.connect(server.local_addr[:2])
            for number in range(200):
                sock.send(b"%d" % number)
            # All of it is in the kernel: the loop has not turned since.
            assert await server.drain(_PATIENCE)
            assert server.closed
            answers = [sock.recv(100) for _ in range(200)]
        assert answers == [b"%d" % number for number in range(200)]
        assert server.stats().replies == 200


async def test_drain_waits_for_handlers(serving: Serve) -> None:
    """They finish and answer; new datagrams are not read."""
    handler = Gated()
    async with serving(handler) as server:
        peer = await _offer(serving, server, 5)
        await turns_until(lambda: len(handler.begun) == 5)
        draining = asyncio.create_task(server.drain())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not draining.done()

        handler.gate.set()

        assert await draining
        assert sorted(await recv(peer, 5)) == [b"%d" % number for number in range(5)]


async def test_drain_as_a_handler_ends(serving: Serve) -> None:
    """A task that has just ended is waited for without a busy loop."""

    async def handler(data: bytes, addr: Any) -> None:
        await gate.wait()

    def finish(task: asyncio.Task[None]) -> None:
        # Here the task is done, and its place is not free yet.
        finishing.append(asyncio.get_running_loop().create_task(tasks.finish()))

    gate = asyncio.Event()
    finishing: list[asyncio.Task[None]] = []
    async with serving(handler) as server:
        await _offer(serving, server, 1)
        await turns_until(lambda: server.in_hand == 1)
        tasks = server._service.tasks
        (task,) = tasks._running
        task.remove_done_callback(tasks._ended)
        task.add_done_callback(finish)
        task.add_done_callback(tasks._ended)
        gate.set()
        await turns_until(lambda: bool(finishing))
        await finishing[0]
        assert server.in_hand == 0


@pytest.mark.parametrize("way", ["timeout", "cancelled"])
async def test_drain_that_takes_too_long(serving: Serve, way: str) -> None:
    """The handlers that are left are cancelled, and the server is closed."""
    handler = Gated()
    async with serving(handler) as server:
        await _offer(serving, server, 5)
        await turns_until(lambda: len(handler.begun) == 5)
        draining = asyncio.create_task(server.drain(0.01 if way == "timeout" else None))
        if way == "cancelled":
            await asyncio.sleep(0)
            draining.cancel()
        await asyncio.wait([draining])

        if way == "timeout":
            assert draining.result() is False
        else:
            assert draining.cancelled()
        assert server.closed
        assert len(handler.cancelled) == server.stats().aborted == 5
        assert server.in_hand == 0


@pytest.mark.parametrize("count", [1, 3])
async def test_a_handler_drains_its_own_server(serving: Serve, count: int) -> None:
    """It isn't waited for by itself, nor by others that drain, but others are."""

    async def handler(data: bytes, addr: Any) -> bytes | None:
        if data == b"0":
            await gate.wait()
            return data
        asyncio.get_running_loop().call_soon(gate.set)
        try:
            await server.drain()
        finally:
            ended.append(server.in_hand)
        return None

    gate = asyncio.Event()
    ended: list[int] = []
    async with serving(handler) as server:
        peer = await _offer(serving, server, 1 + count)
        async with asyncio.timeout(_PATIENCE):
            await server.serve_forever()
        assert await recv(peer) == [b"0"]
    assert len(ended) == count
    assert server.in_hand == 0


@pytest.mark.parametrize("options", [{}, {"accept": lambda data, addr: True}])
async def test_close_in_a_handler(serving: Serve, options: dict[str, Any]) -> None:
    """It ends the server at once: no other datagram is handled, each is counted."""
    seen = []

    def handler(data: bytes, addr: Any) -> bytes:
        seen.append(data)
        server.close()
        return data

    async with serving(handler, **options) as server:
        await _offer(serving, server, 20)
        await server.serve_forever()
    stats = server.stats()
    assert server.closed
    assert seen == [b"0"]
    assert (stats.requests, stats.unsent) == (1, 1)
    assert stats.endpoint.received - stats.endpoint.dropped_close == 1


async def test_replies_are_not_kept_for_a_whole_batch(serving: Serve) -> None:
    """Many replies to each of many datagrams are sent while the batch is handled."""
    sent: list[int] = []

    def handler(data: bytes, addr: Any) -> list[bytes]:
        sent.append(server.stats().replies + server.stats().unsent)
        return [b""] * 1000

    async with serving(handler) as server:
        await _offer(serving, server, 10)
        await turns_until(lambda: len(sent) == 10)
    kept = [1000 * number - before for number, before in enumerate(sent)]
    assert max(kept) <= 2 * 1024


async def test_replies_do_not_wait_for_a_place(serving: Serve) -> None:
    """One handler returns bytes and coroutines: the bytes are sent at once."""
    handler = Gated()

    def either(data: bytes, addr: Any) -> Any:
        return data if data == b"1" else handler(data, addr)

    async with serving(
        either, accept=bool_of_both, concurrency=1, when_busy="wait"
    ) as server:
        peer = await _offer(serving, server, 3)
        assert await recv(peer) == [b"1"]
        handler.gate.set()
        assert await recv(peer, 2) == [b"0", b"2"]


def bool_of_both(data: bytes, addr: Any) -> bool:
    return bool(data and addr)


async def test_close_is_at_once(serving: Serve, until_blocked: UntilBlocked) -> None:
    """Handlers are cancelled; serve_forever returns; the port is free."""
    handler = Gated()
    async with serving(handler, when_busy="wait", concurrency=2) as server:
        await _offer(serving, server, 5)
        await turns_until(lambda: len(handler.begun) == 2)
        forever = asyncio.create_task(server.serve_forever())
        await until_blocked(forever)

        server.close()
        server.close()

        await forever
        assert len(handler.cancelled) == 2
        again: Any = server.local_addr
        async with aioudp.bind(again, transport=serving._transport):  # type: ignore[call-overload]
            pass


async def test_cancelling_serve_forever_closes(
    serving: Serve, until_blocked: UntilBlocked
) -> None:
    """As Ctrl-C does under asyncio.run."""
    async with serving(lambda data, addr: data) as server:
        forever = asyncio.create_task(server.serve_forever())
        await until_blocked(forever)
        forever.cancel()
        await asyncio.wait([forever])
        assert forever.cancelled()
        assert server.closed


async def test_a_handler_that_survives_the_end(
    serving: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Closing does not wait for it for ever, and says so."""

    async def stubborn(data: bytes, addr: Any) -> None:
        begun.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass

    monkeypatch.setattr(server_module, "_PATIENCE", 0.01)
    begun, gate = asyncio.Event(), asyncio.Event()
    async with serving(stubborn) as server:
        await _offer(serving, server, 1)
        await begun.wait()
        await server.aclose()
        assert "1 handlers of a closed server" in caplog.text
        gate.set()
        await turns_until(lambda: server.in_hand == 0)


async def test_forgotten_server(host: str) -> None:
    """It warns, and its socket is closed."""
    holding = [await aioudp.serve(lambda data, addr: data, (host, 0))]
    endpoint, task = holding[0]._service.endpoint, holding[0]._task

    with pytest.warns(ResourceWarning, match="unclosed server"):
        holding.clear()
    gc.collect()

    assert endpoint.closed
    await task
    await endpoint.aclose()


def test_one_that_was_never_made_closes_nothing() -> None:
    """As when its __init__ is interrupted."""
    aioudp.Server.__new__(aioudp.Server).__del__()


async def test_repr(serving: Serve) -> None:
    """It says where it listens."""
    async with serving(lambda data, addr: data) as server:
        assert repr(server) == f"<Server local_addr={server.local_addr!r}>"
        assert server.port == server.local_addr[1]
    assert repr(server) == "<Server closed>"


# -- arguments


def test_wrong_arguments() -> None:
    """TypeError and ValueError at the call, before anything is opened."""
    call: Any = aioudp.serve
    good: dict[str, Any] = {"handler": bytes, "local_addr": ("127.0.0.1", 0)}
    value: Any
    for name, value in (
        ("handler", 1),
        ("local_addr", 53),
        ("concurrency", 1.5),
        ("accept", 1),
        ("accept", _async_upper),  # a coroutine is true, whatever it returns
        ("accept", functools.partial(_async_upper, addr=None)),
        ("dedupe", "id"),
        ("dedupe", _async_upper),
        ("amplification", "3"),
        ("amplification", True),
        ("nonsense", 1),
    ):
        with pytest.raises(TypeError):
            call(**good | {name: value})
    for name, value in (
        ("concurrency", 0),
        ("when_busy", "panic"),
        ("amplification", 0),
        ("amplification", 3.5),
        ("amplification", math.nan),
        ("queue_size", 0),
    ):
        with pytest.raises(ValueError, match=name):
            call(**good | {name: value})


def test_wrong_rate_limits() -> None:
    """At the call, with the name."""
    call: Any = aioudp.RateLimit
    for name, value in (("per_peer", "1"), ("burst", "1"), ("peers", 1.5)):
        with pytest.raises(TypeError, match=name):
            call(**{"per_peer": 1, name: value})
    for name, number in (
        ("per_peer", 0),
        ("per_peer", math.inf),
        ("burst", 0.5),
        ("peers", 0),
    ):
        with pytest.raises(ValueError, match=name):
            call(**{"per_peer": 1, name: number})


async def test_a_flood_of_forged_senders_is_bounded(serving: Serve) -> None:
    """100,000 senders, and the tables are as large as they may be."""
    limit = aioudp.RateLimit(per_peer=1, burst=1, peers=1000)
    async with serving(
        lambda data, addr: None, accept=limit, dedupe=bytes, amplification=3.0
    ) as server:
        service = server._service
        for start in range(0, 100_000, 1000):
            batch = [
                aioudp.Datagram(
                    b"%d" % number,
                    (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 9),
                )
                for number in range(start, start + 1000)
            ]
            await service._handle_each(batch)

        assert len(limit) == 1000
        assert len(service.recent) == len(service.budgets) == 65_536
        assert server.stats().requests == 100_000


def test_closing_after_the_loop(loop_factory: Any, host: str) -> None:
    """It closes the socket, and nobody is woken: nobody can run."""

    async def begin() -> tuple[aioudp.Server, aioudp.Client]:
        server = await aioudp.serve(Gated(), (host, 0))
        client = await aioudp.open_client(server.local_addr)
        tasks.append(asyncio.ensure_future(client.request(b"")))
        await turns_until(lambda: server.in_hand == 1)
        tasks.extend(server._service.tasks._running)
        tasks.append(server._task)
        return server, client

    tasks: list[asyncio.Task[Any]] = []
    loop = loop_factory()
    server, client = loop.run_until_complete(begin())
    loop.close()

    client.close()
    server.close()

    assert server.closed
    assert client.closed
    assert server._service.endpoint.fileno() == -1
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_sockets_are_unshared(loop_factory: Any) -> None:
    """A server's port is its own unless asked for."""

    async def main() -> None:
        async with aioudp.serve(lambda data, addr: data, ("127.0.0.1", 0)) as server:
            sock = server._service.endpoint.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
