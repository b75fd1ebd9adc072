"""Flow control: the write buffer, its water marks, pause_writing and resume_writing.

A UNIX datagram socket that is full makes the transport wait: no route and no device is
needed for that. The socket is handed over, because uvloop takes none otherwise.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support import AF_UNIX, FullPeer, turns, unix_only
from .support import Opener, Recorder, Reports, drain

pytestmark = unix_only

SIZE = 1000  # bytes of a datagram here
MISCOUNTS = "3.13.0 to 3.13.5 miscount the write buffer"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullPeer]:
    """Return a socket that has no room until it is read."""
    peer = FullPeer(tmp_path / "full")
    yield peer
    peer.sock.close()


def connected_to(full: FullPeer) -> socket.socket:
    """Return a socket for the transport to keep, connected to *full*."""
    sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
    sock.connect(full.path)
    return sock


async def fill(transport: Any, protocol: Recorder) -> list[bytes]:
    """Send until the protocol is paused; return what was passed to sendto."""
    sent: list[bytes] = []
    while "pause" not in protocol.events:
        sent.append(b"%04d" % len(sent) + bytes(SIZE - 4))
        transport.sendto(sent[-1])
        await asyncio.sleep(0)
        assert len(sent) < 1000
    return sent


async def read_while_it_sends(full: FullPeer, count: int) -> list[bytes]:
    """Return the next datagrams; the transport gets its turns meanwhile."""
    full.make_room()
    received: list[bytes] = []
    while len(received) < count:
        received += drain(full.sock)
        await asyncio.sleep(0)
    return received


# -- a full buffer


async def test_buffer_size(opener: Opener, full: FullPeer) -> None:
    """It counts what the kernel has not taken, and is zero when all is out."""
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    transport, _ = await opener.open(sock=connected_to(full))
    assert transport.get_write_buffer_size() == 0

    for count in range(1, 4):
        transport.sendto(bytes(SIZE))
        await asyncio.sleep(0)
        size = transport.get_write_buffer_size()
        assert count * SIZE <= size <= count * (SIZE + 8)
    await read_while_it_sends(full, 3)
    await turns(1)

    assert transport.get_write_buffer_size() == 0


async def test_pause_and_resume(opener: Opener, full: FullPeer) -> None:
    """Above the high water mark the protocol pauses, at the low one it goes on."""
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    transport, protocol = await opener.open(sock=connected_to(full))

    sent = await fill(transport, protocol)

    assert 64 * 1024 - 8 * len(sent) < len(sent) * SIZE
    assert (len(sent) - 1) * SIZE <= 64 * 1024
    received = await read_while_it_sends(full, len(sent))
    await protocol.until(lambda: "resume" in protocol.events)
    assert protocol.events == ["made", "pause", "resume"]
    assert received == sent


async def test_resume_at_the_low_water_mark(opener: Opener, full: FullPeer) -> None:
    """Not before the buffer is down to it, and not only when it is empty."""
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    transport, protocol = await opener.open(sock=connected_to(full))
    transport.set_write_buffer_limits(high=20 * SIZE, low=10 * SIZE)
    sizes = []
    protocol.resume_writing = lambda: sizes.append(transport.get_write_buffer_size())

    sent = await fill(transport, protocol)
    await read_while_it_sends(full, len(sent))
    await turns(1)

    assert len(sizes) == 1
    assert sizes[0] <= 10 * SIZE


async def test_order(opener: Opener, full: FullPeer) -> None:
    """What waited goes first, then what was sent meanwhile."""
    transport, _ = await opener.open(sock=connected_to(full))
    sent = [b"%d" % number for number in range(60)]

    for data in sent[:30]:
        transport.sendto(data)
    await turns(2)
    full.make_room()
    for data in sent[30:]:
        transport.sendto(data)
        await asyncio.sleep(0)
    received = await read_while_it_sends(full, len(sent))

    assert received == sent


async def test_close_with_a_full_buffer(opener: Opener, full: FullPeer) -> None:
    """What is buffered is sent when there is room, and then the connection is lost.

    A paused protocol is resumed, even while its transport is closing.
    """
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    transport, protocol = await opener.open(sock=connected_to(full))
    sent = await fill(transport, protocol)

    transport.close()
    await turns(3)
    assert transport.is_closing()
    assert protocol.events == ["made", "pause"]
    received = await read_while_it_sends(full, len(sent))
    await protocol.lost()

    assert received == sent
    assert protocol.events == ["made", "pause", "resume", ("lost", None)]


async def test_abort_with_a_full_buffer(opener: Opener, full: FullPeer) -> None:
    """What is buffered is forgotten, and the connection is lost at once."""
    opener.leaves_out("uvloop", because="it reports what it drops as fatal errors")
    transport, protocol = await opener.open(sock=connected_to(full))
    await fill(transport, protocol)

    transport.abort()
    await protocol.lost()

    assert protocol.events == ["made", "pause", ("lost", None)]
    assert full.read_all() == []


async def test_abort_while_it_closes(opener: Opener, full: FullPeer) -> None:
    """It does not wait for room any longer; the connection is lost once."""
    opener.leaves_out("uvloop", because="it reports what it drops as fatal errors")
    transport, protocol = await opener.open(sock=connected_to(full))
    transport.sendto(b"never sent")
    transport.close()
    await turns(2)
    assert protocol.events == ["made"]

    transport.abort()
    await protocol.lost()
    await turns(2)

    assert protocol.events == ["made", ("lost", None)]
    assert full.read_all() == []


# -- the limits


async def test_limits(opener: Opener, peer4: socket.socket) -> None:
    """What is left out follows from the other, as asyncio documents."""
    opener.leaves_out("uvloop", because="it has no get_write_buffer_limits")
    transport, _ = await opener.open(remote_addr=peer4.getsockname())
    kib = 1024
    assert transport.get_write_buffer_limits() == (16 * kib, 64 * kib)

    for arguments, limits in (
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 5, "low": 5}, (5, 5)),
        ({"high": 0}, (0, 0)),
        ({}, (16 * kib, 64 * kib)),
    ):
        transport.set_write_buffer_limits(**arguments)
        assert transport.get_write_buffer_limits() == limits


@pytest.mark.parametrize("limits", [{"high": 1, "low": 2}, {"low": -1}, {"high": -1}])
async def test_wrong_limits(
    opener: Opener, peer4: socket.socket, limits: dict[str, int]
) -> None:
    """They are a ValueError."""
    transport, _ = await opener.open(remote_addr=peer4.getsockname())

    with pytest.raises(ValueError):
        transport.set_write_buffer_limits(**limits)


async def test_lowering_the_limit_pauses(opener: Opener, full: FullPeer) -> None:
    """At once, if more than that waits."""
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    transport, protocol = await opener.open(sock=connected_to(full))
    transport.sendto(bytes(SIZE))
    assert "pause" not in protocol.events

    transport.set_write_buffer_limits(high=SIZE // 2)

    assert protocol.events == ["made", "pause"]


# -- gathering is no reason to pause


@pytest.mark.parametrize("high", [None, 0])
async def test_no_pause_while_the_kernel_has_room(
    opener: Opener, peer4: socket.socket, high: int | None
) -> None:
    """However much is sent in one turn, and however low the mark."""
    transport, protocol = await opener.open(remote_addr=peer4.getsockname())
    transport.set_write_buffer_limits(high=high)
    sent = [bytes([number]) * 1400 for number in range(200)]

    received = []
    for number, data in enumerate(sent):
        transport.sendto(data)
        if number % 20 == 0:
            received += drain(peer4)
    await asyncio.sleep(0)

    assert received + drain(peer4) == sent
    assert protocol.events == ["made"]


async def test_lowering_the_limit_sends_what_was_gathered(
    opener: Opener, peer4: socket.socket
) -> None:
    """The kernel is tried before the protocol is paused."""
    transport, protocol = await opener.open(remote_addr=peer4.getsockname())

    transport.sendto(b"one")
    transport.sendto(b"two")
    transport.set_write_buffer_limits(high=0)

    assert protocol.events == ["made"]
    assert transport.get_write_buffer_size() == 0
    assert drain(peer4) == [b"one", b"two"]


# -- protocols that raise


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
async def test_method_that_raises(opener: Opener, full: FullPeer, method: str) -> None:
    """The exception handler is called; everything is sent all the same."""
    opener.leaves_out("asyncio", because=MISCOUNTS, since=(3, 13), fixed=(3, 13, 6))
    reports = Reports()
    error = LookupError(method)

    class Clumsy(Recorder):
        pass

    def fail(protocol: Recorder) -> None:
        protocol.note(method.removesuffix("_writing"))
        raise error

    setattr(Clumsy, method, fail)
    transport, protocol = await opener.open(Clumsy, sock=connected_to(full))

    sent = await fill(transport, protocol)
    received = await read_while_it_sends(full, len(sent))
    await protocol.until(lambda: "resume" in protocol.events)

    assert received == sent
    assert reports.exceptions == [error]
    assert reports.contexts[0]["transport"] is transport
    assert reports.contexts[0]["protocol"] is protocol
    assert protocol.events == ["made", "pause", "resume"]


async def test_error_received_that_raises_at_the_end_of_a_turn(
    ours: Opener, peer4: socket.socket
) -> None:
    """The exception handler is called; the remaining datagrams are sent."""
    reports = Reports()
    error = LookupError("error_received")

    class Clumsy(Recorder):
        def error_received(self, exc: Exception) -> None:
            super().error_received(exc)
            raise error

    name = peer4.getsockname()
    transport, protocol = await ours.open(Clumsy, local_addr=(name[0], 0))

    transport.sendto(b"one", name)
    transport.sendto(bytes(65508), name)
    transport.sendto(b"two", name)
    transport.sendto(b"x", ("255.255.255.255", 9))
    transport.sendto(b"three", name)
    await turns(2)

    assert drain(peer4) == [b"one", b"two", b"three"]
    assert len(protocol.errors) == 2
    assert reports.exceptions == [error, error]


async def test_unconnected(opener: Opener, full: FullPeer) -> None:
    """The same without a peer, although the socket never reports a full one then."""
    sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
    transport, _ = await opener.open(sock=sock)
    sent = [b"%d" % number for number in range(30)]
    for data in sent:
        transport.sendto(data, full.path)
    await turns(2)

    assert await full.wait_for(len(sent)) == sent
