"""Libraries from PyPI on the simulated network: unmodified, on bad links."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp import testing
from aioudp._system import machine

from .test_aiocoap import port_of
from .test_aioquic import certificate

SERVER = ("10.0.0.1", 4433)


@pytest.mark.peer("aiocoap")
def test_aiocoap_over_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server and a client, opened by the library itself, on two simulated hosts.

    The request is long, so it takes many blocks, and its course is the seed's.
    """
    aiocoap = pytest.importorskip("aiocoap", reason="cannot: aiocoap: not installed")
    from aiocoap import resource

    monkeypatch.setenv("AIOCOAP_CLIENT_TRANSPORT", "simple6")
    monkeypatch.setenv("AIOCOAP_SERVER_TRANSPORT", "simplesocketserver")

    class Upper(resource.Resource):  # type: ignore[misc]
        async def render_post(self, request: Any) -> Any:
            return aiocoap.Message(payload=request.payload.upper())

    async def main(net: testing.SimulatedNetwork) -> None:
        site = resource.Site()
        site.add_resource(["upper"], Upper())
        with net.host("2001:db8:7::1"):
            bound = ("2001:db8:7::1", 0)
            server = await aiocoap.Context.create_server_context(site, bind=bound)
        with net.host("2001:db8:7::2"):
            client = await aiocoap.Context.create_client_context()
            request = aiocoap.Message(
                code=aiocoap.POST,
                uri=f"coap://[2001:db8:7::1]:{port_of(server)}/upper",
                payload=b"abc" * 2000,
            )
            response = await client.request(request).response
        await client.shutdown()
        await server.shutdown()
        assert response.payload == b"ABC" * 2000

    failure = testing.explore(
        main, seeds=5, processes=1, loss=0.05, duplicate=0.1, delay=0.05, jitter=0.05
    )
    assert failure is None, failure


@pytest.mark.peer("zeroconf")
def test_zeroconf_over_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """One host registers a service, another one finds it, over simulated multicast.

    zeroconf makes its own sockets and measures time by the system's clock, so it gets
    the sockets of the simulated host, and a loop without a clock that jumps.
    """
    pytest.importorskip("zeroconf", reason="cannot: zeroconf: not installed")
    from zeroconf import IPVersion
    from zeroconf._utils import net as sockets_of_zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    class SimulatedSockets:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        def socket(self, family: int, kind: int) -> socket.socket:
            return machine.new_socket(family)

    monkeypatch.setattr(sockets_of_zeroconf, "socket", SimulatedSockets())
    kind = "_aioudp._udp.local."
    net = testing.SimulatedNetwork(
        1, loss=0.1, delay=0.01, jitter=0.01, duplicate=0.3, reorder=0.1
    )

    async def start(address: str) -> Any:
        with net.host(address):
            zeroconf = AsyncZeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
            await zeroconf.zeroconf.async_wait_for_start()
        return zeroconf

    async def main() -> int | None:
        host, guest = await start("10.0.0.1"), await start("10.0.0.2")
        info = AsyncServiceInfo(
            kind, f"one.{kind}", port=4242, parsed_addresses=["10.0.0.1"]
        )
        await (await host.async_register_service(info))
        found = await guest.async_get_service_info(kind, f"one.{kind}")
        await host.async_close()
        await guest.async_close()
        return found.port if found else None

    with asyncio.Runner(loop_factory=aioudp.new_event_loop) as runner:
        assert runner.run(main()) == 4242
    heard = {flight.source for flight in net.history if flight.fate == "delivered"}
    assert ("10.0.0.1", 5353) in heard


async def _transfer(net: testing.SimulatedNetwork, files: Any, payload: bytes) -> None:
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.asyncio.server import QuicServer
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection

    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    tasks = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    server_config = QuicConfiguration(is_client=False)
    server_config.load_cert_chain(*files)
    transport, server = await net.create_datagram_endpoint(
        lambda: QuicServer(
            configuration=server_config,
            stream_handler=lambda *stream: tasks.append(
                asyncio.ensure_future(take(*stream))
            ),
        ),
        SERVER,
    )
    config = QuicConfiguration(is_client=True, verify_mode=ssl.CERT_NONE)
    connection = QuicConnection(configuration=config)
    outgoing, client = await net.create_datagram_endpoint(
        lambda: QuicConnectionProtocol(connection), ("10.0.0.2", 0)
    )
    client.connect(SERVER)
    await client.wait_connected()
    _, writer = await client.create_stream()
    writer.write(payload)
    writer.write_eof()
    assert await received == payload
    client.close()
    await client.wait_closed()
    await asyncio.gather(*tasks)
    server.close()
    outgoing.close()
    transport.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "faults",
    [{"loss": 0.1}, {"duplicate": 0.1}, {"reorder": 0.1}],
    ids=["loss", "duplicate", "reorder"],
)
@pytest.mark.peer("aioquic")
def test_aioquic_over_a_bad_link(tmp_path: Path, faults: dict[str, Any]) -> None:
    """A handshake and a stream complete, whatever the seed."""
    pytest.importorskip("aioquic", reason="cannot: aioquic: not installed")
    files = certificate(tmp_path)
    payload = hashlib.shake_128(b"aioudp").digest(64 * 1024)

    failure = testing.explore(
        lambda net: _transfer(net, files, payload),
        seeds=3,
        processes=1,
        delay=0.01,
        **faults,
    )

    assert failure is None, failure
