"""The peer that is this library."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aioudp
from aioudp import testing

from .peers import HOST, Peer, Socket


class EndpointSocket(Socket):
    def __init__(self, endpoint: Any) -> None:
        self.endpoint = endpoint
        self.addr = endpoint.local_addr

    async def recv(self) -> bytes:
        data: bytes = (await self.endpoint.recv())[0]
        return data

    async def recv_from(self) -> tuple[bytes, Any]:
        datagram: aioudp.Datagram = await self.endpoint.recv()
        return datagram

    async def send(self, data: bytes, addr: Any = None) -> None:
        await self.endpoint.send(data, addr)

    async def close(self) -> None:
        await self.endpoint.aclose()

    def iterate(self) -> Any:
        return aiter(self.endpoint)

    async def recv_several(self) -> list[bytes]:
        return [data for data, _ in await self.endpoint.recv_many()]

    async def destination(self) -> str:
        addr = (await self.endpoint.recv_message()).local_addr
        return str(addr[0]) if addr else "unknown"

    def dropped(self) -> int:
        stats: aioudp.Stats = self.endpoint.stats()
        return stats.dropped_kernel + stats.dropped_queue


class Aioudp(Peer):
    name = "aioudp"
    distribution = "aioudp-endpoint"
    module = "aioudp"

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        return EndpointSocket(await aioudp.bind((host, 0), **options))

    async def connect(self, addr: Any) -> Socket:
        return EndpointSocket(await aioudp.connect(addr))

    async def bind_path(self, path: Path) -> Socket:
        return EndpointSocket(await aioudp.bind(path))

    async def adopt(self, sock: socket.socket) -> Socket:
        return EndpointSocket(await aioudp.adopt(sock))

    async def bind_any_ipv4(self) -> Socket:
        return await self.bind("0.0.0.0", packet_info=True)

    async def bind_dual_stack(self) -> Socket:
        return await self.bind("")

    async def bind_broadcast(self) -> Socket:
        return await self.bind(broadcast=True)

    async def bind_group(self, group: str) -> Socket:
        return EndpointSocket(await aioudp.open_multicast(group, 0, interfaces=["lo"]))

    async def request(self, addr: Any) -> bytes:
        async with aioudp.open_client(addr, timeout=0.1) as client:
            data: bytes = (await client.request(b"a question")).data
            return data

    async def serve(self, handler: Callable[[bytes], bytes]) -> tuple[Any, Any]:
        server = await aioudp.serve(lambda data, addr: handler(data), (HOST, 0))
        return server.local_addr, server.aclose

    async def simulate(self) -> bytes:
        network = testing.SimulatedNetwork(seed=1)
        one, other = network.host("10.0.0.1"), network.host("10.0.0.2")
        async with one.bind(("10.0.0.1", 7)) as receiver, other.bind() as sender:
            await sender.send(b"over no wire", ("10.0.0.1", 7))
            data: bytes = (await receiver.recv()).data
            return data

    def has_hints(self) -> bool:
        # It may be installed in a way that lists no files.
        return (Path(aioudp.__file__).parent / "py.typed").exists()
