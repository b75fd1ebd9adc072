"""The drop-in where loopback does not reach: full send buffers, link-local addresses.

Each test runs on the event loop's own ``create_datagram_endpoint``, too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from socket import AF_INET6
from typing import Any, Final

import pytest

from ..contract.dropin.support import WAYS, Opener, Recorder
from .links import DEVICE, FAR_LOCAL, HAS_IPV6, NEAR_LOCAL, Link, SilentHost
from .traffic import END, Sink, numbered

_SEND_BUFFER: Final = 4096  # bytes, which the kernel takes for four or five datagrams


@pytest.fixture(params=WAYS)
async def opener(request: pytest.FixtureRequest, link: Link) -> AsyncIterator[Opener]:
    """Open endpoints at the near end, by the loop's own method or by ours."""
    opener = Opener(request.param)
    yield opener
    await opener.aclose()


def jammed(family: int) -> socket.socket:
    """Return a socket for the transport to keep, that few datagrams make full."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    sock.bind(("", 0))
    return sock


async def send_until_paused(transport: Any, protocol: Recorder, addr: Any) -> int:
    """Send numbered datagrams, some in each turn; return how many."""
    count = 0
    while "pause" not in protocol.events:
        for _ in range(7):
            transport.sendto(numbered(count), addr)
            count += 1
        await asyncio.sleep(0)
        assert count < 1000
    return count


async def test_full_buffer(
    opener: Opener, family: int, silent: SilentHost, sink: Sink
) -> None:
    """The protocol pauses; all that it sent arrives once, in order; it resumes."""
    opener.leaves_out(
        "asyncio", because="it miscounts its buffer", since=(3, 13), fixed=(3, 13, 6)
    )
    transport, protocol = await opener.open(sock=jammed(family))
    addr = silent.host, sink.port

    count = await send_until_paused(transport, protocol, addr)
    assert transport.get_write_buffer_size() > 64 * 1024
    silent.answer()
    await protocol.until(lambda: "resume" in protocol.events)
    transport.sendto(END, addr)

    assert await sink.numbers_until_end() == list(range(count))
    assert protocol.events == ["made", "pause", "resume"]
    assert protocol.errors == []


async def test_close_with_a_full_buffer(
    opener: Opener, family: int, silent: SilentHost, sink: Sink
) -> None:
    """What was sent before close() arrives, and then the connection is lost."""
    opener.leaves_out(
        "asyncio", because="it miscounts its buffer", since=(3, 13), fixed=(3, 13, 6)
    )
    transport, protocol = await opener.open(sock=jammed(family))
    addr = silent.host, sink.port
    count = await send_until_paused(transport, protocol, addr)
    transport.sendto(END, addr)

    transport.close()
    await asyncio.sleep(0)
    assert ("lost", None) not in protocol.events
    silent.answer()
    await protocol.lost()

    assert await sink.numbers_until_end() == list(range(count))


@pytest.mark.skipif(not HAS_IPV6, reason="cannot: ipv6: this kernel does not have it")
async def test_link_local(opener: Opener, link: Link) -> None:
    """A zone in the host is understood; a sender's scope id is reported, and taken."""
    opener.leaves_out(
        "uvloop", because="it looks zones up in a thread, which is not on this link"
    )
    scope_id = link.near.index(DEVICE)
    with Sink(link.far, AF_INET6) as sink:
        transport, protocol = await opener.open(
            local_addr=(f"{NEAR_LOCAL}%{DEVICE}", 0)
        )
        name = transport.get_extra_info("sockname")
        assert name == (NEAR_LOCAL, name[1], 0, scope_id)

        far_scope = link.far.index(DEVICE)
        sink.send(b"hello", (NEAR_LOCAL, name[1], 0, far_scope))
        await protocol.received(1)
        sender = protocol.datagrams[0][1]
        transport.sendto(b"answer", sender)

        assert sender == (FAR_LOCAL, sink.port, 0, scope_id)
        assert await sink.recv() == b"answer"
