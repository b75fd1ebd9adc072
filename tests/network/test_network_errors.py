"""What routers say of datagrams, to an endpoint with ``icmp_errors=True``."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import AsyncIterator
from socket import AF_INET, AddressFamily
from typing import Any, Final

import pytest

import aioudp

from .links import ELSEWHERE, FAR, NEAR, Link, Path, SilentHost
from .traffic import Sink, numbered

_DEAF: Final = 9  # a port where nobody listens
_ERROR_BURST: Final = 5  # what a router sends at once: net.ipv4.route.error_burst


async def error_of(endpoint: aioudp.Endpoint) -> aioudp.NetworkError:
    async with asyncio.timeout(10):
        return await endpoint.recv_error()


def wait_for_error(endpoint: aioudp.Endpoint) -> None:
    """Return when the socket has an error to report, without a turn of the loop."""
    linux: Any = select  # Windows has no poll, and no network namespaces either
    poll = linux.poll()
    poll.register(endpoint.fileno(), 0)  # errors are reported whatever is asked for
    assert poll.poll(5000)


@pytest.fixture
async def endpoint(path: Path, family: AddressFamily) -> AsyncIterator[aioudp.Endpoint]:
    """Return an endpoint at the near end of the path, of one family."""
    async with aioudp.bind(family=family, icmp_errors=True) as endpoint:
        yield endpoint


# Type and code, and what becomes of them: RFC 792 and icmp_err_convert in
# net/ipv4/icmp.c, RFC 4443 and tab_unreach in net/ipv6/icmp.c.
REFUSALS: Final[dict[tuple[str, AddressFamily], tuple[int, int, int]]] = {
    ("prohibit", socket.AF_INET): (3, 13, errno.EHOSTUNREACH),
    ("prohibit", socket.AF_INET6): (1, 1, errno.EACCES),
    ("unreachable", socket.AF_INET): (3, 1, errno.EHOSTUNREACH),
    ("unreachable", socket.AF_INET6): (1, 0, errno.ENETUNREACH),
}


@pytest.mark.parametrize("kind", ["prohibit", "unreachable"])
async def test_a_router_says_who_cannot_be_reached(
    endpoint: aioudp.Endpoint, path: Path, family: AddressFamily, kind: str
) -> None:
    """And the error names the router, and where the datagram was going."""
    elsewhere = ELSEWHERE[family]
    if family == AF_INET:
        elsewhere = "198.18.0.1"  # RFC 2544; the documentation's networks are in use
    path.near.ip(f"route add {elsewhere} via {path.host(1, family)}")
    path.first.ip(f"route add {kind} {elsewhere}")

    await endpoint.send(b"anybody?", (elsewhere, _DEAF))
    await endpoint.send(b"sent", (path.host(3, family), _DEAF))
    error = await error_of(endpoint)

    found = error.icmp_type, error.icmp_code, error.error.errno
    assert found == REFUSALS[kind, family]
    assert error.addr[:2] == (elsewhere, _DEAF)
    assert (error.offender, error.mtu) == (path.host(1, family), None)
    assert error.data == b"anybody?"
    refusal = await error_of(endpoint)
    assert (refusal.data, refusal.offender) == (b"sent", path.host(3, family))


# "Time exceeded": RFC 792, RFC 4443.
_HOPS_USED_UP: Final = {socket.AF_INET: 11, socket.AF_INET6: 3}


async def test_a_hop_limit_shows_each_router(
    endpoint: aioudp.Endpoint, path: Path, family: AddressFamily
) -> None:
    """As traceroute does: who throws the datagram away, and at last the peer."""
    offenders = []
    for hops in (1, 2, 3):
        far = path.host(3, family), _DEAF
        await endpoint.send(b"%d" % hops, far, hop_limit=hops)
        error = await error_of(endpoint)
        offenders.append(error.offender)
        assert error.data == b"%d" % hops
        refused = isinstance(error.error, ConnectionRefusedError)
        assert (error.icmp_type, refused) == (_HOPS_USED_UP[family], False) or hops == 3
    assert refused

    assert offenders == [path.host(index, family) for index in (1, 2, 3)]


async def test_a_neighbour_that_does_not_answer(
    link: Link, silent: SilentHost, family: AddressFamily
) -> None:
    """Our own host says so, once it has given up."""
    link.set_patience(family, 20)
    async with aioudp.bind((NEAR[family], 0), icmp_errors=True) as endpoint:
        await endpoint.send(b"anybody?", (silent.host, _DEAF))

        error = await error_of(endpoint)

    assert error.error.errno == errno.EHOSTUNREACH
    assert error.addr[:2] == (silent.host, _DEAF)
    assert error.offender == NEAR[family]


async def test_an_unreachable_host_does_not_disturb_a_reachable_one(
    endpoint: aioudp.Endpoint, path: Path, family: AddressFamily
) -> None:
    """The same error again and again is not taken for the datagram's own."""
    far, nowhere = path.host(3, family), path.host(2, family)
    path.first.ip(f"route add prohibit {nowhere}")
    with Sink(path.far, family) as sink:
        for number in range(100):
            await endpoint.send(b"lost", (nowhere, _DEAF))
            await endpoint.send(numbered(number), (far, sink.port))

        for number in range(100):
            assert await sink.recv() == numbered(number)
    for _ in range(_ERROR_BURST):
        assert (await error_of(endpoint)).addr[:2] == (nowhere, _DEAF)
    assert endpoint.stats().send_errors == 0


@pytest.mark.parametrize("number", ["EHOSTUNREACH", "EACCES"])
async def test_a_route_of_our_own_is_raised_by_the_send(
    endpoint: aioudp.Endpoint, path: Path, family: AddressFamily, number: str
) -> None:
    """The same number as from routers, but for this datagram: reported once."""
    kind = {"EHOSTUNREACH": "unreachable", "EACCES": "prohibit"}[number]
    elsewhere = "2001:db8:e::1" if family != AF_INET else "198.18.0.1"
    path.near.ip(f"route add {kind} {elsewhere}")
    await endpoint.send(b"lost", (path.host(3, family), _DEAF))
    wait_for_error(endpoint)

    for _ in range(3):
        with pytest.raises(OSError, match="sending 4 bytes") as caught:
            await endpoint.send(b"lost", (elsewhere, _DEAF))
        assert caught.value.errno == getattr(errno, number)

    assert (await error_of(endpoint)).addr[0] == path.host(3, family)
    assert endpoint.stats().receive_errors == 1
    assert endpoint.stats().send_errors == 3


async def test_a_full_device_queue_is_raised_by_the_send(
    link: Link, family: AddressFamily
) -> None:
    """This datagram was dropped; only the option reports it."""
    link.near.run(
        *("tc", "qdisc", "replace", "dev", "veth0", "root", "tbf"),
        *("rate", "80kbit", "burst", "2000", "limit", "3000"),
    )
    addr: Any = (FAR[family], _DEAF)
    caught = []
    async with aioudp.bind((NEAR[family], 0), icmp_errors=True) as endpoint:
        for number in range(20):
            try:
                await endpoint.send(numbered(number), addr)
            except OSError as exc:
                caught.append(exc.errno)

        assert set(caught) == {errno.ENOBUFS}
        assert endpoint.stats().send_errors == len(caught)
