"""A link that is slower than the sender: waiting again and again, and no room at all.

tc-tbf(8) lets through so many bits a second. What it holds back keeps its place in
the sender's buffer; what it has no room for it throws away, and whether the sender
hears of that is the sender's choice (IP_RECVERR in ip(7)).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from socket import AddressFamily
from typing import Any, Final

import pytest

import aioudp

from ..conftest import Endpoints, UntilBlocked
from .links import DEVICE, FAR, Link
from .traffic import END, Sink, numbered

_SEND_BUFFER: Final = 4096  # bytes, which the kernel takes for four or five datagrams

# include/uapi/linux/in.h, in6.h; the socket module does not name them.
_RECVERR: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}


def slow_down(link: Link, rate: str, *, queue: int) -> None:
    """Let the link carry *rate*, and *queue* bytes wait."""
    link.near.run(
        *("tc", "qdisc", "replace", "dev", DEVICE, "root", "tbf"),
        *("rate", rate, "burst", "1600", "limit", str(queue)),
    )


@pytest.fixture
def far(link: Link, sink: Sink, family: AddressFamily) -> aioudp.Address:
    """Slow the link down to some 500 datagrams a second; return who is behind it."""
    slow_down(link, "4mbit", queue=1_000_000)
    return FAR[family], sink.port


async def test_several_senders_each_in_order(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, until_blocked: UntilBlocked
) -> None:
    """All arrives once, and what one task sends stays in order."""
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER)

    async def send(first: int) -> None:
        for number in range(first, first + 20):
            await endpoint.send(numbered(number), far)

    tasks = [asyncio.create_task(send(first)) for first in (0, 100, 200)]
    await until_blocked(*tasks)
    assert not any(task.done() for task in tasks)
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
        await endpoint.send(END, far)

    numbers = await sink.numbers_until_end()
    assert len(numbers) == 60
    for first in 0, 100, 200:
        own = [number for number in numbers if first <= number < first + 100]
        assert own == list(range(first, first + 20))


@pytest.mark.parametrize("offload", [True, False])
async def test_send_many(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, offload: bool
) -> None:
    """All of it in order, none twice, in trains and without."""
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER, offload=offload)

    async with asyncio.timeout(10):
        await endpoint.send_many(
            (numbered(index, 8 + index // 10 * 50), far) for index in range(100)
        )
        await endpoint.send(END, far)

    assert await sink.numbers_until_end() == list(range(100))
    assert endpoint.stats().sent == 101


@pytest.mark.parametrize("offload", [True, False])
async def test_segments(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink, offload: bool
) -> None:
    """All of the buffer in order, none of it twice, in trains and without."""
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER, offload=offload)
    train = b"".join(numbered(index, 500) for index in range(140)) + b"rest"

    async with asyncio.timeout(10):
        await endpoint.send(train, far, segment_size=500)
        await endpoint.send(END, far)

    *datagrams, rest = await sink.recv_until_end()
    assert b"".join(datagrams) + rest == train
    assert {len(datagram) for datagram in datagrams} == {500}
    assert endpoint.stats().sent == 142


async def test_what_timed_out_was_not_sent(
    endpoints: Endpoints, far: aioudp.Address, sink: Sink
) -> None:
    """A send either returns, and then it arrives, or it is cancelled, and does not."""
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER)
    returned = []

    async def send(number: int) -> None:
        async with asyncio.timeout(number * 0.002):
            await endpoint.send(numbered(number), far)
        returned.append(number)

    results = await asyncio.gather(
        *[send(number) for number in reversed(range(60))], return_exceptions=True
    )

    assert {type(result) for result in results} == {TimeoutError, type(None)}
    async with asyncio.timeout(10):
        await endpoint.send(END, far)
    assert await sink.numbers_until_end() == returned


# -- ENOBUFS: the link's own queue is full, and the sender enabled the report


def fill(sock: socket.socket, addr: Any) -> None:
    """Send until the system refuses."""
    for number in range(100):
        sock.sendto(numbered(number), addr)


@pytest.fixture
async def full(
    endpoints: Endpoints, link: Link, family: AddressFamily, sink: Sink
) -> aioudp.Endpoint:
    """Return an endpoint that hears of a full queue, on a link whose queue is full."""
    slow_down(link, "100bit", queue=3000)
    endpoint = await endpoints.bind()
    sock = endpoint.get_extra_info("socket")
    sock.setsockopt(*_RECVERR[family], 1)
    with pytest.raises(OSError, match=os.strerror(errno.ENOBUFS)):
        fill(sock, (FAR[family], sink.port))
    return endpoint


@pytest.mark.parametrize(("length", "segment_size"), [(1400, None), (5600, 1400)])
async def test_send_raises_enobufs_at_once(
    full: aioudp.Endpoint,
    link: Link,
    family: AddressFamily,
    sink: Sink,
    until_blocked: UntilBlocked,
    length: int,
    segment_size: int | None,
) -> None:
    """The socket is writable all the while, so there is nothing to wait for."""
    far = FAR[family], sink.port
    sending = asyncio.create_task(
        full.send(bytes(length), far, segment_size=segment_size)
    )
    await until_blocked(sending)

    assert sending.done()
    with pytest.raises(OSError, match=f"1400 bytes to .*{FAR[family]}") as caught:
        sending.result()
    assert caught.value.errno == errno.ENOBUFS
    assert (full.stats().sent, full.stats().send_errors) == (0, 1)

    link.near.run("tc", "qdisc", "del", "dev", DEVICE, "root")
    await full.send(END, far)
    await sink.recv_until_end()


async def test_send_many_reports_enobufs(
    full: aioudp.Endpoint,
    family: AddressFamily,
    sink: Sink,
    until_blocked: UntilBlocked,
) -> None:
    """Every datagram is tried once, and each that was refused is listed."""
    far = FAR[family], sink.port
    sending = asyncio.create_task(
        full.send_many((numbered(index, 1400 + index % 2), far) for index in range(50))
    )
    await until_blocked(sending)
    assert sending.done()

    with pytest.raises(aioudp.SendManyError) as caught:
        sending.result()

    errors = caught.value.errors
    assert {error.errno for error in errors.values()} == {errno.ENOBUFS}
    assert len(errors) + full.stats().sent == 50


async def test_sendto_reports_enobufs(
    full: aioudp.Endpoint, family: AddressFamily, sink: Sink
) -> None:
    """The transport notifies its protocol, buffers nothing and isn't paused."""
    errors: list[Exception] = []

    class Writer(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            errors.append(exc)

    transport: Any = full.transport
    transport.set_protocol(Writer())
    for number in range(20):
        transport.sendto(numbered(number, 1400), (FAR[family], sink.port))
    await asyncio.sleep(0)  # what was gathered leaves at the end of the turn

    assert transport.get_write_buffer_size() == 0
    assert len(errors) + full.stats().sent == 20
    assert {getattr(error, "errno", None) for error in errors} == {errno.ENOBUFS}


async def test_a_full_queue_is_silent_unless_asked(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """Without IP_RECVERR the kernel says that all went well, and so do we."""
    slow_down(link, "100bit", queue=3000)
    endpoint = await endpoints.bind()

    async with asyncio.timeout(10):
        for number in range(50):
            await endpoint.send(numbered(number), (FAR[family], 9))

    assert endpoint.stats().sent == 50
    assert endpoint.stats().send_errors == 0
