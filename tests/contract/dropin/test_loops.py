"""new_event_loop and run: loops whose create_datagram_endpoint is ours."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aioudp

from ..support import linux_only, plain_socket
from .support import Recorder

LOOPBACK = "127.0.0.1"


@pytest.fixture(params=["asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name the loop below: uvloop's, or asyncio's as if there were no uvloop."""
    name: str = request.param
    if name == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop", reason="cannot: uvloop: it is not installed")
    return name


@pytest.fixture
def loop(kind: str) -> Iterator[asyncio.AbstractEventLoop]:
    """Return such a loop."""
    loop = aioudp.new_event_loop()
    yield loop
    loop.close()


def is_kind(loop: object, kind: str) -> bool:
    """Return whether the class of *loop* is derived from one in that package."""
    return any(base.__module__.startswith(kind) for base in type(loop).__mro__[2:3])


async def echo_once(**options: Any) -> type:
    """Open by the running loop's method; return the class that did an exchange."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Recorder, local_addr=(LOOPBACK, 0), **options
    )
    with plain_socket(LOOPBACK) as peer:
        peer.sendto(b"question", transport.get_extra_info("sockname"))
        await protocol.received(1)
        transport.sendto(b"answer", protocol.datagrams[0][1])
        assert peer.recv(100) == b"answer"
    transport.close()
    await protocol.lost()
    return type(transport)


# -- new_event_loop


def test_kind(loop: asyncio.AbstractEventLoop, kind: str) -> None:
    """uvloop's where it is installed, else asyncio's own; never the same one twice."""
    another = aioudp.new_event_loop()

    assert is_kind(loop, kind)
    assert another is not loop
    assert type(another) is type(loop)
    assert not loop.is_running()
    another.close()


def test_the_loops_method_is_ours(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever calls it gets our transport."""
    opened = loop.run_until_complete(echo_once())

    assert issubclass(opened, aioudp.DatagramTransport)


def test_arguments_by_position(loop: asyncio.AbstractEventLoop) -> None:
    """They mean what they mean to the loop's own method."""

    async def main() -> None:
        with plain_socket(LOOPBACK) as peer:
            transport, protocol = await loop.create_datagram_endpoint(
                Recorder, (LOOPBACK, 0), peer.getsockname()
            )
            assert transport.get_extra_info("peername") == peer.getsockname()
            transport.close()
            await protocol.lost()

    loop.run_until_complete(main())


@pytest.mark.parametrize("option", [{}, {"local_addr": "text"}, {"no_such": 1}])
def test_errors(loop: asyncio.AbstractEventLoop, option: dict[str, Any]) -> None:
    """They are those of the function."""

    async def error_of(opens: Callable[..., Any]) -> type[Exception]:
        with pytest.raises((TypeError, ValueError)) as caught:
            await opens(Recorder, **option)
        return caught.type

    both: list[Callable[..., Any]] = [
        loop.create_datagram_endpoint,
        aioudp.create_datagram_endpoint,
    ]
    first, second = [loop.run_until_complete(error_of(opens)) for opens in both]

    assert first is second


def test_the_loops_own_method(loop: asyncio.AbstractEventLoop) -> None:
    """It is still there, under another name."""

    async def main() -> bool:
        own: Any = loop
        transport, protocol = await own.loop_datagram_endpoint(
            Recorder, local_addr=(LOOPBACK, 0)
        )
        transport.close()
        await protocol.lost()
        return isinstance(transport, aioudp.DatagramTransport)

    assert loop.run_until_complete(main()) is False


@pytest.mark.parametrize("transport", ["selector", "loop"])
def test_endpoints(
    loop: asyncio.AbstractEventLoop, transport: aioudp.TransportKind
) -> None:
    """They work on such a loop as on any other, on either transport."""

    async def main() -> bytes:
        async with (
            aioudp.bind((LOOPBACK, 0), transport=transport) as server,
            aioudp.connect(server.local_addr, transport=transport) as client,
        ):
            await client.send(b"hello")
            return (await server.recv()).data

    assert loop.run_until_complete(main()) == b"hello"


def test_debug_mode(loop: asyncio.AbstractEventLoop) -> None:
    """The loop's checks find nothing to complain of."""
    loop.set_debug(True)

    loop.run_until_complete(echo_once())


@linux_only
def test_other_families(loop: asyncio.AbstractEventLoop, kind: str) -> None:
    """A socket that is neither UDP nor UNIX is the loop's own method's to open."""
    if kind == "uvloop":
        pytest.skip("cannot: the own method of uvloop: it serves no other family")
    family: Any = socket.AF_NETLINK  # type: ignore[attr-defined,unused-ignore]

    async def main() -> bool:
        sock = socket.socket(family, socket.SOCK_DGRAM, 0)
        sock.bind((0, 0))
        transport, protocol = await loop.create_datagram_endpoint(Recorder, sock=sock)
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)
        return isinstance(transport, aioudp.DatagramTransport)

    assert loop.run_until_complete(main()) is False


@linux_only
async def test_other_families_for_the_function() -> None:
    """The function itself has no other method to turn to: a ValueError."""
    family: Any = socket.AF_NETLINK  # type: ignore[attr-defined,unused-ignore]

    with socket.socket(family, socket.SOCK_DGRAM, 0) as sock, pytest.raises(ValueError):
        await aioudp.create_datagram_endpoint(Recorder, sock=sock)
    with pytest.raises(ValueError):
        await aioudp.create_datagram_endpoint(Recorder, family=family)


# -- run


def test_run(kind: str) -> None:
    """It returns what the coroutine returns, from such a loop, which is then closed."""

    async def main() -> tuple[asyncio.AbstractEventLoop, type]:
        return asyncio.get_running_loop(), await echo_once()

    loop, opened = aioudp.run(main())

    assert is_kind(loop, kind)
    assert loop.is_closed()
    assert issubclass(opened, aioudp.DatagramTransport)


def test_run_raises(kind: str) -> None:
    """What the coroutine raises comes out."""

    async def main() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        aioudp.run(main())


@pytest.mark.parametrize("debug", [True, False])
def test_run_in_debug_mode(kind: str, debug: bool) -> None:
    """The argument decides."""

    async def main() -> bool:
        await echo_once()
        return asyncio.get_running_loop().get_debug()

    assert aioudp.run(main(), debug=debug) is debug


async def test_run_inside_a_loop() -> None:
    """It is a RuntimeError, as of asyncio.run."""

    async def main() -> None:
        pytest.fail("it ran")

    coroutine = main()
    with pytest.raises(RuntimeError):
        aioudp.run(coroutine)
    coroutine.close()


def test_run_of_what_is_no_coroutine(kind: str) -> None:
    """It is a ValueError, as of asyncio.run (a TypeError from Python 3.14 on)."""
    with pytest.raises((TypeError, ValueError)):
        aioudp.run(42)  # type: ignore[arg-type]


def test_run_cancels_what_is_left(kind: str) -> None:
    """A task that still waits is cancelled before the loop is closed."""
    tasks = []

    async def main() -> None:
        async def wait() -> None:
            async with aioudp.bind((LOOPBACK, 0)) as endpoint:
                await endpoint.recv()

        tasks.append(asyncio.ensure_future(wait()))
        await asyncio.sleep(0)

    aioudp.run(main())

    assert tasks[0].cancelled()


def test_runner(kind: str) -> None:
    """An asyncio.Runner takes new_event_loop as its factory."""
    with asyncio.Runner(loop_factory=aioudp.new_event_loop) as runner:
        assert issubclass(runner.run(echo_once()), aioudp.DatagramTransport)
        assert issubclass(runner.run(echo_once()), aioudp.DatagramTransport)


def test_run_in_another_thread(kind: str) -> None:
    """Every thread may have a loop of its own."""
    opened = []
    thread = threading.Thread(target=lambda: opened.append(aioudp.run(echo_once())))

    thread.start()
    opened.append(aioudp.run(echo_once()))
    thread.join(20)

    assert len(opened) == 2


def test_what_is_gathered_last_is_out_when_run_ends(kind: str) -> None:
    """Also for a transport that nobody closed in time for the last turn."""
    with plain_socket(LOOPBACK) as peer:
        sent = [b"%d" % number for number in range(20)]

        async def main() -> Any:
            transport, _ = await aioudp.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=peer.getsockname()
            )
            for data in sent:
                transport.sendto(data)
            return transport

        with asyncio.Runner(loop_factory=aioudp.new_event_loop) as runner:
            transport = runner.run(main())
            assert [peer.recv(100) for _ in sent] == sent
            transport.abort()
