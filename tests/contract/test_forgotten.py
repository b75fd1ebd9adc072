"""Endpoints that nobody closed: collected, left to a closed loop, or forked."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import plain_socket, turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import UntilBlocked
    from tests.matrix import LoopFactory


# -- forgotten endpoints


@contextmanager
def one_resource_warning() -> Iterator[None]:
    """Expect one ResourceWarning about an endpoint, and no other warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [each.category for each in caught] == [ResourceWarning]
    assert "unclosed endpoint <Endpoint local_addr=" in str(caught[0].message)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture(params=["bound", "connected"])
def forget(
    request: pytest.FixtureRequest,
    transport: aioudp.TransportKind,
    peer: socket.socket,
    host: str,
) -> Callable[[], aioudp.Opening[aioudp.Endpoint]]:
    """Return what opens an endpoint that the test will not close."""
    if request.param == "bound":
        return lambda: aioudp.bind((host, 0), transport=transport)
    return lambda: aioudp.connect(peer.getsockname(), transport=transport)


Forget = Callable[[], aioudp.Opening[aioudp.Endpoint]]


async def test_forgotten_endpoint(forget: Forget) -> None:
    """An endpoint that is collected open warns once, and closes (B229) (B231)."""
    endpoint = await forget()
    descriptor = endpoint.fileno()
    addr: Any = endpoint.local_addr
    family = endpoint.family

    with one_resource_warning():
        del endpoint
    await turns_until(lambda: not is_open(descriptor))

    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(addr)


async def test_forgotten_endpoint_is_not_watched(host: str) -> None:
    """Of a collected endpoint the loop watches nothing any more (B229)."""
    loop = asyncio.get_running_loop()
    endpoint = await aioudp.bind((host, 0), transport="selector")
    descriptor = endpoint.fileno()

    with one_resource_warning():
        del endpoint

    assert not loop.remove_reader(descriptor)  # uvloop returns None, whatever it did
    assert not loop.remove_writer(descriptor)


async def test_transport_does_not_keep_an_endpoint(forget: Forget) -> None:
    """Who holds the transport alone does not keep the endpoint open (B229)."""
    endpoint = await forget()
    transport = endpoint.transport

    with one_resource_warning():
        del endpoint

    assert transport.is_closing()
    await transport.wait_closed()
    assert transport.get_extra_info("socket").fileno() == -1


async def test_endpoint_in_a_cycle(forget: Forget) -> None:
    """An endpoint that is part of a cycle is collected like any other (B229)."""
    endpoint = await forget()
    transport = endpoint.transport
    cycle: list[Any] = [endpoint]
    cycle.append(cycle)

    with one_resource_warning():
        del endpoint, cycle

    await transport.wait_closed()


@pytest.mark.parametrize("turn", range(4))
async def test_forgotten_as_a_datagram_arrives(
    forget: Forget, peer: socket.socket, turn: int
) -> None:
    """Collected while datagrams arrive, an endpoint troubles nobody (B230)."""
    endpoint = await forget()
    transport = endpoint.transport
    peer.sendto(b"one", endpoint.local_addr)
    await turns(turn)
    peer.sendto(b"two", endpoint.local_addr)

    with one_resource_warning():
        del endpoint
    await turns(10)

    await transport.wait_closed()
    assert transport.get_extra_info("socket").fileno() == -1


async def test_forgotten_at_once(forget: Forget) -> None:
    """Collected before the loop has turned once, it leaves nothing (B230)."""
    with one_resource_warning():
        transport = (await forget()).transport

    await transport.wait_closed()
    assert transport.get_extra_info("socket").fileno() == -1


async def test_a_task_keeps_its_endpoint(
    forget: Forget, peer: socket.socket, until_blocked: UntilBlocked
) -> None:
    """An endpoint on which a task waits is not forgotten (B229)."""
    endpoint = await forget()
    addr = endpoint.local_addr
    transport = endpoint.transport
    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)

    del endpoint
    gc.collect()
    assert not transport.is_closing()

    with one_resource_warning():
        peer.sendto(b"hello", addr)
        assert await receiving == (b"hello", peer.getsockname())
    await transport.wait_closed()


# Only on the selector transport: a loop's own transport needs its loop to close.
SELECTOR = pytest.mark.parametrize("transport", ["selector"])


def open_on(loop: asyncio.AbstractEventLoop, forget: Forget) -> aioudp.Endpoint:
    async def open_one() -> aioudp.Endpoint:
        return await forget()

    return loop.run_until_complete(open_one())


@SELECTOR
def test_forgotten_after_the_loop(loop_factory: LoopFactory, forget: Forget) -> None:
    """Collected after the loop was closed, it warns once, and closes (B230)."""
    loop = loop_factory()
    endpoint = open_on(loop, forget)
    descriptor = endpoint.fileno()
    loop.close()

    with one_resource_warning():
        del endpoint

    assert not is_open(descriptor)


@SELECTOR
def test_closed_after_the_loop(loop_factory: LoopFactory, forget: Forget) -> None:
    """Closing works after the loop was closed, and then there is no warning (B230)."""
    loop = loop_factory()
    endpoint = open_on(loop, forget)
    descriptor = endpoint.fileno()
    loop.close()

    endpoint.close()

    assert endpoint.closed
    assert not is_open(descriptor)


async def test_closed_endpoint_does_not_warn(forget: Forget) -> None:
    """An endpoint that was closed is collected in silence (B231)."""
    endpoint = await forget()
    await endpoint.aclose()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del endpoint
        gc.collect()

    assert caught == []


# -- other processes

CHILD = """
import asyncio, sys
import aioudp

async def main():
    async with aioudp.adopt(int(sys.argv[1])) as endpoint:
        data, addr = await endpoint.recv()
        await endpoint.send(data.upper(), addr)

asyncio.run(main())
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="cannot: pass_fds: Windows hands on no descriptors"
)
def test_socket_of_another_process(host: str, peer: socket.socket) -> None:
    """A child process serves on a socket that it was handed (B233)."""
    with plain_socket(host) as sock:
        addr = sock.getsockname()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(sock.fileno())], pass_fds=[sock.fileno()]
        )
    with child:
        peer.sendto(b"hello", addr)
        answer = peer.recvfrom(100)

    assert answer == (b"HELLO", addr)
    assert child.returncode == 0
