"""asyncudp, asyncio-dgram and anyio: other awaitable layers, on our transport."""

from __future__ import annotations

import socket

import pytest

from .conftest import Run

COUNT = 50


@pytest.mark.peer("asyncudp")
def test_asyncudp_exchanges(run: Run) -> None:
    """What an asyncudp socket sends comes back from another, in order."""
    asyncudp = pytest.importorskip("asyncudp", reason="cannot: asyncudp: not installed")

    async def main() -> list[bytes]:
        server = await asyncudp.create_socket(local_addr=("127.0.0.1", 0))
        client = await asyncudp.create_socket(remote_addr=server.getsockname())
        for number in range(COUNT):
            client.sendto(b"%d" % number)
        for _ in range(COUNT):
            server.sendto(*await server.recvfrom())
        received = [(await client.recvfrom())[0] for _ in range(COUNT)]
        client.close()
        server.close()
        return received

    assert run(main(), transports=2) == [b"%d" % number for number in range(COUNT)]


@pytest.mark.peer("asyncio-dgram")
def test_asyncio_dgram_exchanges(run: Run) -> None:
    """What an asyncio-dgram stream sends comes back from another, in order."""
    dgram = pytest.importorskip(
        "asyncio_dgram", reason="cannot: asyncio-dgram: not installed"
    )

    async def main() -> list[bytes]:
        server = await dgram.bind(("127.0.0.1", 0))
        client = await dgram.connect(server.sockname)
        for number in range(COUNT):
            await client.send(b"%d" % number)
        for _ in range(COUNT):
            await server.send(*await server.recv())
        received = [(await client.recv())[0] for _ in range(COUNT)]
        client.close()
        server.close()
        return received

    assert run(main(), transports=2) == [b"%d" % number for number in range(COUNT)]


@pytest.mark.peer("asyncio-dgram")
def test_asyncio_dgram_takes_sockets(run: Run) -> None:
    """A socket of one's own, connected or not, makes a stream of either kind."""
    dgram = pytest.importorskip(
        "asyncio_dgram", reason="cannot: asyncio-dgram: not installed"
    )

    async def main() -> list[bytes]:
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        socks[1].connect(socks[0].getsockname())
        server, client = [await dgram.from_socket(sock) for sock in socks]
        for number in range(COUNT):
            await client.send(b"%d" % number)
        for _ in range(COUNT):
            await server.send(*await server.recv())
        received = [(await client.recv())[0] for _ in range(COUNT)]
        client.close()
        server.close()
        return received

    assert run(main(), transports=2) == [b"%d" % number for number in range(COUNT)]


@pytest.mark.peer("anyio")
def test_anyio_exchanges(run: Run) -> None:
    """What an anyio UDP socket sends comes back from another, in order."""
    anyio = pytest.importorskip("anyio", reason="cannot: anyio: not installed")

    async def main() -> list[bytes]:
        async with (
            await anyio.create_udp_socket(local_host="127.0.0.1") as server,
            await anyio.create_connected_udp_socket(
                "127.0.0.1", server.extra(anyio.abc.SocketAttribute.local_port)
            ) as client,
        ):
            for number in range(COUNT):
                await client.send(b"%d" % number)
            for _ in range(COUNT):
                await server.send(await server.receive())
            return [await client.receive() for _ in range(COUNT)]

    assert run(main(), transports=2) == [b"%d" % number for number in range(COUNT)]
