"""kademlia, on rpcudp: two nodes of a distributed hash table."""

from __future__ import annotations

import pytest

from .conftest import Run

kademlia = pytest.importorskip("kademlia", reason="cannot: kademlia: not installed")


@pytest.mark.peer("kademlia")
def test_kademlia_stores_and_finds(run: Run) -> None:
    """What one node stores, another one finds."""
    from kademlia.network import Server

    async def main() -> str:
        nodes = [Server() for _ in range(3)]
        for node in nodes:
            await node.listen(0, interface="127.0.0.1")
        first = nodes[0].transport.get_extra_info("sockname")
        for node in nodes[1:]:
            await node.bootstrap([first])
        await nodes[1].set("question", "answer")
        found: str = await nodes[2].get("question")
        for node in nodes:
            node.stop()
        return found

    assert run(main(), transports=3) == "answer"


@pytest.mark.peer("rpcudp")
def test_rpcudp_calls(run: Run) -> None:
    """Calls get their results, with no call mistaken for another."""
    rpcudp = pytest.importorskip("rpcudp.protocol", reason="cannot: rpcudp: no such")
    import asyncio

    class Doubler(rpcudp.RPCProtocol):  # type: ignore[misc,name-defined]
        def rpc_double(self, sender: object, number: int) -> int:
            return number * 2

    async def main() -> list[tuple[bool, int]]:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(
            Doubler, local_addr=("127.0.0.1", 0)
        )
        client, calls = await loop.create_datagram_endpoint(
            Doubler, local_addr=("127.0.0.1", 0)
        )
        addr = server.get_extra_info("sockname")
        results = await asyncio.gather(
            *(calls.double(addr, number) for number in range(50))
        )
        server.close()
        client.close()
        return list(results)

    assert run(main(), transports=2) == [(True, 2 * number) for number in range(50)]
