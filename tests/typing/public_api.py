"""What type checkers see of the library. Checked by them, never run.

An ``assert_type`` fails unless the type is exactly that one; a ``type: ignore`` fails
if there is no error left to ignore, so each is a test that the mistake is caught.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

import aioudp


async def opening_can_be_awaited() -> None:
    assert_type(await aioudp.bind(), aioudp.Endpoint)
    assert_type(await aioudp.connect(("::1", 53)), aioudp.Endpoint)
    assert_type(await aioudp.adopt(3), aioudp.Endpoint)


async def opening_can_be_entered(sock: socket.socket) -> None:
    async with aioudp.bind(("", 0)) as bound:
        assert_type(bound, aioudp.Endpoint)
    async with aioudp.connect(("192.0.2.1", 53), local_addr=("", 0)) as connected:
        assert_type(connected, aioudp.Endpoint)
    async with aioudp.adopt(sock) as adopted:
        assert_type(adopted, aioudp.Endpoint)


def every_kind_of_local_address(path: Path) -> None:
    aioudp.bind((None, 0))
    aioudp.bind(("fe80::1", 0, 0, 2))
    aioudp.bind("/run/example")
    aioudp.bind(path)
    aioudp.bind(53)  # type: ignore[call-overload]
    aioudp.bind(("localhost", "53"))  # type: ignore[arg-type]


def options_are_named_and_typed(options: aioudp.Options) -> None:
    aioudp.bind(
        family=socket.AF_INET6,
        reuse_port=True,
        broadcast=True,
        queue_size=64,
        overflow="drop-oldest",
        icmp_errors=True,
        dont_fragment=True,
        receive_buffer=1 << 20,
        send_buffer=1 << 20,
        offload=False,
        transport="loop",
    )
    aioudp.connect(("192.0.2.1", 53), **options)
    aioudp.bind(overflow="forget")  # type: ignore[call-overload]
    aioudp.bind(reuse_addr=True)  # type: ignore[call-overload]
    aioudp.bind(("", 0), True)  # type: ignore[call-overload]


async def receiving(endpoint: aioudp.Endpoint) -> None:
    assert_type(await endpoint.recv(), aioudp.Datagram)
    assert_type(await endpoint.recv_many(), list[aioudp.Datagram])
    assert_type(await endpoint.recv_many(10), list[aioudp.Datagram])
    assert_type(endpoint.recv_nowait(), aioudp.Datagram)
    async for data, addr in endpoint:
        assert_type(data, bytes)
        assert_type(addr, aioudp.IPAddress)


async def receiving_messages(endpoint: aioudp.Endpoint) -> None:
    assert_type(await endpoint.recv_message(), aioudp.Message)
    assert_type(await endpoint.recv_messages(), list[aioudp.Message])
    assert_type(await endpoint.recv_messages(10), list[aioudp.Message])
    async for message in endpoint.messages():
        assert_type(message.data, bytes)
        assert_type(message.addr, aioudp.IPAddress)
        assert_type(message.local_addr, aioudp.IPAddress | None)
        assert_type(message.interface, int | None)
        assert_type(message.ecn, int | None)
        assert_type(message.timestamp, float | None)
        assert_type(message.truncated, bool)
        assert_type(await endpoint.reply(message, b"answer"), None)


async def options_of_one_send(endpoint: aioudp.Endpoint, addr: aioudp.Address) -> None:
    await endpoint.send(b"", addr, local_addr="::1", interface=1, tos=2, hop_limit=3)
    await endpoint.send(b"", addr, local_addr=addr, interface="eth0")
    options = aioudp.SendOptions(tos=1)
    await endpoint.send_many([(b"", addr, options), (b"", None), (b"", addr, None)])
    await endpoint.send_many([(b"", addr)], tos=1)
    await endpoint.send(b"", addr, ttl=1)  # type: ignore[call-arg]
    aioudp.SendOptions("::1")  # type: ignore[call-arg]


def options_about_messages() -> None:
    aioudp.bind(packet_info=True, timestamps="hardware", max_datagram_size=1500)
    aioudp.bind(timestamps="gps")  # type: ignore[call-overload]


async def a_datagram_has_two_names(endpoint: aioudp.Endpoint) -> None:
    datagram = await endpoint.recv()
    assert_type(datagram.data, bytes)
    assert_type(datagram.addr, aioudp.IPAddress)


async def sending(endpoint: aioudp.Endpoint, addr: aioudp.Address) -> None:
    assert_type(await endpoint.send(b""), None)
    await endpoint.send(bytearray(1), addr)
    await endpoint.send(memoryview(b"12"), addr, segment_size=1)
    await endpoint.send("text")  # type: ignore[arg-type]
    await endpoint.send(b"", addr, 1)  # type: ignore[call-arg]


async def errors_of_the_network(endpoint: aioudp.Endpoint) -> None:
    error = await endpoint.recv_error()
    assert_type(error, aioudp.NetworkError)
    assert_type(error.addr, aioudp.IPAddress)
    assert_type(error.error, OSError)
    assert_type(error.offender, str | None)
    assert_type(error.mtu, int | None)
    assert_type(error.data, bytes)
    async for each in endpoint.errors():
        assert_type(each, aioudp.NetworkError)
    assert_type(endpoint.mtu(), int | None)
    assert_type(endpoint.mtu(error.addr), int | None)
    error.mtu = 1  # type: ignore[misc]
    endpoint.mtu(9)  # type: ignore[arg-type]


async def what_was_received_can_be_sent_back(endpoint: aioudp.Endpoint) -> None:
    await endpoint.send(*await endpoint.recv())
    await endpoint.send_many(await endpoint.recv_many())
    await endpoint.send_many((data, None) for data in [b"1", b"2"])
    await endpoint.send_many([b"1", b"2"])  # type: ignore[list-item]


async def resolving(endpoint: aioudp.Endpoint) -> None:
    addr = await aioudp.resolve("localhost", 53, family=socket.AF_INET)
    assert_type(addr, aioudp.IPAddress)
    await endpoint.send(b"", addr)


async def groups(endpoint: aioudp.MulticastEndpoint) -> None:
    opening = aioudp.open_multicast(
        "ff02::1234%eth0", 5000, source="fe80::1", ttl=2, loop=False, queue_size=1
    )
    assert_type(await opening, aioudp.MulticastEndpoint)
    async with aioudp.open_multicast(("ff02::1", 0, 0, 2), 5000) as entered:
        assert_type(entered, aioudp.MulticastEndpoint)
    aioudp.open_multicast("239.1.2.3", 5000, interfaces=["eth0", 2, "192.0.2.1"])
    aioudp.open_multicast("239.1.2.3", 5000, 1)  # type: ignore[call-arg,arg-type]
    endpoint.join("239.1.2.3", source="192.0.2.1", interfaces=["eth0"])
    endpoint.leave("239.1.2.3")
    for outcome in await endpoint.send(b"", group="239.1.2.3"):
        assert_type(outcome.sent, bool)
        assert_type(outcome.error, OSError | None)
    await endpoint.send_to(*await endpoint.recv())
    async for datagram in endpoint:
        assert_type(datagram, aioudp.Datagram)
    assert_type(aioudp.interfaces(), list[aioudp.Interface])


async def everybody(endpoint: aioudp.BroadcastEndpoint) -> None:
    opening = aioudp.open_broadcast(5000, receive_own=False, queue_size=1)
    assert_type(await opening, aioudp.BroadcastEndpoint)
    aioudp.open_broadcast(5000, interfaces=["eth0", 2, "192.0.2.1"])
    aioudp.open_broadcast("5000")  # type: ignore[arg-type]
    assert_type(await endpoint.send(b""), list[aioudp.SendOutcome])
    await endpoint.send(b"", 9)
    await endpoint.send_to(*await endpoint.recv())


async def searching() -> None:
    search = aioudp.discover(
        b"", 9, timeout=1, group="239.1.2.3", key=lambda reply: reply.data
    )
    async for data, addr in search:
        assert_type(data, bytes)
        assert_type(addr, aioudp.IPAddress)
    async with search as entered:
        assert_type(await anext(entered), aioudp.Datagram)
    assert_type(search.outcomes, list[aioudp.SendOutcome])
    assert_type(await search.aclose(), None)
    aioudp.discover(b"", 9)  # type: ignore[call-arg]


def looking(endpoint: aioudp.Endpoint) -> None:
    assert_type(endpoint.stats(), aioudp.Stats)
    assert_type(endpoint.stats().dropped_kernel, int)
    assert_type(endpoint.local_addr, aioudp.IPAddress)
    assert_type(endpoint.remote_addr, aioudp.IPAddress | None)
    assert_type(endpoint.family, int)
    assert_type(endpoint.closed, bool)
    assert_type(endpoint.fileno(), int)
    assert_type(endpoint.get_extra_info("socket"), Any)
    transport: asyncio.DatagramTransport = endpoint.transport
    del transport
    endpoint.closed = True  # type: ignore[misc]


async def closing(endpoint: aioudp.Endpoint) -> None:
    assert_type(endpoint.close(), None)
    assert_type(await endpoint.aclose(), None)
    async with endpoint as entered:
        assert_type(entered, aioudp.Endpoint)


def an_endpoint_is_an_iterator(endpoint: aioudp.Endpoint) -> None:
    datagrams: AsyncIterator[aioudp.Datagram] = endpoint
    del datagrams


def errors(error: aioudp.SendManyError) -> None:
    base: aioudp.UDPError = error
    del base
    assert_type(error.errors, dict[int, OSError])


async def requests(addr: aioudp.IPAddress) -> None:
    def key(data: bytes) -> int:
        return data[0]

    async with aioudp.open_client(addr, key=key, timeout=2, retries=1) as client:
        assert_type(client, aioudp.Client)
        assert_type(await client.request(b"?"), aioudp.Datagram)
        async for datagram in client.unsolicited():
            assert_type(datagram, aioudp.Datagram)
        assert_type(client.stats(), aioudp.ClientStats)
        assert_type(client.stats() - client.stats(), aioudp.ClientStats)
        assert_type(client.stats().endpoint, aioudp.Stats)
    aioudp.open_client(addr, key=1)  # type: ignore[call-overload]
    await client.request("?")  # type: ignore[arg-type]
