"""A firewall on this machine that lets something out, or not."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable
from socket import AddressFamily

import pytest

import aioudp

from ..conftest import Endpoints
from .links import FAR, Link
from .traffic import END, Sink, numbered

SetVerdict = Callable[[int, str], None]


@pytest.fixture
def set_verdict(link: Link) -> SetVerdict:
    """Set what happens to datagrams that leave for a port."""
    link.near.run(
        "nft",
        "add table inet aioudp;"
        "add chain inet aioudp output { type filter hook output priority 0; }",
    )

    def set_verdict(port: int, verdict: str) -> None:
        link.near.run("nft", f"add rule inet aioudp output udp dport {port} {verdict}")

    return set_verdict


@pytest.mark.parametrize("verdict", ["drop", "reject"])
async def test_send_raises_eperm(
    endpoints: Endpoints,
    sink: Sink,
    family: AddressFamily,
    set_verdict: SetVerdict,
    verdict: str,
) -> None:
    """For the port that is closed, and for no other."""
    set_verdict(9, verdict)
    endpoint = await endpoints.bind()
    where = re.escape(repr((FAR[family], 9))[:-1])

    for segment_size in None, 1000:
        with pytest.raises(PermissionError, match=where) as caught:
            await endpoint.send(
                bytes(2500), (FAR[family], 9), segment_size=segment_size
            )
        assert caught.value.errno == errno.EPERM

    await endpoint.send(END, (FAR[family], sink.port))
    assert await sink.recv() == END
    stats = endpoint.stats()
    assert (stats.sent, stats.send_errors, stats.receive_errors) == (1, 2, 0)


@pytest.mark.parametrize("verdict", ["drop", "reject"])
async def test_send_many_reports_eperm(
    endpoints: Endpoints,
    sink: Sink,
    family: AddressFamily,
    set_verdict: SetVerdict,
    verdict: str,
) -> None:
    """By index; all the others go out, in order."""
    set_verdict(9, verdict)
    endpoint = await endpoints.bind()
    ports = [sink.port, 9, sink.port, sink.port, 9, 9, sink.port]

    with pytest.raises(aioudp.SendManyError) as caught:
        await endpoint.send_many(
            (numbered(index), (FAR[family], port)) for index, port in enumerate(ports)
        )

    errors = {index: error.errno for index, error in caught.value.errors.items()}
    assert errors == dict.fromkeys((1, 4, 5), errno.EPERM)
    await endpoint.send(END, (FAR[family], sink.port))
    assert await sink.numbers_until_end() == [0, 2, 3, 6]


async def test_a_connected_endpoint_hears_of_a_rejection(
    endpoints: Endpoints, sink: Sink, family: AddressFamily, set_verdict: SetVerdict
) -> None:
    """The send raises EPERM; the ICMP message that comes with it is for recv, once."""
    endpoint = await endpoints.connect((FAR[family], sink.port))
    set_verdict(sink.port, "reject")

    with pytest.raises(PermissionError, match="sending 5 bytes to"):
        await endpoint.send(b"first")
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()

    sink.send(b"question", endpoint.local_addr)
    async with asyncio.timeout(5):
        assert (await endpoint.recv()).data == b"question"


async def test_a_connected_endpoint_outlives_a_firewall(
    endpoints: Endpoints,
    link: Link,
    sink: Sink,
    family: AddressFamily,
    set_verdict: SetVerdict,
) -> None:
    """Once the firewall is gone it sends as before."""
    endpoint = await endpoints.connect((FAR[family], sink.port))
    set_verdict(sink.port, "drop")
    for _ in range(3):
        with pytest.raises(PermissionError):
            await endpoint.send(b"lost")

    link.near.run("nft", "flush ruleset")
    await endpoint.send(END)

    assert await sink.recv_until_end() == []
