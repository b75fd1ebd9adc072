"""What the routing table refuses: each error on the send that met it, and no other."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Final

import pytest

import aioudp

from ..conftest import Endpoints
from .links import DEVICE, ELSEWHERE, FAR, NEAR, SILENT, Link
from .traffic import END, Sink, numbered

# What ip-route(8) calls them, and what the kernel answers (fib_props in
# net/ipv4/fib_semantics.c, ip6_rt_type_to_error() in net/ipv6/route.c).
ROUTES: Final = {
    "prohibit": errno.EACCES,
    "unreachable": errno.EHOSTUNREACH,
    "blackhole": errno.EINVAL,
    "none": errno.ENETUNREACH,
}

_PREFIX_LENGTH: Final = {AF_INET: 32, AF_INET6: 128}

SetRoute = Callable[[str], None]
IsAlive = Callable[[aioudp.Endpoint], Awaitable[None]]


@pytest.fixture
def elsewhere(family: AddressFamily) -> aioudp.Address:
    """Return an address that is not on the link."""
    return ELSEWHERE[family], 9


@pytest.fixture
def set_route(link: Link, family: AddressFamily) -> SetRoute:
    """Set the kind of route that leads elsewhere."""
    to = f"{ELSEWHERE[family]}/{_PREFIX_LENGTH[family]}"

    def set_route(kind: str) -> None:
        if kind != "none":
            link.near.ip(f"route replace {kind} {to}")

    return set_route


@pytest.fixture
def is_alive(sink: Sink, family: AddressFamily) -> IsAlive:
    """Return a check that an endpoint still sends and still receives."""

    async def is_alive(endpoint: aioudp.Endpoint) -> None:
        await endpoint.send(END, (FAR[family], sink.port))
        assert await sink.recv() == END
        sink.send(b"back", endpoint.local_addr)
        async with asyncio.timeout(5):
            assert (await endpoint.recv()).data == b"back"

    return is_alive


@pytest.mark.parametrize(("kind", "number"), ROUTES.items(), ids=ROUTES)
async def test_send_raises_the_error_of_the_route(
    endpoints: Endpoints,
    elsewhere: aioudp.Address,
    set_route: SetRoute,
    is_alive: IsAlive,
    kind: str,
    number: int,
) -> None:
    """The message names the destination; the endpoint goes on working."""
    set_route(kind)
    endpoint = await endpoints.bind()

    with pytest.raises(OSError, match="sending 1000 bytes to") as caught:
        await endpoint.send(numbered(0), elsewhere)

    assert caught.value.errno == number
    assert repr(elsewhere[0]) in str(caught.value)
    assert (endpoint.stats().sent, endpoint.stats().send_errors) == (0, 1)
    await is_alive(endpoint)


@pytest.mark.parametrize(("kind", "number"), ROUTES.items(), ids=ROUTES)
async def test_send_many_reports_what_the_route_refused(
    endpoints: Endpoints,
    elsewhere: aioudp.Address,
    set_route: SetRoute,
    sink: Sink,
    family: AddressFamily,
    kind: str,
    number: int,
) -> None:
    """By index; all the others go out, in order."""
    set_route(kind)
    endpoint = await endpoints.bind()
    near = FAR[family], sink.port
    datagrams = [
        (numbered(index, 500), elsewhere if index in (2, 3, 7) else near)
        for index in range(10)
    ]

    with pytest.raises(aioudp.SendManyError) as caught:
        await endpoint.send_many(datagrams)

    errors = caught.value.errors
    assert {index: error.errno for index, error in errors.items()} == dict.fromkeys(
        (2, 3, 7), number
    )
    assert all(repr(elsewhere[0]) in str(error) for error in errors.values())
    await endpoint.send(END, near)
    assert await sink.numbers_until_end() == [0, 1, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(("kind", "number"), ROUTES.items(), ids=ROUTES)
async def test_segments_raise_the_error_of_the_route(
    endpoints: Endpoints,
    elsewhere: aioudp.Address,
    set_route: SetRoute,
    is_alive: IsAlive,
    kind: str,
    number: int,
) -> None:
    """Though EINVAL could also mean that the kernel has no segmentation offload."""
    set_route(kind)
    endpoint = await endpoints.bind()

    with pytest.raises(OSError, match=f"to .*{elsewhere[0]}") as caught:
        await endpoint.send(bytes(2500), elsewhere, segment_size=1000)

    assert caught.value.errno == number
    assert endpoint.stats().sent == 0
    await is_alive(endpoint)


@pytest.mark.parametrize(("kind", "number"), ROUTES.items(), ids=ROUTES)
async def test_connect_raises_the_error_of_the_route(
    endpoints: Endpoints,
    elsewhere: aioudp.Address,
    set_route: SetRoute,
    kind: str,
    number: int,
) -> None:
    """Nothing is left open, and the message names the peer."""
    set_route(kind)

    with pytest.raises(OSError, match=f"connecting to .*{elsewhere[0]}") as caught:
        await endpoints.connect(elsewhere)

    assert caught.value.errno == number


async def test_a_connected_send_raises_the_error_of_the_route(
    endpoints: Endpoints, elsewhere: aioudp.Address, link: Link, set_route: SetRoute
) -> None:
    """A route may turn bad after the connect, and good again."""
    link.near.ip(f"route add {elsewhere[0]} dev {DEVICE}")
    endpoint = await endpoints.connect(elsewhere)
    set_route("prohibit")

    with pytest.raises(PermissionError, match=f"to .*{elsewhere[0]}"):
        await endpoint.send(b"refused")

    link.near.ip(f"route replace {elsewhere[0]} dev {DEVICE}")
    await endpoint.send(b"sent")
    assert endpoint.stats().sent == 1


async def test_the_local_address_goes_and_comes_back(
    endpoints: Endpoints, link: Link, is_alive: IsAlive, family: AddressFamily
) -> None:
    """As on a laptop that changes networks: the endpoint outlives it."""
    endpoint = await endpoints.bind()
    link.near.ip(f"address flush dev {DEVICE} to {NEAR[family]}")

    with pytest.raises(OSError, match=f"to .*{FAR[family]}"):
        await endpoint.send(b"lost", (FAR[family], 9))

    link.add_address(link.near, NEAR[family])
    await is_alive(endpoint)


@pytest.mark.parametrize("where", ["no route", "no neighbour"])
async def test_sends_to_nowhere_never_stall_the_loop(
    endpoints: Endpoints,
    elsewhere: aioudp.Address,
    link: Link,
    family: AddressFamily,
    where: str,
) -> None:
    """A thousand of them, with a task beside them that wants its turn."""
    nowhere = elsewhere if where == "no route" else (SILENT[family], 9)
    endpoint = await endpoints.bind()
    ticking = asyncio.create_task(_longest_pause())
    await asyncio.sleep(0)

    errors = 0
    async with asyncio.timeout(10):
        for _ in range(1000):
            try:
                await endpoint.send(bytes(100), nowhere)
            except OSError:
                errors += 1

    assert errors == (1000 if where == "no route" else 0)
    ticking.cancel()
    assert await ticking < 0.25


async def _longest_pause() -> float:
    """Return, when cancelled, the longest time, in seconds, without a turn."""
    loop = asyncio.get_running_loop()
    longest, before = 0.0, loop.time()
    try:
        while True:
            await asyncio.sleep(0.001)
            now = loop.time()
            longest, before = max(longest, now - before), now
    except asyncio.CancelledError:
        return max(longest, loop.time() - before)
