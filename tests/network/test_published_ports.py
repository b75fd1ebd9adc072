"""What a container's network does to datagrams, and a firewall to those that come in.

The first router on the path is the machine that publishes a port of the far host, the
container: it rewrites the destination, and the source too if it masquerades.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from socket import AF_INET
from typing import Final

import pytest

import aioudp

from .links import FAR, NEAR, Link, Path
from .traffic import Sink

PUBLISHED: Final = 9999

_UDP_GRO: Final = 104  # include/uapi/linux/udp.h


@pytest.fixture
async def container(path: Path) -> AsyncIterator[aioudp.Endpoint]:
    """Open an endpoint in the container, and publish its port on the first router."""
    sock = path.far.socket(AF_INET, "0.0.0.0")
    async with aioudp.adopt(sock) as endpoint:
        to = f"203.0.113.2:{endpoint.local_addr[1]}"
        path.first.run(
            "nft",
            "add table ip nat;"
            "add chain ip nat pre { type nat hook prerouting priority dstnat; };"
            f"add rule ip nat pre udp dport {PUBLISHED} dnat to {to}",
        )
        yield endpoint


@pytest.fixture
async def client(path: Path) -> AsyncIterator[aioudp.Endpoint]:
    """Open an endpoint outside that is connected to the published port."""
    async with aioudp.connect((path.host(1, AF_INET), PUBLISHED)) as endpoint:
        yield endpoint


async def exchange(client: aioudp.Endpoint, container: aioudp.Endpoint) -> object:
    """Ask and answer; return the address that the container saw."""
    async with asyncio.timeout(10):
        await client.send(b"question")
        question, addr = await container.recv()
        await container.send(b"answer to " + question, addr)
        assert (await client.recv()).data == b"answer to question"
    return addr


async def test_a_published_port_keeps_the_source(
    client: aioudp.Endpoint, container: aioudp.Endpoint
) -> None:
    """Only the destination is rewritten, and in the answer the source."""
    assert await exchange(client, container) == client.local_addr


async def test_masquerading_hides_the_source(
    path: Path, client: aioudp.Endpoint, container: aioudp.Endpoint
) -> None:
    """The container sees the machine's address; the answer still finds its way."""
    path.first.run(
        "nft",
        "add chain ip nat post { type nat hook postrouting priority srcnat; };"
        "add rule ip nat post ip daddr 203.0.113.2 masquerade",
    )

    seen = await exchange(client, container)

    assert isinstance(seen, tuple)
    assert seen[0] == "198.51.100.1"  # of the first router, on the container's side


async def test_trains_cross_veth_devices_whole(
    path: Path, client: aioudp.Endpoint, container: aioudp.Endpoint
) -> None:
    """They aren't cut where a container begins, nor by rewriting addresses."""
    sock = path.far.socket(AF_INET, "0.0.0.0")
    sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    with sock:
        async with aioudp.connect(("203.0.113.2", sock.getsockname()[1])) as direct:
            await direct.send(bytes(6000), segment_size=1000)
            async with asyncio.timeout(10):
                loop = asyncio.get_running_loop()
                assert len(await loop.sock_recv(sock, 65535)) == 6000

    await client.send(bytes(6000), segment_size=1000)
    received = 0
    async with asyncio.timeout(10):
        while received < 6:
            received += len(batch := await container.recv_batch())
    assert batch.segment_size == 1000


async def test_a_firewall_lets_answers_in_but_none_to_a_broadcast(link: Link) -> None:
    """An answer to a broadcast doesn't come from the address that was asked."""
    link.near.run(
        "nft",
        "add table inet filter;"
        "add chain inet filter input"
        " { type filter hook input priority 0; policy drop; };"
        "add rule inet filter input ct state established,related accept",
    )
    with Sink(link.far, AF_INET) as device:
        async with aioudp.bind((NEAR[AF_INET], 0), broadcast=True) as endpoint:

            async def ask(host: str) -> None:
                await endpoint.send(b"question", (host, device.port))
                assert await device.recv() == b"question"
                device.send(b"answer", endpoint.local_addr)

            async with asyncio.timeout(10):
                await ask(FAR[AF_INET])
                assert (await endpoint.recv()).data == b"answer"

            async with aioudp.bind((NEAR[AF_INET], 0), broadcast=True) as other:
                await other.send(b"question", ("192.0.2.255", device.port))
                assert await device.recv() == b"question"
                device.send(b"answer", other.local_addr)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await other.recv()

                link.near.run(
                    "nft",
                    f"add rule inet filter input udp sport {device.port} accept",
                )
                device.send(b"answer", other.local_addr)
                async with asyncio.timeout(10):
                    assert (await other.recv()).data == b"answer"
