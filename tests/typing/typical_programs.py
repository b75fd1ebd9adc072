"""What typical programs do with addresses. Checked by type checkers, never run.

There is no cast, no assert and no ignore here, but for mistakes: a ``type: ignore``
fails if there is no error left to ignore, so each is a test that one is caught.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import assert_type

import aioudp


def endpoint_of_ten_years_ago(addr: tuple[str, int]) -> str:
    """A function that was annotated for asyncio's addresses."""
    return f"{addr[0]}:{addr[1]}"


def by_parts(host: str, port: int) -> str:
    return f"{host}:{port}"


@dataclass
class Player:
    addr: aioudp.IPAddress
    seen: float


async def twenty_lines(endpoint: aioudp.Endpoint) -> None:
    host, port = endpoint.local_addr
    host, port, *_ = endpoint.local_addr
    later: int = endpoint.local_addr[1] + 1
    text: str = endpoint.local_addr[0].upper()
    number: int = endpoint.port
    data, addr = await endpoint.recv()
    peers: dict[aioudp.IPAddress, Player] = {}
    peers[addr] = Player(addr, 1.0)
    old: dict[tuple[str, int], int] = {}
    old[addr] = old.get(addr, 0) + 1
    counted = Counter([addr])
    counted[addr] += 1
    for peer in sorted(peers):
        await endpoint.send(data, peer)
    by_parts(*addr[:2])
    by_parts(addr[0], addr[1])
    endpoint_of_ten_years_ago(addr)
    first = min(peers, key=lambda one: peers[one].seen)
    is_local: bool = ipaddress.ip_address(addr[0]).is_loopback
    others = [one for one in peers if one != addr]
    await endpoint.send_to_all(b"", others)
    await endpoint.send_to_all(b"", peers)
    await endpoint.send_many((data, one) for one in [*peers, first])
    await endpoint.send(*await endpoint.recv())
    waiting: deque[tuple[bytes, aioudp.IPAddress]] = deque()
    waiting.append(await endpoint.recv())
    waiting.extend(await endpoint.recv_many())
    pair: tuple[str, int] = (addr[0], 9999)
    await endpoint.send(data, pair)
    async with aioudp.connect(endpoint.local_addr) as client:
        assert_type(client, aioudp.Endpoint)
        by_parts("127.0.0.1", client.port)
    async with aioudp.connect((host, later)), aioudp.bind((text, number)):
        pass
    if len(addr) == 4:
        _, _, flowinfo, scope_id = addr
        await endpoint.send(b"", (host, port, flowinfo, scope_id))
    if is_local and addr not in {("127.0.0.1", 9), ("::1", 9, 0, 0)}:
        by_parts(host, port)


async def iterating(endpoint: aioudp.Endpoint) -> None:
    async for data, (host, port) in endpoint:
        assert_type(data, bytes)
        assert_type(host, str)
        assert_type(port, int)
    async for datagram in endpoint:
        assert_type(datagram.addr[0], str)
        assert_type(datagram.addr[1], int)
    for _, addr in await endpoint.recv_batch():
        assert_type(addr[1], int)
    assert_type((await endpoint.recv_batch()).sources[0][1], int)


async def messages(endpoint: aioudp.Endpoint) -> None:
    async for message in endpoint.messages():
        if message.local_addr is not None:
            by_parts(*message.local_addr[:2])
        if message.interface is not None:
            link = aioudp.interface(message.interface)
            assert_type(link.broadcast_addresses, tuple[str, ...])
        assert_type(message.to_group, bool | None)
        if message.to_group:
            continue
        await endpoint.reply(message, message.data)


async def in_other_places(
    broadcast: aioudp.BroadcastEndpoint,
    multicast: aioudp.MulticastEndpoint,
    endpoint: aioudp.Endpoint,
) -> None:
    assert_type(broadcast.port, int)
    assert_type(multicast.port, int)
    endpoint_of_ten_years_ago(broadcast.local_addr)
    for outcome in await multicast.send(b""):
        endpoint_of_ten_years_ago(outcome.addr)
    host, port = (await endpoint.recv_error()).addr
    by_parts(host, port)
    try:
        await endpoint.recv()
    except aioudp.TruncatedError as exc:
        endpoint_of_ten_years_ago(exc.addr)
    async with aioudp.open_client(("127.0.0.1", 53)) as client:
        answer = await client.request(b"?")
        endpoint_of_ten_years_ago(answer.addr)
        by_parts("", client.local_addrs[0][1])
    async with aioudp.open_client() as client:
        await client.request(b"?", await aioudp.resolve("localhost", 53))
    async for _, addr in aioudp.discover(b"?", 9, timeout=1):
        endpoint_of_ten_years_ago(addr)


async def servers() -> None:
    def shout(data: bytes, addr: tuple[str, int]) -> bytes:
        return data.upper()

    def accept(data: bytes, addr: tuple[str, int]) -> bool:
        return addr[1] > 1023

    async def plain(data: bytes, addr: aioudp.IPAddress) -> None:
        assert_type(addr[0], str)

    async with aioudp.serve(shout, ("", 0), accept=accept) as server:
        assert_type(server, aioudp.Server)
        assert_type(server.port, int)
        endpoint_of_ten_years_ago(server.local_addr)
    async with (
        aioudp.bind() as endpoint,
        aioudp.serve(plain, endpoint, accept=aioudp.RateLimit(10)) as server,
    ):
        by_parts(*server.local_addr[:2])


async def one_family() -> None:
    """Whoever wants to know more than an IPAddress says can declare it."""
    opening = aioudp.bind(family=socket.AF_INET)
    endpoint: aioudp.Endpoint[tuple[str, int]] = await opening
    by_parts(*endpoint.local_addr)
    six: aioudp.Endpoint[tuple[str, int, int, int]]
    six = await aioudp.bind(("fe80::1", 0, 0, 2))
    _, addr = await six.recv()
    assert_type(addr[3], int)
    await iterating(endpoint)
    await iterating(six)


async def unix(path: Path, sock: socket.socket) -> None:
    async with aioudp.bind(path) as server, aioudp.connect(str(path)) as client:
        assert_type(server, aioudp.Endpoint[aioudp.UnixAddress])
        assert_type(server.local_addr, str | bytes)
        async for data, addr in server:
            assert_type(addr, str | bytes)
            await server.send(data, addr)
        await client.send(b"")
    adopted: aioudp.Endpoint[aioudp.UnixAddress] = await aioudp.adopt(sock)
    assert_type((await adopted.recv()).addr, str | bytes)
    async with aioudp.serve(bytes, "/run/x", accept=lambda data, addr: bool(addr)) as s:
        assert_type(s.local_addr, str | bytes)


async def either(
    addr: aioudp.Address, endpoint: aioudp.Endpoint[aioudp.Address]
) -> None:
    """Programs for all kinds of addresses say so, and look."""
    async with aioudp.connect(addr) as client:
        await either(addr, client)
    async for data, peer in endpoint:
        name = by_parts(*peer[:2]) if isinstance(peer, tuple) else str(peer)
        await endpoint.send(data + name.encode(), peer)


async def together() -> None:
    async with asyncio.TaskGroup() as group, aioudp.bind() as endpoint:
        group.create_task(iterating(endpoint))
        group.create_task(messages(endpoint))
        group.create_task(either(endpoint.local_addr, endpoint))


async def mistakes(endpoint: aioudp.Endpoint, path: Path) -> None:
    _, addr = await endpoint.recv()
    addr.upper()  # type: ignore[attr-defined]
    addr + 1  # type: ignore[operator]
    addr[0] + 1  # type: ignore[operator]
    addr[1].upper()  # type: ignore[attr-defined]
    port: str = addr[1]  # type: ignore[assignment]
    by_parts(addr)  # type: ignore[call-arg,arg-type]
    await endpoint.send("text", addr)  # type: ignore[arg-type]
    await endpoint.send(b"", 53)  # type: ignore[arg-type]
    await endpoint.send(b"", ("::1", "53"))  # type: ignore[arg-type]
    aioudp.bind(53)  # type: ignore[call-overload]
    aioudp.connect(None)  # type: ignore[call-overload]
    aioudp.connect((None, 53))  # type: ignore[arg-type]
    aioudp.interface(None)  # type: ignore[arg-type]
    async with aioudp.bind(path) as unix:
        await iterating(unix)  # type: ignore[arg-type]
        unix.local_addr[1] + 1  # type: ignore[operator]
    endpoint.port = 1  # type: ignore[misc]
    del port
