"""The loop transport, around the own transport of each loop of the matrix."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
from aioudp._transports.loop import LoopTransport
from aioudp._types import Datagram

with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)


class Recorder(asyncio.DatagramProtocol):
    """An ordinary protocol that records its calls."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.senders: list[Any] = []
        self.pause_at: Any = None
        self.room = 100  # datagrams
        self._changed = asyncio.Event()

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self._changed.set()
        if event == self.pause_at:
            self.transport.pause_reading()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._note("made")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost" if exc is None else exc)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.senders.append(addr)
        self._note(data)

    def error_received(self, exc: Exception) -> None:
        self._note(exc)

    def datagrams_wanted(self) -> int:
        return self.room

    async def until(self, count: int) -> list[Any]:
        """Return the events once there are so many."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.events


MakeLoopTransport = Callable[..., Coroutine[Any, Any, tuple[LoopTransport, Recorder]]]


@pytest.fixture
async def make_loop_transport() -> AsyncIterator[MakeLoopTransport]:
    """Make started loop transports; the end closes them."""
    async with AsyncExitStack() as stack:

        async def make(
            addr: Any = ("127.0.0.1", 0),
            family: int = socket.AF_INET,
            protocol: Recorder | None = None,
            **options: Any,
        ) -> tuple[LoopTransport, Recorder]:
            sock = sockets.open_bound(addr, family)
            protocol = protocol or Recorder()
            io = BatchSocket(sock, gso_segments=1, gro=False)
            loop = asyncio.get_running_loop()
            transport = LoopTransport(loop, sock, protocol, io, **options)
            stack.push_async_callback(transport.wait_closed)
            stack.callback(transport.abort)
            await transport.start()
            return transport, protocol

        yield make


async def test_the_loops_transport_reads_for_us(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """What it hands over is counted and delivered."""
    transport, protocol = await make_loop_transport()
    addr = transport.get_extra_info("sockname")
    transport.try_send(b"one", addr)
    transport.try_send(b"three", addr)

    assert await protocol.until(3) == ["made", b"one", b"three"]
    stats = transport.stats()
    assert (stats.received, stats.received_bytes, stats.sent) == (2, 8, 2)


async def test_the_loop_cannot_open_the_port_to_others(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """uvloop sets SO_REUSEADDR on what it adopts; that is undone."""
    transport, _ = await make_loop_transport()
    sock = transport.get_extra_info("socket")

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0


async def test_an_option_that_was_set_before_stays(
    make_loop_transport: MakeLoopTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the socket may have had a reason."""
    original = sockets.open_bound

    def with_reuse(*args: Any, **kwargs: Any) -> socket.socket:
        sock = original(*args, **kwargs)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    monkeypatch.setattr(sockets, "open_bound", with_reuse)
    transport, _ = await make_loop_transport()
    sock = transport.get_extra_info("socket")

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0


async def test_the_loop_transport_frees_the_descriptor(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """When ``wait_closed`` returns, the port can be bound again."""
    transport, protocol = await make_loop_transport()
    addr = transport.get_extra_info("sockname")

    transport.close()
    await transport.wait_closed()

    with sockets.open_bound(addr, socket.AF_INET):
        pass
    assert await protocol.until(2) == ["made", "lost"]


async def test_waiting_for_what_never_started_returns() -> None:
    """There is nobody to wait for."""
    sock = sockets.open_bound(("127.0.0.1", 0), socket.AF_INET)
    loop = asyncio.get_running_loop()
    io = BatchSocket(sock, gso_segments=1, gro=False)
    transport = LoopTransport(loop, sock, Recorder(), io)

    transport.abort()
    await transport.wait_closed()

    assert sock.fileno() == -1


async def test_the_loop_transport_says_whether_it_reads(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """Where the loop's own can pause, so can it; else it always reads."""
    transport, _ = await make_loop_transport()

    transport.pause_reading()
    paused = transport.is_reading()
    transport.resume_reading()
    resumed = transport.is_reading()
    transport.close()
    transport.pause_reading()
    transport.resume_reading()

    assert (paused, resumed) == (not transport.can_pause, True)
    assert not transport.is_reading()


async def test_what_arrives_during_a_pause_comes_after_it(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """Where the loop's transport can pause at all."""
    transport, protocol = await make_loop_transport()
    if not transport.can_pause:
        pytest.skip("cannot: pause: the loop's transport has no pause_reading")
    transport.pause_reading()
    transport.try_send(b"payload", transport.get_extra_info("sockname"))
    for _ in range(5):
        await asyncio.sleep(0)
    before = [*protocol.events]

    transport.resume_reading()

    assert before == ["made"]
    assert await protocol.until(2) == ["made", b"payload"]


async def test_a_protocol_that_wants_no_more_pauses_the_loop(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """It is asked after each datagram. A loop that cannot pause delivers on."""
    transport, protocol = await make_loop_transport()
    addr = transport.get_extra_info("sockname")
    protocol.room = 0
    for data in (b"1", b"2"):
        transport.try_send(data, addr)
    await protocol.until(2)
    for _ in range(5):
        await asyncio.sleep(0)
    before = [*protocol.events], transport.is_reading()
    protocol.room = 100

    transport.resume_reading()

    if transport.can_pause:
        assert before == (["made", b"1"], False)
    assert await protocol.until(3) == ["made", b"1", b"2"]
    assert transport.is_reading()


def test_a_drop_in_loop_still_has_its_own_transport() -> None:
    """Where ``create_datagram_endpoint`` is ours, it would lead back to here."""

    async def main() -> str:
        async with aioudp.bind(("127.0.0.1", 0), transport="loop") as endpoint:
            transport: Any = endpoint.transport
            inner = type(transport._inner).__module__
            await endpoint.send(b"payload", endpoint.local_addr)
            async with asyncio.timeout(10):
                assert (await endpoint.recv()).data == b"payload"
            return inner

    assert aioudp.run(main()).partition(".")[0] in ("asyncio", "uvloop")


async def test_polling_leaves_the_reading_to_the_loop(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """It cannot be hurried, and the call does no harm."""
    transport, protocol = await make_loop_transport()
    transport.try_send(b"payload", transport.get_extra_info("sockname"))

    assert transport.poll() == []
    assert protocol.events == ["made"]
    assert await protocol.until(2) == ["made", b"payload"]


async def test_what_the_loop_delivers_after_close_is_ignored(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """Some loops hand over what they had read already."""
    transport, protocol = await make_loop_transport()
    addr = transport.get_extra_info("sockname")
    transport.try_send(b"payload", addr)

    transport.close()
    transport._on_datagram(b"read before", addr)
    await transport.wait_closed()

    assert await protocol.until(2) == ["made", "lost"]


async def test_an_error_that_the_loop_met_is_reported(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """Here ICMP says that nobody listens at the connected peer."""
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as gone:
        dead = gone.getsockname()
    transport, protocol = await make_loop_transport()
    transport.get_extra_info("socket").connect(dead)

    transport.try_send(b"payload")

    _, error = await protocol.until(2)
    assert isinstance(error, ConnectionRefusedError)
    assert transport.stats().receive_errors == 1


async def test_the_loop_transport_delivers_the_backlog(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """As the selector transport does."""
    _, protocol = await make_loop_transport(
        backlog=[Datagram(b"early", ("127.0.0.1", 9))]
    )

    assert protocol.events == ["made", b"early"]


@pytest.mark.parametrize("pause", ["made", b"early"])
async def test_the_loop_transport_holds_the_backlog_back(
    pause: Any, make_loop_transport: MakeLoopTransport
) -> None:
    """From a protocol that pauses, until it resumes; none of it is lost."""
    protocol = Recorder()
    protocol.pause_at = pause
    backlog = [Datagram(data, ("127.0.0.1", 9)) for data in (b"early", b"bird")]

    transport, _ = await make_loop_transport(protocol=protocol, backlog=backlog)
    before = [*protocol.events]
    transport.resume_reading()

    assert await protocol.until(3) == ["made", b"early", b"bird"]
    if transport.can_pause:
        assert before == (["made"] if pause == "made" else ["made", b"early"])


@with_unix_sockets
@pytest.mark.parametrize("size", [0, 1, 200_000])
async def test_a_unix_datagram_passes_the_loop_whole(
    size: int, make_loop_transport: MakeLoopTransport, tmp_path: Path
) -> None:
    """Up to what a loop reads at a time."""
    path = str(tmp_path / "socket")
    transport, protocol = await make_loop_transport(path, sockets.AF_UNIX)

    transport.try_send(bytes(size), path)

    assert await protocol.until(2) == ["made", bytes(size)]


@with_unix_sockets
async def test_a_unix_datagram_that_may_be_cut_off_is_an_error(
    make_loop_transport: MakeLoopTransport, tmp_path: Path
) -> None:
    """The loop doesn't report it, so a datagram as long as its buffer isn't trusted."""
    path = str(tmp_path / "socket")
    transport, protocol = await make_loop_transport(path, sockets.AF_UNIX)
    sock = transport.get_extra_info("socket")
    sockets.grow_buffer(sock, socket.SO_SNDBUF, sockets.DEFAULT_BUFFER)
    try:
        transport.try_send(bytes(256_000), path)
    except OSError:
        pytest.skip("cannot: wmem: this system limits the send buffer too much")

    _, error = await protocol.until(2)

    assert error.errno == errno.EMSGSIZE
    stats = transport.stats()
    assert (stats.truncated, stats.received) == (1, 0)


@with_unix_sockets
async def test_an_abstract_name_comes_without_padding(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """uvloop fills it up with zero bytes."""
    transport, protocol = await make_loop_transport("", sockets.AF_UNIX)
    name = transport.get_extra_info("sockname")
    if not isinstance(name, bytes):
        pytest.skip("cannot: abstract: this system has no abstract names")

    transport.try_send(b"payload", name)
    await protocol.until(2)

    assert protocol.senders == [name]


async def test_the_loops_transport_ends_by_itself(
    make_loop_transport: MakeLoopTransport,
) -> None:
    """Nobody reads any more, so the protocol hears of it, and who waits goes on."""
    transport, protocol = await make_loop_transport()
    waiting = asyncio.create_task(transport.wait_writable())
    await asyncio.sleep(0)

    transport._inner.abort()

    assert await protocol.until(2) == ["made", "lost"]
    assert transport.is_closing()
    await waiting
