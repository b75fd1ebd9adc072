"""Errors that a socket has for reasons of its own: no event loop spins, or goes deaf.

Whoever holds the socket of an endpoint can fill its error queue, at any time: with
IP_RECVERR, with timestamps of what is sent, with notices of zero-copy sends.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp

from .support import linux_only, refusing_address, turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import Endpoints

pytestmark = linux_only

IP_RECVERR: Final = 11  # include/uapi/linux/in.h
IPV6_RECVERR: Final = 25  # include/uapi/linux/in6.h
SO_TIMESTAMPING: Final = 37  # include/uapi/asm-generic/socket.h
# include/uapi/linux/net_tstamp.h: TX_SOFTWARE, SOFTWARE and OPT_ID
STAMPS: Final = 1 << 1 | 1 << 4 | 1 << 7

POLLERR: Final = 0x8  # include/uapi/asm-generic/poll.h

_PATIENCE: Final = 5  # seconds


@pytest.fixture(autouse=True)
async def not_uvloops_own(transport: aioudp.TransportKind) -> None:
    if transport == "loop" and "uvloop" in type(asyncio.get_running_loop()).__module__:
        pytest.skip("cannot: uvloop's transport: an error queue crashes the process")


def stamp(endpoint: aioudp.Endpoint) -> None:
    """Have each datagram that is sent leave a timestamp in the error queue."""
    sock = endpoint.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS)


def has_error(endpoint: aioudp.Endpoint) -> bool:
    poll = getattr(select, "poll")()  # noqa: B009 - not on Windows
    poll.register(endpoint.fileno(), 0)
    return any(events & POLLERR for _, events in poll.poll(0))


async def until_error_is_gone(endpoint: aioudp.Endpoint) -> None:
    """Let the loop turn; on a loop that spins or is deaf it would be there for ever."""
    await turns_until(lambda: not has_error(endpoint))


async def hears(endpoint: aioudp.Endpoint, peer: aioudp.Endpoint) -> None:
    """Check that a datagram of the peer still arrives, and another one."""
    for data in (b"first", b"second"):
        await peer.send(data, endpoint.local_addr)
        async with asyncio.timeout(_PATIENCE):
            assert (await endpoint.recv()).data == data


@pytest.mark.parametrize("connected", [False, True])
async def test_timestamps_of_what_is_sent(
    connected: bool, endpoints: Endpoints
) -> None:
    """They are thrown away, and counted."""
    peer = await endpoints.bind()
    endpoint = await (
        endpoints.connect(peer.local_addr) if connected else endpoints.bind()
    )
    stamp(endpoint)

    for _ in range(10):
        await endpoint.send(b"payload", peer.local_addr)
    await until_error_is_gone(endpoint)

    await hears(endpoint, peer)
    assert endpoint.stats().dropped_errors == 10


async def test_timestamps_among_datagrams(endpoints: Endpoints) -> None:
    """Datagrams in every event do not keep them from being found."""
    server = await endpoints.bind()
    client = await endpoints.connect(server.local_addr)
    stamp(server)

    for _ in range(100):
        await client.send(b"question")
        async with asyncio.timeout(_PATIENCE):
            _, addr = await server.recv()
        await server.send(b"answer", addr)
        async with asyncio.timeout(_PATIENCE):
            await client.recv()
    await until_error_is_gone(server)

    assert server.stats().dropped_errors == 100


async def test_recverr_that_was_switched_on_later(
    endpoints: Endpoints, host: str
) -> None:
    """A receive call may raise what ICMP said, once; then all goes on."""
    peer = await endpoints.bind()
    endpoint = await endpoints.bind()
    sock = endpoint.get_extra_info("socket")
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)

    with refusing_address(host) as nobody:
        for _ in range(3):
            await endpoint.send(b"anybody there?", nobody)
            await endpoint.send(b"to a peer that is", peer.local_addr)
        await until_error_is_gone(endpoint)

    for _ in range(3):  # none was stopped by the error of another
        async with asyncio.timeout(_PATIENCE):
            assert (await peer.recv()).data == b"to a peer that is"
    try:
        endpoint.recv_nowait()
    except (BlockingIOError, ConnectionRefusedError):
        pass
    await hears(endpoint, peer)


async def test_errors_that_came_during_a_pause(endpoints: Endpoints) -> None:
    """They are found when reading goes on."""
    peer = await endpoints.bind()
    endpoint = await endpoints.bind(queue_size=1)
    stamp(endpoint)
    for data in (b"1", b"2"):
        await peer.send(data, endpoint.local_addr)
    await turns(5)  # the queue is full now

    await endpoint.send(b"payload", peer.local_addr)
    await turns(5)
    for data in (b"1", b"2"):
        async with asyncio.timeout(_PATIENCE):
            assert (await endpoint.recv()).data == data
    receiving = asyncio.create_task(endpoint.recv())

    await until_error_is_gone(endpoint)
    await peer.send(b"3", endpoint.local_addr)
    async with asyncio.timeout(_PATIENCE):
        assert (await receiving).data == b"3"


async def test_an_exception_handler_that_keeps_what_it_gets(host: str) -> None:
    """A report that lives on does not hide that the watching has ended."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reports.append(context)
    )
    errors: list[Exception] = []

    class Clumsy(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            errors.append(exc)
            raise LookupError

    with refusing_address(host) as nobody:
        transport, _ = await aioudp.create_datagram_endpoint(
            Clumsy, remote_addr=nobody[:2]
        )
        for count in (1, 2, 3):
            transport.sendto(b"anybody there?")
            await turns_until(lambda count=count: len(errors) >= count)  # type: ignore[misc]
    transport.close()

    assert len(reports) == 3


async def test_a_socket_that_was_shut_down(endpoints: Endpoints) -> None:
    """It is ready for ever, with nothing to read; the loop may rest all the same."""
    endpoint = await endpoints.bind()
    if type(endpoint.transport).__name__ == "LoopTransport":
        pytest.skip("cannot: the loop's own transport: it spins")
    peer = await endpoints.bind()
    connected = await endpoints.connect(peer.local_addr)
    connected.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    await asyncio.sleep(0.1)
    before = time.process_time()

    await asyncio.sleep(0.5)

    assert time.process_time() - before < 0.15  # seconds; all of it, if it spins
