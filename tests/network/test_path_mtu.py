"""The path MTU: what is too long for the way, and how an endpoint learns of it."""

from __future__ import annotations

import asyncio
import errno
from socket import AddressFamily
from typing import Any, Final

import pytest

import aioudp

from ..conftest import Endpoints
from .links import ELSEWHERE, FAR, HEADERS, MTU, Link, Path
from .traffic import Sink

_SMALL: Final = 1280  # bytes: what every IPv6 link carries, at least (RFC 8200)
_DEAF: Final = 9


async def test_a_datagram_that_fits_the_link_is_sent(
    endpoints: Endpoints, sink: Sink, family: AddressFamily
) -> None:
    """One byte more is EMSGSIZE, and the message says what would fit (B180)."""
    longest = MTU - HEADERS[family]
    endpoint = await endpoints.bind(dont_fragment=True)
    addr = FAR[family], sink.port

    await endpoint.send(bytes(longest), addr)
    with pytest.raises(OSError, match=f"the path MTU is {MTU} bytes") as caught:
        await endpoint.send(bytes(longest + 1), addr)

    assert caught.value.errno == errno.EMSGSIZE
    assert len(await sink.recv()) == longest
    assert endpoint.mtu(addr) == MTU


async def test_each_segment_has_to_fit(
    endpoints: Endpoints, sink: Sink, family: AddressFamily
) -> None:
    """A train of such datagrams goes out; one of longer ones is refused whole."""
    longest = MTU - HEADERS[family]
    endpoint = await endpoints.connect((FAR[family], sink.port), dont_fragment=True)

    await endpoint.send(bytes(3 * longest), segment_size=longest)
    with pytest.raises(OSError, match=f"the path MTU is {MTU} bytes"):
        await endpoint.send(bytes(3 * longest), segment_size=longest + 1)

    assert [len(await sink.recv()) for _ in range(3)] == [longest] * 3
    assert endpoint.stats().sent == 3


async def test_without_the_option_it_is_cut_into_fragments(
    endpoints: Endpoints, sink: Sink, family: AddressFamily
) -> None:
    """And arrives in one piece all the same (B180)."""
    endpoint = await endpoints.bind()

    await endpoint.send(bytes(9000), (FAR[family], sink.port))

    assert len(await sink.recv()) == 9000


@pytest.mark.parametrize("host", ["::"])
async def test_both_ip_versions_of_one_endpoint(
    endpoints: Endpoints, sink: Sink, family: AddressFamily
) -> None:
    """The option is about each (B180)."""
    endpoint = await endpoints.bind(dont_fragment=True)
    longest = MTU - HEADERS[family]

    await endpoint.send(bytes(longest), (FAR[family], sink.port))
    with pytest.raises(OSError, match=f"the path MTU is {MTU} bytes"):
        await endpoint.send(bytes(longest + 1), (FAR[family], sink.port))

    assert len(await sink.recv()) == longest
    assert endpoint.mtu((FAR[family], sink.port)) == MTU


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("dual", [False, True])
async def test_a_router_reports_a_smaller_mtu(
    path: Path, family: AddressFamily, connected: bool, dual: bool
) -> None:
    """The first datagram is lost; the next is refused at once, and one that fits
    arrives (B135).
    """
    path.set_mtu(_SMALL)
    options: Any = {"dont_fragment": True, "icmp_errors": True}
    if not dual:
        options["family"] = family
    with Sink(path.far, family) as sink:
        peer = path.host(3, family), sink.port
        to = None if connected else peer
        opening = (
            aioudp.connect(peer, local_addr=("", 0), **options)
            if connected
            else aioudp.bind(**options)
        )
        async with opening as endpoint, asyncio.timeout(10):
            assert endpoint.mtu(to) == MTU
            await endpoint.send(bytes(MTU - HEADERS[family]), to)

            error = await endpoint.recv_error()

            assert (error.mtu, error.offender) == (_SMALL, path.host(1, family))
            assert (error.error.errno, error.addr[:2]) == (errno.EMSGSIZE, peer)
            assert endpoint.mtu(to) == _SMALL
            with pytest.raises(OSError, match=f"the path MTU is {_SMALL}") as caught:
                await endpoint.send(bytes(_SMALL - HEADERS[family] + 1), to)
            assert caught.value.errno == errno.EMSGSIZE
            await endpoint.send(bytes(_SMALL - HEADERS[family]), to)
            assert len(await sink.recv()) == _SMALL - HEADERS[family]
            assert endpoint.stats().receive_errors == 1


async def test_the_mtu_of_no_way_at_all(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """It is the system's error, and names the address; nothing is sent."""
    endpoint = await endpoints.bind()

    with pytest.raises(OSError, match=f"the route to .*{ELSEWHERE[family]}") as caught:
        endpoint.mtu((ELSEWHERE[family], _DEAF))

    assert caught.value.errno == errno.ENETUNREACH
    assert endpoint.stats().sent == 0


async def test_the_mtu_of_a_route(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """It may be smaller than that of the link; a connected endpoint hears of a change.

    Also when its route was gone in between.
    """
    elsewhere = ELSEWHERE[family]
    link.near.ip(f"route add {elsewhere} via {FAR[family]} mtu lock 1300")
    bound = await endpoints.bind()
    connected = await endpoints.connect((elsewhere, _DEAF))
    before = bound.mtu((elsewhere, _DEAF)), connected.mtu()

    link.near.ip(
        f"route del {elsewhere}",
        f"route add {elsewhere} via {FAR[family]} mtu lock 1400",
    )
    await connected.send(b"payload")

    assert before == (1300, 1300)
    assert (bound.mtu((elsewhere, _DEAF)), connected.mtu()) == (1400, 1400)


@pytest.mark.parametrize("host", ["::"])
async def test_the_mtu_of_a_link_local_peer(endpoints: Endpoints, link: Link) -> None:
    """The address names the interface."""
    endpoint = await endpoints.bind()
    index = link.near.index("veth0")

    assert endpoint.mtu(("fe80::2", _DEAF, 0, index)) == MTU
