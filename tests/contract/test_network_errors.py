"""``icmp_errors``: what an error says, who waits for it, and whom it leaves alone.

What routers say is in ``network/test_network_errors.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

import aioudp
from aioudp._transports.watcher import EpollWatcher

from .support import (
    descriptors,
    needs_ipv6,
    outcome,
    plain_socket,
    read,
    refusing_address,
    turns,
    turns_until,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: no other system has the queue"
)

ROUNDS: Final = 100


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


# -- the contents of an error


async def test_an_error_describes_its_datagram(
    hearing: aioudp.Endpoint, dead: Any, host: str
) -> None:
    """Where it was going, why it failed, who says so, and what was in it (B134)."""
    await hearing.send(b"anybody?", dead)

    (error,) = await errors_of(hearing, 1)

    assert error.addr == dead
    assert isinstance(error.error, ConnectionRefusedError)
    assert error.error.errno == errno.ECONNREFUSED
    assert error.error.strerror == os.strerror(errno.ECONNREFUSED)
    assert error.offender == host
    assert error.mtu is None
    # "Port unreachable": RFC 792, RFC 4443.
    assert (error.icmp_type, error.icmp_code) == ((1, 4) if ":" in host else (3, 3))
    assert error.data == b"anybody?"


@needs_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_ip_versions_are_heard_on_one_endpoint(
    dead: Any, live: socket.socket
) -> None:
    """IPv4 is written as IPv4, and each error is about the peer that it names."""
    async with aioudp.bind(icmp_errors=True) as endpoint:
        for number in range(ROUNDS):
            await endpoint.send(b"dead %d" % number, dead)
            await endpoint.send(b"live %d" % number, live.getsockname())

        errors = await errors_of(endpoint, ROUNDS)

    assert read(live, ROUNDS) == [b"live %d" % number for number in range(ROUNDS)]
    assert {(error.addr, error.offender) for error in errors} == {(dead, dead[0])}
    assert [error.data for error in errors] == [
        b"dead %d" % number for number in range(ROUNDS)
    ]


# -- whom an error does not disturb


def send_one(
    endpoint: aioudp.Endpoint, data: bytes, addr: Any
) -> asyncio.Future[None] | Any:
    return endpoint.send(data, addr)


def send_several(endpoint: aioudp.Endpoint, data: bytes, addr: Any) -> Any:
    return endpoint.send_many([(data, addr)])


def send_train(endpoint: aioudp.Endpoint, data: bytes, addr: Any) -> Any:
    return endpoint.send(data, addr, segment_size=4)


async def send_and_forget(endpoint: aioudp.Endpoint, data: bytes, addr: Any) -> None:
    endpoint.transport.sendto(data, addr)


EVERY_SEND = pytest.mark.parametrize(
    "send", [send_one, send_several, send_train, send_and_forget]
)


@EVERY_SEND
async def test_a_dead_peer_does_not_disturb_a_live_one(
    hearing: aioudp.Endpoint, dead: Any, live: socket.socket, send: Callable[..., Any]
) -> None:
    """Every datagram to the one arrives; every error names the other."""
    for number in range(ROUNDS):
        await send(hearing, b"%04d" % number, dead)
        await send(hearing, b"%04d" % number, live.getsockname())

    errors = await errors_of(hearing, ROUNDS)

    assert read(live, ROUNDS) == [b"%04d" % number for number in range(ROUNDS)]
    assert [error.addr for error in errors] == [dead] * ROUNDS
    assert [error.data for error in errors] == [b"%04d" % n for n in range(ROUNDS)]
    stats = hearing.stats()
    assert (stats.sent, stats.send_errors) == (2 * ROUNDS, 0)
    assert (stats.receive_errors, stats.dropped_errors) == (ROUNDS, 0)


@pytest.mark.parametrize("way", ["recv", "recv_many", "recv_nowait"])
async def test_an_error_does_not_disturb_receiving(
    hearing: aioudp.Endpoint, dead: Any, live: socket.socket, way: str
) -> None:
    """What has arrived is received at once, with an error pending before it."""
    for _ in range(3):
        live.sendto(b"question", hearing.local_addr)
        hearing.transport.try_send(b"lost", dead)

        received = getattr(hearing, way)()
        if way != "recv_nowait":
            received = await received

        first = received[0] if way == "recv_many" else received
        assert first == (b"question", live.getsockname())
    await errors_of(hearing, 3)


async def test_a_connected_endpoint_reports_instead_of_raising(
    endpoints: Endpoints, dead: Any, until_blocked: UntilBlocked
) -> None:
    """One of both, not both: recv goes on waiting for a datagram (B142)."""
    endpoint = await endpoints.connect(dead, icmp_errors=True)
    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)

    for number in range(ROUNDS):
        await endpoint.send(b"%04d" % number)
    errors = await errors_of(endpoint, ROUNDS)

    assert [(error.addr, error.data) for error in errors] == [
        (dead, b"%04d" % number) for number in range(ROUNDS)
    ]
    await until_blocked(receiving)
    assert not receiving.done()
    receiving.cancel()


async def test_an_error_of_the_datagram_itself_is_raised_by_its_send(
    hearing: aioudp.Endpoint, dead: Any, live: socket.socket
) -> None:
    """It's reported once; other errors don't hide it."""
    await hearing.send(b"lost", dead)

    with pytest.raises(OSError, match="sending 70000 bytes") as caught:
        await hearing.send(bytes(70_000), live.getsockname())
    await hearing.send(b"sent", live.getsockname())

    assert caught.value.errno == errno.EMSGSIZE
    assert read(live) == [b"sent"]
    assert [error.data for error in await errors_of(hearing, 1)] == [b"lost"]
    await turns(10)
    assert hearing.stats().receive_errors == 1


async def test_without_the_option_nothing_is_kept(
    endpoints: Endpoints, dead: Any, live: socket.socket
) -> None:
    """Asking for errors says how to get them."""
    endpoint = await endpoints.bind()

    with pytest.raises(ValueError, match="icmp_errors=True"):
        await endpoint.recv_error()
    with pytest.raises(ValueError, match="icmp_errors=True"):
        endpoint.errors()
    await endpoint.send(b"lost", dead)
    live.sendto(b"payload", endpoint.local_addr)
    assert (await endpoint.recv()).data == b"payload"
    assert endpoint.stats().receive_errors == 0


# -- waiting


async def test_tasks_are_served_first_come_first_served(
    hearing: aioudp.Endpoint, dead: Any, until_blocked: UntilBlocked
) -> None:
    """As those that wait for datagrams."""
    waiting = []
    for _ in range(3):
        waiting.append(asyncio.create_task(hearing.recv_error()))
        await until_blocked(waiting[-1])

    for number in range(3):
        await hearing.send(b"%d" % number, dead)

    async with asyncio.timeout(5):
        errors = await asyncio.gather(*waiting)
    assert [error.data for error in errors] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("pause", range(6))
async def test_cancelling_loses_nothing(
    hearing: aioudp.Endpoint, dead: Any, until_blocked: UntilBlocked, pause: int
) -> None:
    """Wherever an error is on its way to the task when that is cancelled."""
    first = asyncio.create_task(hearing.recv_error())
    second = asyncio.create_task(hearing.recv_error())
    await until_blocked(first, second)

    await hearing.send(b"0", dead)
    await hearing.send(b"1", dead)
    await turns(pause)
    first.cancel()

    errors = [await outcome(first), await outcome(second)]
    data = [error.data for error in errors if isinstance(error, aioudp.NetworkError)]
    missing = {b"0", b"1"} - set(data)
    data += [error.data for error in await errors_of(hearing, len(missing))]
    assert data == [b"0", b"1"]


async def test_iterating_over_errors_ends_at_close(
    hearing: aioudp.Endpoint, dead: Any
) -> None:
    """And not before."""
    errors = []
    for number in range(3):
        await hearing.send(b"%d" % number, dead)

    async with asyncio.timeout(5):
        async for error in hearing.errors():
            errors.append(error.data)
            if len(errors) == 3:
                hearing.close()

    assert errors == [b"0", b"1", b"2"]


async def test_closing_wakes_every_task(
    hearing: aioudp.Endpoint, until_blocked: UntilBlocked
) -> None:
    """Those that wait, and those that come later, get EndpointClosedError."""
    waiting = [asyncio.create_task(hearing.recv_error()) for _ in range(3)]
    await until_blocked(*waiting)

    hearing.close()

    for task in waiting:
        with pytest.raises(aioudp.EndpointClosedError):
            await task
    with pytest.raises(aioudp.EndpointClosedError):
        await hearing.recv_error()


async def test_closing_discards_what_nobody_took(
    hearing: aioudp.Endpoint, dead: Any
) -> None:
    """As it does with datagrams; the counts stay."""
    await hearing.send(b"lost", dead)
    await heard(hearing, 1)

    hearing.close()

    with pytest.raises(aioudp.EndpointClosedError):
        await hearing.recv_error()
    assert hearing.stats().receive_errors == 1


async def test_opening_and_closing_leaves_no_descriptor(
    endpoints: Endpoints, dead: Any
) -> None:
    """Nor does an error that is pending at close."""
    await endpoints.bind()  # what the loop opens for itself is open now
    before = descriptors()
    for _ in range(3):
        async with aioudp.bind((dead[0], 0), icmp_errors=True) as endpoint:
            await endpoint.send(b"lost", dead)

    assert descriptors() == before


async def test_a_socket_that_was_closed_behind_its_back(
    endpoints: Endpoints, dead: Any
) -> None:
    """The endpoint can still be closed, and nothing is left of it."""
    before = descriptors()
    endpoint = await endpoints.bind(icmp_errors=True)
    await endpoint.send(b"lost", dead)

    endpoint.get_extra_info("socket").close()
    endpoint.close()

    assert descriptors() == before


# -- bounds


class Counting(asyncio.DatagramProtocol):
    """Counts the errors that it is told of."""

    def __init__(self) -> None:
        self.count = 0

    def network_error_received(self, error: aioudp.NetworkError) -> None:
        self.count += 1


async def test_errors_do_not_pile_up_within_an_iteration(
    endpoints: Endpoints, dead: Any
) -> None:
    """Who sends without end hears of the newest; the others are counted as dropped."""
    endpoint = await endpoints.bind(icmp_errors=True)
    protocol = Counting()
    endpoint.transport.set_protocol(protocol)

    for _ in range(3000):
        with contextlib.suppress(BlockingIOError):
            endpoint.transport.try_send(b"x", dead)
    await turns(5)

    stats = endpoint.transport.stats()
    assert 0 < protocol.count <= 1100
    assert protocol.count + stats.dropped_errors == stats.receive_errors > 1100


async def test_the_newest_errors_are_kept(endpoints: Endpoints, dead: Any) -> None:
    """As many as the queue holds; the others are counted."""
    endpoint = await endpoints.bind(icmp_errors=True, queue_size=5)
    for number in range(12):
        await endpoint.send(b"%d" % number, dead)
    await heard(endpoint, 12)

    errors = await errors_of(endpoint, 5)

    assert [error.data for error in errors] == [b"%d" % n for n in range(7, 12)]
    assert endpoint.stats().receive_errors == 12
    assert endpoint.stats().dropped_errors == 7


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the time of each event of a socket that hears of errors."""
    seen: list[float] = []
    on_ready = EpollWatcher._on_ready

    def noted(self: EpollWatcher) -> None:
        seen.append(time.monotonic())
        on_ready(self)

    monkeypatch.setattr(EpollWatcher, "_on_ready", noted)
    return seen


async def fill(endpoint: aioudp.Endpoint, live: socket.socket) -> None:
    """Let the endpoint's queue get full, so that reading is paused."""
    for number in range(20):
        live.sendto(b"%d" % number, endpoint.local_addr)
    await turns_until(lambda: not endpoint.transport.is_reading())


@pytest.mark.parametrize("reading", [True, False])
async def test_an_error_does_not_keep_the_loop_awake(
    endpoints: Endpoints,
    dead: Any,
    live: socket.socket,
    events: list[float],
    reading: bool,
) -> None:
    """Also while reading is paused, and nobody asks for it (B137, B138)."""
    endpoint = await endpoints.bind(icmp_errors=True, queue_size=5)
    if not reading:
        await fill(endpoint, live)
    await endpoint.send(b"lost", dead)
    await heard(endpoint, 1)

    del events[:]
    used = time.process_time()
    await asyncio.sleep(1)  # the measurement
    used = time.process_time() - used

    assert len(events) <= 20
    assert used < 0.05


async def test_errors_are_heard_while_reading_is_paused(
    endpoints: Endpoints, dead: Any, live: socket.socket
) -> None:
    """They do not wait for the datagrams, and the datagrams are all there."""
    endpoint = await endpoints.bind(icmp_errors=True, queue_size=5)
    await fill(endpoint, live)

    await endpoint.send(b"lost", dead)

    assert [error.data for error in await errors_of(endpoint, 1)] == [b"lost"]
    async with asyncio.timeout(5):
        data = [(await endpoint.recv()).data for _ in range(20)]
    assert data == [b"%d" % number for number in range(20)]
