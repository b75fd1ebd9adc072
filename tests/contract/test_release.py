"""The end of an endpoint in another thread, another process, or after its loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp

from .support import AF_UNIX, linux_only, plain_socket, turns, turns_until, unix_only

if TYPE_CHECKING:
    from tests.matrix import LoopFactory

_PATIENCE: Final = 10  # seconds

needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="cannot: fork: this system has none"
)

KINDS: Final = ("bind", "connect", "icmp_errors", "unix", "adopt")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, transport: aioudp.TransportKind) -> str:
    if request.param == "icmp_errors" and (
        sys.platform != "linux" or transport == "loop"
    ):
        pytest.skip("cannot: linux: icmp_errors needs Linux, and the selector")
    if request.param == "unix" and not hasattr(socket, "AF_UNIX"):
        pytest.skip("cannot: unix: there are no UNIX sockets")
    return str(request.param)


Open = Callable[[], aioudp.Opening[aioudp.Endpoint[Any]]]


@pytest.fixture
def open_(
    kind: str, host: str, transport: aioudp.TransportKind, tmp_path: Path
) -> Iterator[Open]:
    """Open an endpoint of some kind that hears of datagrams from ``send_to``."""
    with plain_socket(host) as peer, plain_socket(host) as given:
        ways: dict[str, Open] = {
            "bind": lambda: aioudp.bind((host, 0), transport=transport),
            "connect": lambda: aioudp.connect(
                peer.getsockname()[:2], transport=transport
            ),
            "icmp_errors": lambda: aioudp.bind((host, 0), icmp_errors=True),
            "unix": lambda: aioudp.bind(tmp_path / "here", transport=transport),
            "adopt": lambda: aioudp.adopt(given, transport=transport),
        }
        opens = ways[kind]
        opens.peer = peer  # type: ignore[attr-defined]
        yield opens


def send_to(endpoint: aioudp.Endpoint[Any], open_: Open, data: bytes) -> None:
    addr: Any = endpoint.local_addr
    if isinstance(addr, tuple):
        peer: socket.socket = open_.peer  # type: ignore[attr-defined]
        peer.sendto(data, addr)
    else:
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, addr)


async def still_hears(endpoint: aioudp.Endpoint, open_: Open) -> None:
    for data in (b"first", b"second"):
        send_to(endpoint, open_, data)
        async with asyncio.timeout(_PATIENCE):
            assert (await endpoint.recv()).data == data


# -- another process


@needs_fork
@pytest.mark.parametrize("end", ["close", "forget", "transport"])
async def test_a_child_lets_its_parent_hear(end: str, open_: Open) -> None:
    """What a forked child does to what it inherited is of no account to the parent."""
    held = [await open_()]
    await turns(3)
    fd = held[0].fileno()

    pid = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the suite
        pid = getattr(os, "fork")()  # noqa: B009 - not on Windows
    if pid == 0:
        code = 1
        try:
            warnings.simplefilter("ignore", ResourceWarning)
            if end == "close":
                held[0].close()
            elif end == "transport":
                held[0].transport.close()
            else:
                held.clear()
                gc.collect()
            try:
                os.fstat(fd)
            except OSError:
                code = 0  # it has closed its own descriptor
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or soon will

    assert os.waitstatus_to_exitcode(status) == 0
    await still_hears(held[0], open_)
    if isinstance(held[0].local_addr, str):
        assert os.path.exists(held[0].local_addr)  # noqa: ASYNC240 - takes no time
    await held[0].aclose()


DAEMON: Final = """if True:
    import asyncio, os, socket, sys, time
    import aioudp

    kind, loop_name, end = sys.argv[1:4]
    if loop_name == "uvloop":
        import uvloop
        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(5)

    async def open_endpoint():
        if kind == "connect":
            endpoint = await aioudp.connect(peer.getsockname())
        else:
            icmp_errors = kind == "icmp_errors"
            endpoint = await aioudp.bind(("127.0.0.1", 0), icmp_errors=icmp_errors)
        await asyncio.sleep(0)
        return endpoint

    endpoint = loop.run_until_complete(open_endpoint())
    addr = endpoint.local_addr
    gone, left = os.pipe()
    if os.fork():
        if end == "close":
            endpoint.close()
        elif end == "at once":
            os._exit(0)
        sys.exit(0)
    os.close(left)
    os.read(gone, 1)  # the parent is gone

    async def main():
        for data in (b"first", b"second"):
            peer.sendto(data, addr)
            async with asyncio.timeout(5):
                assert (await endpoint.recv()).data == data
        await endpoint.aclose()

    loop.run_until_complete(main())
    loop.close()
    print("heard")
"""


@needs_fork
@pytest.mark.parametrize("end", ["close", "at once", "exit"])
@pytest.mark.parametrize("kind_", ["bind", "connect", "icmp_errors"])
@linux_only
def test_a_daemon(kind_: str, end: str, loop_factory: LoopFactory) -> None:
    """It opens, forks, and goes on in the child when the parent has ended."""
    loop = loop_factory()
    loop.close()
    name = type(loop).__module__.partition(".")[0]

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DAEMON, kind_, name, end],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("heard\n", "")


# -- another thread


async def test_garbage_collection_in_another_thread(open_: Open) -> None:
    """The descriptor is closed by the loop, in its own thread."""
    loop = asyncio.get_running_loop()
    held = [await open_()]
    sock = held[0].get_extra_info("socket")
    transport = held[0].transport
    await turns(3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        await loop.run_in_executor(None, held.clear)
    await turns_until(lambda: sock.fileno() == -1)

    await transport.wait_closed()


_OPENINGS: Final[dict[str, Callable[[], aioudp.Opening[Any]]]] = {
    "server": lambda: aioudp.serve(lambda data, addr: data, ("127.0.0.1", 0)),
    "client": lambda: aioudp.open_client(("127.0.0.1", 9)),
    "endpoint": lambda: aioudp.bind(("127.0.0.1", 0)),
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", _OPENINGS)
def test_collected_in_another_thread(
    name: str, debug: bool, loop_factory: LoopFactory
) -> None:
    """The loop closes it, in debug mode too; its own thread wakes who waits."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        held = [await _OPENINGS[name]()]
        if name == "server":
            socks = [held[0]._service.endpoint.get_extra_info("socket")]
        elif name == "client":
            socks = [held[0]._ports.any.endpoint.get_extra_info("socket")]
        else:
            socks = [held[0].get_extra_info("socket")]
        others = held[0].unsolicited() if name == "client" else None
        waiting = asyncio.ensure_future(anext(others, None)) if others else None
        await turns(3)

        await loop.run_in_executor(None, held.clear)
        await turns_until(lambda: socks[0].fileno() == -1)

        if waiting is not None:
            async with asyncio.timeout(_PATIENCE):
                assert await waiting is None

    with (
        pytest.warns(ResourceWarning, match=f"unclosed {name}"),
        asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner,
    ):
        runner.run(main())


@pytest.mark.parametrize("name", [*_OPENINGS, "discovery"])
def test_collected_beside_another_loop(name: str, loop_factory: LoopFactory) -> None:
    """In debug mode too: nobody called it from the other loop."""

    async def search() -> Any:
        found = aioudp.discover(b"", 9, timeout=9)  # sends nothing
        await found._start()
        return found

    async def collect(held: list[Any]) -> None:
        held.clear()
        gc.collect()

    with asyncio.Runner(loop_factory=loop_factory, debug=True) as first:

        async def open_() -> Any:
            return await (search() if name == "discovery" else _OPENINGS[name]())

        held = [first.run(open_())]
        with (
            warnings.catch_warnings(),
            asyncio.Runner(loop_factory=loop_factory) as second,
        ):
            warnings.simplefilter("ignore", ResourceWarning)
            second.run(collect(held))


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_transport_that_another_thread_closes(end: str, open_: Open) -> None:
    """The protocol is called in the loop's thread, and the thread doesn't wait."""
    lost = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.DatagramProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(threading.get_ident())

    endpoint = await open_()
    transport: Any = endpoint.transport
    transport.set_protocol(Protocol())

    thread = threading.Thread(target=getattr(transport, end))
    thread.start()
    thread.join()
    async with asyncio.timeout(_PATIENCE):
        assert await lost == threading.get_ident()

    endpoint.close()
    await transport.wait_closed()


def test_many_forgotten_in_another_thread(loop_factory: LoopFactory) -> None:
    """Endpoint after endpoint: nothing is left open, and nothing breaks."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with aioudp.bind(("127.0.0.1", 0)) as witness:
            for _ in range(300):
                held = [await aioudp.bind(("127.0.0.1", 0))]
                await loop.run_in_executor(None, held.clear)
            await witness.send(b"payload", witness.local_addr)
            async with asyncio.timeout(_PATIENCE):
                assert (await witness.recv()).data == b"payload"

    with warnings.catch_warnings(), asyncio.Runner(loop_factory=loop_factory) as runner:
        warnings.simplefilter("ignore", ResourceWarning)
        runner.run(main())


# -- a loop that is closed


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("end", ["close", "forget", "transport"])
@pytest.mark.parametrize("waiting", [False, True])
def test_a_closed_loop(
    end: str, waiting: bool, open_: Open, loop_factory: LoopFactory
) -> None:
    """Closing does not raise, and closes the descriptor, and removes the file."""
    loop = loop_factory()

    async def opened() -> aioudp.Endpoint:
        endpoint = await open_()
        await asyncio.sleep(0)
        return endpoint

    held = [loop.run_until_complete(opened())]
    sock, addr = held[0].get_extra_info("socket"), held[0].local_addr
    task: Any = None
    if waiting and end != "forget":  # who waits doesn't forget
        task = loop.create_task(held[0].recv())
        task._log_destroy_pending = False
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    if end == "close":
        held[0].close()
    elif end == "transport":
        held[0].transport.close()
    held.clear()
    gc.collect()

    assert sock.fileno() == -1
    if isinstance(addr, str):
        assert not os.path.exists(addr)
    if task is not None:
        assert not task.done()
        task.get_coro().close()


def test_waiting_in_a_closed_loop(loop_factory: LoopFactory, host: str) -> None:
    """Tasks that wait in line are collected without a complaint.

    The tests turn an exception that nobody can catch into a failure.
    """
    loop = loop_factory()

    async def started() -> list[asyncio.Task[Any]]:
        endpoint = await aioudp.bind((host, 0))
        tasks = [loop.create_task(endpoint.recv()) for _ in range(3)]
        await asyncio.sleep(0)
        await endpoint.send(b"hello", endpoint.local_addr)
        return tasks

    tasks = loop.run_until_complete(started())
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del task
        tasks.clear()
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # by the loops' own
def test_the_number_of_a_socket_of_a_closed_loop(
    transport: aioudp.TransportKind, loop_factory: LoopFactory, host: str
) -> None:
    """It can be adopted, though the endpoint that had it was never closed.

    uvloop closes the sockets of its own transports together with the loop.
    """
    loop = loop_factory()
    endpoint = loop.run_until_complete(_bound(host, transport))
    number = endpoint.fileno()
    loop.close()
    if endpoint.fileno() != -1:
        endpoint.close()

    with plain_socket(host) as other:
        os.dup2(other.fileno(), number)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_adopted(number))
    gc.collect()


@pytest.mark.parametrize("end", ["close", "forget"])
def test_a_client_of_a_closed_loop(
    loop_factory: LoopFactory, host: str, end: str
) -> None:
    """Requests that nobody will wait for don't keep it from closing its sockets."""
    loop = loop_factory()
    with plain_socket(host) as silent:

        async def asking() -> tuple[list[aioudp.Client], list[asyncio.Task[Any]]]:
            client = await aioudp.open_client(
                silent.getsockname()[:2], key=bytes, in_flight=2
            )
            tasks: list[asyncio.Task[Any]]
            tasks = [loop.create_task(client.request(b"%d" % n)) for n in range(4)]

            async def listen() -> None:
                async for _ in client.unsolicited():
                    pass

            tasks.append(loop.create_task(listen()))
            await asyncio.sleep(0)
            return [client], tasks

        clients, tasks = loop.run_until_complete(asking())
    (port,) = clients[0]._ports._ports
    sock = port.endpoint.get_extra_info("socket")
    del port
    loop.close()

    if end == "close":
        clients[0].close()
        assert sock.fileno() == -1
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine: Any = task.get_coro()
        with contextlib.suppress(RuntimeError):  # of asyncio's own locks
            coroutine.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        clients.clear()
        del coroutine, task
        tasks.clear()
        gc.collect()

    assert sock.fileno() == -1


async def _bound(host: str, transport: aioudp.TransportKind) -> aioudp.Endpoint:
    return await aioudp.bind((host, 0), transport=transport)


async def _adopted(number: int) -> None:
    endpoint = await aioudp.adopt(number)
    assert endpoint.fileno() == number
    await endpoint.aclose()


# -- the directory of a path


@unix_only
async def test_another_working_directory(
    transport: aioudp.TransportKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a relative path is removed, wherever the program is by then."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    endpoint = await aioudp.bind("./here", transport=transport)
    assert (tmp_path / "here").exists()

    monkeypatch.chdir(elsewhere)
    await endpoint.aclose()

    assert not (tmp_path / "here").exists()
