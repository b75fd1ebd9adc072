"""Errors that come back over the network, from the peer or from a router.

A connected socket keeps such an error and reports it on whatever call comes next,
often the next send, which is then not carried out (ip(7)). It says nothing of that
datagram: an endpoint's send goes out all the same, and recv raises the error.
"""

from __future__ import annotations

import asyncio
import errno
import select
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Final

import pytest

import aioudp

from ..conftest import Endpoints
from .links import DEVICE, ELSEWHERE, FAR, MTU, SILENT, Link
from .namespaces import Namespace
from .traffic import END, Sink, numbered

# A port of the far end where nobody listens: "discard", which only inetd serves.
_DEAF: Final = 9


@pytest.fixture
def router(link: Link, family: AddressFamily) -> Namespace:
    """Make the far end the way to elsewhere, which it prohibits."""
    version = "ipv4" if family == AF_INET else "ipv6"
    link.far.sysctl(f"net.{version}.conf.all.forwarding", "1")
    link.far.ip(f"route add prohibit {ELSEWHERE[family]}")
    link.near.ip(f"route add {ELSEWHERE[family]} via {FAR[family]}")
    return link.far


def wait_for_error(endpoint: aioudp.Endpoint) -> None:
    """Return when the socket has an error to report, without a turn of the loop."""
    assert select.select([endpoint.fileno()], [], [], 5)[0]


async def test_a_refusal_is_raised_by_recv_once(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """And the endpoint goes on receiving."""
    endpoint = await endpoints.connect((FAR[family], _DEAF))
    await endpoint.send(b"anybody?")

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()

    with Sink(link.far, family, _DEAF) as sink:
        sink.send(b"now", endpoint.local_addr)
        async with asyncio.timeout(5):
            assert (await endpoint.recv()).data == b"now"


async def test_a_refusal_does_not_stop_the_next_send(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """The datagram is not the one that was refused: it goes out."""
    endpoint = await endpoints.connect((FAR[family], _DEAF))
    await endpoint.send(b"anybody?")
    wait_for_error(endpoint)

    with Sink(link.far, family, _DEAF) as sink:
        await endpoint.send(END)
        assert await sink.recv() == END

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


async def test_an_unconnected_endpoint_hears_nothing(
    endpoints: Endpoints, router: Namespace, family: AddressFamily, sink: Sink
) -> None:
    """Neither of a refusal nor of a router; it serves its other peers."""
    endpoint = await endpoints.bind()
    for _ in range(3):
        await endpoint.send(b"lost", (FAR[family], _DEAF))
        await endpoint.send(b"lost", (ELSEWHERE[family], _DEAF))

    sink.send(b"question", endpoint.local_addr)
    async with asyncio.timeout(5):
        assert (await endpoint.recv()).data == b"question"

    assert endpoint.stats().sent == 6
    assert endpoint.stats().receive_errors == 0


# What a router's "administratively prohibited" becomes: icmp_err_convert in
# net/ipv4/icmp.c, icmpv6_err_convert() in net/ipv6/icmp.c.
PROHIBITED: Final = {AF_INET: errno.EHOSTUNREACH, AF_INET6: errno.EACCES}


async def test_what_a_router_says_is_raised_by_recv_once(
    endpoints: Endpoints, router: Namespace, family: AddressFamily
) -> None:
    """Not only the peer's own refusal arrives."""
    endpoint = await endpoints.connect((ELSEWHERE[family], _DEAF))
    await endpoint.send(b"anybody?")

    async with asyncio.timeout(5):
        with pytest.raises(OSError) as caught:
            await endpoint.recv()

    assert caught.value.errno == PROHIBITED[family]
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


@pytest.mark.parametrize("how", ["send", "send_many", "segments"])
async def test_what_a_router_said_does_not_stop_the_next_send(
    endpoints: Endpoints, router: Namespace, family: AddressFamily, how: str
) -> None:
    """It was about an earlier datagram: this one goes out, and recv raises."""
    with Sink(router, family) as sink:
        endpoint = await endpoints.connect((ELSEWHERE[family], sink.port))
        await endpoint.send(b"anybody?")
        wait_for_error(endpoint)
        router.ip(
            f"route del prohibit {ELSEWHERE[family]}",
            f"route add local {ELSEWHERE[family]} dev lo",
        )

        if how == "send":
            await endpoint.send(numbered(0))
        elif how == "send_many":
            await endpoint.send_many([(numbered(0), None)])
        else:
            await endpoint.send(numbered(0) + numbered(1), segment_size=1000)
        await endpoint.send(END)

        assert await sink.numbers_until_end() == ([0, 1] if how == "segments" else [0])
    async with asyncio.timeout(5):
        with pytest.raises(OSError) as caught:
            await endpoint.recv()
    assert caught.value.errno == PROHIBITED[family]


@pytest.mark.parametrize("family", [AF_INET], ids=["ipv4"])
async def test_a_smaller_mtu_on_the_way_does_not_stop_the_next_send(
    endpoints: Endpoints, link: Link, router: Namespace, family: AddressFamily
) -> None:
    """The router asks for smaller pieces; that is no error of a small datagram.

    A connected IPv4 socket discovers the path MTU unless that's disabled,
    and so hears of it (IP_MTU_DISCOVER in ip(7)). From then on the kernel sends what
    is too long for the way in fragments.
    """
    onward = f"via {SILENT[family]} dev {DEVICE} mtu lock 1280"
    router.ip(
        f"route del prohibit {ELSEWHERE[family]}",
        f"route add {ELSEWHERE[family]} {onward}",
    )
    endpoint = await endpoints.connect((ELSEWHERE[family], _DEAF))
    await endpoint.send(bytes(MTU - 100))
    wait_for_error(endpoint)

    await endpoint.send(b"small")
    await endpoint.send(bytes(MTU - 100))

    assert endpoint.stats().sent == 3
    async with asyncio.timeout(5):
        with pytest.raises(OSError) as caught:
            await endpoint.recv()
    assert caught.value.errno == errno.EMSGSIZE
