"""``icmp_errors``: protocols that hear of errors, and transports without them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    AF_UNIX,
    plain_socket,
    refusing_address,
    turns,
    turns_until,
    unix_only,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: no other system has the queue"
)


@pytest.fixture
def transport() -> aioudp.TransportKind:
    """Return the only transport that has the option."""
    return "selector"


@pytest.fixture
def dead(host: str) -> Iterator[Any]:
    """Return an address where nobody listens."""
    with refusing_address(host) as addr:
        yield addr


@pytest.fixture
def live(host: str) -> Iterator[socket.socket]:
    """Return a plain socket to send to."""
    with plain_socket(host) as sock:
        yield sock


@pytest.fixture
async def hearing(endpoints: Endpoints) -> aioudp.Endpoint:
    """Return an endpoint that hears of errors."""
    return await endpoints.bind(icmp_errors=True)


async def errors_of(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.NetworkError]:
    """Return the next *count* errors."""
    async with asyncio.timeout(5):
        return [await endpoint.recv_error() for _ in range(count)]


async def heard(endpoint: aioudp.Endpoint, count: int) -> None:
    """Let the loop turn until the endpoint has heard of so many errors."""
    await turns_until(lambda: endpoint.stats().receive_errors >= count)


# -- protocols that hear of it


class Closing(asyncio.DatagramProtocol):
    """Closes its transport when it hears of an error."""

    def __init__(self, transport: aioudp.DatagramTransport, how: str) -> None:
        self.transport = transport
        self.how = how
        self.heard: list[aioudp.NetworkError] = []

    def network_error_received(self, error: aioudp.NetworkError) -> None:
        self.heard.append(error)
        getattr(self.transport, self.how)()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_protocol_may_close_when_it_hears_of_an_error(
    hearing: aioudp.Endpoint, dead: Any, live: socket.socket, how: str
) -> None:
    """In the same event a datagram is ready; neither it nor an error follows (B139)."""
    protocol = Closing(hearing.transport, how)
    hearing.transport.set_protocol(protocol)
    for _ in range(3):
        hearing.transport.try_send(b"lost", dead)
    live.sendto(b"payload", hearing.local_addr)

    await turns_until(lambda: bool(protocol.heard))
    await turns(10)

    assert len(protocol.heard) == 1
    assert hearing.transport.is_closing()


async def test_a_protocol_need_not_hear_of_errors(
    hearing: aioudp.Endpoint, dead: Any
) -> None:
    """They are counted, and asyncio's method for errors is not called (B142)."""

    class Deaf(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            raise AssertionError(exc)

    hearing.transport.set_protocol(Deaf())
    for _ in range(3):
        await hearing.send(b"lost", dead)

    await heard(hearing, 3)


async def test_a_protocol_that_raises_hears_of_the_next(
    hearing: aioudp.Endpoint, dead: Any
) -> None:
    """Its mistake goes where those of any callback go."""
    mistakes: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: mistakes.append(context["exception"]))
    heard_of = []

    class Failing(asyncio.DatagramProtocol):
        def network_error_received(self, error: aioudp.NetworkError) -> None:
            heard_of.append(error.data)
            raise LookupError

    hearing.transport.set_protocol(Failing())
    for number in range(3):
        await hearing.send(b"%d" % number, dead)
    await turns_until(lambda: len(heard_of) == 3)

    assert heard_of == [b"0", b"1", b"2"]
    assert [type(mistake) for mistake in mistakes] == [LookupError] * 3


# -- who has it


async def test_an_adopted_socket_hears_of_errors(dead: Any, host: str) -> None:
    """Also of those that were in its queue before."""
    level, option = socket.IPPROTO_IP, 11  # IP_RECVERR, include/uapi/linux/in.h
    if ":" in host:
        level, option = socket.IPPROTO_IPV6, 25  # IPV6_RECVERR, linux/in6.h
    with plain_socket(host) as sock:
        sock.setsockopt(level, option, 1)
        sock.sendto(b"before", dead)

        async with aioudp.adopt(sock, icmp_errors=True) as endpoint:
            await endpoint.send(b"after", dead)
            errors = await errors_of(endpoint, 2)

    assert [error.data for error in errors] == [b"before", b"after"]


async def test_endpoints_for_broadcast_and_groups_hear_of_errors() -> None:
    """Of what they send to one."""
    group, interfaces = "239.255.77.3", ["127.0.0.1"]
    options: Any = {"interfaces": interfaces, "icmp_errors": True}
    with refusing_address("127.0.0.1") as dead:
        async with (
            aioudp.open_broadcast(0, **options) as broadcasting,
            aioudp.open_multicast(group, 0, **options) as grouped,
        ):
            for endpoint in (broadcasting, grouped):
                await endpoint.send_to(b"anybody?", dead)
                async with asyncio.timeout(5):
                    error = await endpoint.recv_error()
                    await endpoint.send_to(b"again", dead)
                    again = await anext(endpoint.errors())

                assert (error.addr, error.data) == (dead, b"anybody?")
                assert (again.addr, again.data) == (dead, b"again")


def test_the_loop_transport_does_not_have_it() -> None:
    """It is refused at the call: the loop's transport would spin."""
    with pytest.raises(ValueError, match="icmp_errors needs the selector transport"):
        aioudp.bind(("127.0.0.1", 0), icmp_errors=True, transport="loop")


@unix_only
@pytest.mark.parametrize("option", ["icmp_errors", "dont_fragment"])
async def test_unix_sockets_do_not_have_it(tmp_path: Path, option: str) -> None:
    """There is no network that could report anything."""
    path = str(tmp_path / "socket")
    options: Any = {option: True}
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        for opening in (
            aioudp.bind(str(tmp_path / "other"), **options),
            aioudp.connect(path, **options),
            aioudp.adopt(sock, **options),
        ):
            with pytest.raises(ValueError, match=f"{option} isn't supported on UNIX"):
                await opening

    assert os.listdir(tmp_path) == ["socket"]
