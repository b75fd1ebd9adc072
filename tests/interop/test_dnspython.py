"""dnspython: its asyncio resolver against a server made of its own messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Run

dns = pytest.importorskip("dns", reason="cannot: dnspython: not installed")


class Server(asyncio.DatagramProtocol):
    """Answers every query for an A record with one address."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        import dns.message
        import dns.rrset

        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        name = query.question[0].name
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
        self.transport.sendto(response.to_wire(), addr)


@pytest.mark.peer("dnspython")
def test_dnspython_resolves(run: Run) -> None:
    """Twenty queries at once are answered, each with the name that it asked for."""
    import dns.asyncresolver

    async def main() -> list[str]:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Server, local_addr=("127.0.0.1", 0)
        )
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        names = [f"host{number}.example." for number in range(20)]
        answers = await asyncio.gather(*(resolver.resolve(name, "A") for name in names))
        transport.close()
        assert [str(answer.qname) for answer in answers] == names
        return [answer[0].address for answer in answers]

    assert run(main(), transports=1 + 20) == ["192.0.2.1"] * 20
