"""A UNIX peer that is full: exact sends wait for room, ``sendto`` keeps a copy.

Such a peer exerts back-pressure on this machine, without routes or devices. What sends
do while they wait for room is tested here, for all kinds of sockets.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import AF_UNIX, FullPeer

if TYPE_CHECKING:
    from tests.conftest import UntilBlocked

if AF_UNIX == -1:
    pytest.skip("cannot: unix: no UNIX datagram sockets", allow_module_level=True)


@pytest.fixture
def own_path(tmp_path: Path) -> Path:
    """Return a path to bind an endpoint to."""
    return tmp_path / "own"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a plain socket to talk to; its address is a path."""
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(str(tmp_path / "peer"))
        yield sock


# -- a peer that is full: sends wait


@pytest.fixture
def full_peer(tmp_path: Path) -> Iterator[FullPeer]:
    """Return a peer that takes nothing more until it is read."""
    full = FullPeer(tmp_path / "peer")
    with full.sock:
        yield full


@pytest.fixture(params=["connected", "unconnected"])
async def sender(
    request: pytest.FixtureRequest,
    transport: aioudp.TransportKind,
    full_peer: FullPeer,
    own_path: Path,
) -> AsyncIterator[Sender]:
    """Return an endpoint to send to the full peer with.

    The kernel notifies a connected one when there is room, but not an unconnected one.
    """
    if request.param == "connected":
        async with aioudp.connect(full_peer.path, transport=transport) as endpoint:
            yield Sender(endpoint, None)
    else:
        async with aioudp.bind(own_path, transport=transport) as endpoint:
            yield Sender(endpoint, full_peer.path)


class Sender:
    """An endpoint and the address of the full peer, if it needs one."""

    def __init__(self, endpoint: aioudp.Endpoint[Any], addr: str | None) -> None:
        self.endpoint = endpoint
        self.addr = addr

    def send(self, data: Any, **options: Any) -> asyncio.Task[None]:
        """Begin to send."""
        return asyncio.create_task(self.endpoint.send(data, self.addr, **options))

    def send_many(self, *payloads: Any) -> asyncio.Task[None]:
        """Begin to send many."""
        datagrams = [(data, self.addr) for data in payloads]
        return asyncio.create_task(self.endpoint.send_many(datagrams))


async def test_send_waits_for_room(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """A send that finds no room waits, and goes out once there is (B072)."""
    sending = sender.send(b"hello")
    await until_blocked(sending)
    assert not sending.done()

    full_peer.make_room()

    await sending
    assert full_peer.read_all() == [b"hello"]
    assert sender.endpoint.stats().sent == 1
    assert sender.endpoint.stats().send_errors == 0


async def test_full_peer_does_not_stop_the_loop(
    sender: Sender, until_blocked: UntilBlocked
) -> None:
    """While a send waits the loop turns, and the endpoint receives (B072)."""
    sending = sender.send(b"hello")
    receiving = asyncio.create_task(sender.endpoint.recv())

    await until_blocked(sending, receiving)

    assert not sending.done()
    assert not receiving.done()
    for task in (sending, receiving):
        task.cancel()


@pytest.mark.parametrize("segment_size", [None, 100, 3], ids=["one", "short", "many"])
async def test_buffer_changed_while_send_waits(
    sender: Sender,
    full_peer: FullPeer,
    until_blocked: UntilBlocked,
    segment_size: int | None,
) -> None:
    """What is sent is what the buffer held when send was called (B063)."""
    buffer = bytearray(b"original")
    sending = sender.send(buffer, segment_size=segment_size)
    await until_blocked(sending)

    buffer[:] = b"changed!"
    full_peer.make_room()
    await sending

    assert b"".join(full_peer.read_all()) == b"original"


async def test_buffer_changed_while_send_many_waits(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """What is sent is what the buffers held when send_many took them (B063)."""
    buffers = [bytearray(b"one"), bytearray(b"two")]
    sending = sender.send_many(*buffers)
    await until_blocked(sending)

    buffers[0][:] = buffers[1][:] = b"???"
    full_peer.make_room()
    await sending

    assert full_peer.read_all() == [b"one", b"two"]


@pytest.mark.parametrize("segment_size", [None, 3], ids=["one", "many"])
async def test_buffer_is_free_while_send_waits(
    sender: Sender,
    full_peer: FullPeer,
    until_blocked: UntilBlocked,
    segment_size: int | None,
) -> None:
    """While a send waits its buffer can be resized: nothing holds it (B063)."""
    buffer = bytearray(b"original")
    sending = sender.send(buffer, segment_size=segment_size)
    await until_blocked(sending)

    buffer.clear()
    full_peer.make_room()
    await sending

    assert b"".join(full_peer.read_all()) == b"original"


async def test_first_come_first_sent(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """Sends that wait go out in the order of the calls (B073)."""
    sending = [
        sender.send(b"1"),
        sender.send_many(b"2", b"3"),
        sender.send(b"4"),
        sender.send(b"56", segment_size=1),
        sender.send(b"7"),
    ]
    await until_blocked(*sending)
    assert not any(task.done() for task in sending)

    full_peer.make_room()
    await asyncio.gather(*sending)

    assert full_peer.read_all() == [b"%d" % number for number in range(1, 8)]


async def test_nobody_overtakes(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """A send that begins when there is room goes behind those that wait (B073)."""
    sending = [sender.send(b"1"), sender.send(b"2")]
    await until_blocked(*sending)

    full_peer.make_room()
    await sender.endpoint.send(b"3", sender.addr)

    assert full_peer.read_all() == [b"1", b"2", b"3"]
    await asyncio.gather(*sending)


async def test_more_than_there_is_room_for(sender: Sender, full_peer: FullPeer) -> None:
    """A batch that does not fit goes on where it was stopped, each time (B073)."""
    payloads = [b"%d" % number for number in range(60)]
    sending = sender.send_many(*payloads)

    received = await full_peer.wait_for(60)

    assert received == payloads
    await sending


async def test_more_segments_than_there_is_room_for(
    sender: Sender, full_peer: FullPeer
) -> None:
    """A buffer that does not fit goes on where it was stopped, each time (B073)."""
    sending = sender.send(bytes(range(200)), segment_size=3)

    received = await full_peer.wait_for(67)

    await sending
    assert b"".join(received) == bytes(range(200))
    assert [len(data) for data in received] == [3] * 66 + [2]


@pytest.mark.parametrize("cancelled", range(3))
async def test_cancelled_send_is_not_sent(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked, cancelled: int
) -> None:
    """Of the sends that wait a cancelled one never goes out, the others do."""
    sending = [sender.send(b"%d" % number) for number in range(3)]
    await until_blocked(*sending)

    sending.pop(cancelled).cancel()
    await asyncio.sleep(0)
    full_peer.make_room()
    await asyncio.gather(*sending)

    assert full_peer.read_all() == [
        b"%d" % number for number in range(3) if number != cancelled
    ]
    assert sender.endpoint.stats().sent == 2


@pytest.mark.parametrize("turns", range(5))
async def test_send_cancelled_when_there_is_room(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked, turns: int
) -> None:
    """In whatever turn it is cancelled, a send is either out or was cancelled."""
    sending, following = sender.send(b"cancelled"), sender.send(b"following")
    await until_blocked(sending, following)

    full_peer.make_room()
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    await following

    expected = [b"following"] if sending.cancelled() else [b"cancelled", b"following"]
    assert full_peer.read_all() == expected


async def test_cancelled_segments(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """Cancelling segments in the middle leaves those before it out, whole."""
    full_peer.make_room()
    sending = sender.send(bytes(range(200)), segment_size=3)
    await until_blocked(sending)

    sending.cancel()
    await asyncio.wait([sending])

    received = full_peer.read_all()
    assert sending.cancelled()
    assert 0 < len(received) < 67
    assert b"".join(received) == bytes(range(3 * len(received)))
    assert sender.endpoint.stats().sent == len(received)


async def test_endpoint_sends_on_after_a_cancelled_send(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """Once a suspended send is cancelled the next one does not wait for it (B074)."""
    sending = sender.send(b"cancelled")
    await until_blocked(sending)
    sending.cancel()
    await asyncio.wait([sending])

    full_peer.make_room()
    await sender.endpoint.send(b"next", sender.addr)

    assert full_peer.read_all() == [b"next"]


async def test_close_wakes_suspended_sends(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """Closing ends all sends that wait, and none of them goes out."""
    sending = [
        sender.send(b"1"),
        sender.send_many(b"2", b"3"),
        sender.send(b"45", segment_size=1),
        sender.send(b"6"),
    ]
    await until_blocked(*sending)

    sender.endpoint.close()

    for task in sending:
        with pytest.raises(aioudp.EndpointClosedError):
            await task
    assert full_peer.read_all() == []


async def test_peer_that_goes_away(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """A send that waits for a peer that goes away raises the system's error (B074)."""
    sending = sender.send(b"hello")
    await until_blocked(sending)

    full_peer.sock.close()

    with pytest.raises(ConnectionRefusedError) as caught:
        await sending
    assert full_peer.path in str(caught.value)
    assert sender.endpoint.stats().send_errors == 1


async def test_what_is_wrong_does_not_wait(
    sender: Sender, until_blocked: UntilBlocked
) -> None:
    """While others wait a wrong payload is refused at once."""
    sending = sender.send(b"hello")
    await until_blocked(sending)

    wrong = [
        sender.send("str"),
        sender.send_many(5),
        sender.send("str", segment_size=1),
    ]
    await until_blocked(*wrong)

    for task in wrong:
        assert isinstance(task.exception(), TypeError)
    sending.cancel()


async def test_wait_for_room(
    sender: Sender, full_peer: FullPeer, until_blocked: UntilBlocked
) -> None:
    """The transport says when to try again, and then there is room (B091) (B092)."""
    transport = sender.endpoint.transport
    with pytest.raises(BlockingIOError):
        transport.try_send(b"hello", sender.addr)
    waiting = asyncio.create_task(transport.wait_writable())
    await until_blocked(waiting)
    full_peer.make_room()

    await waiting

    transport.try_send(b"hello", sender.addr)
    assert full_peer.read_all() == [b"hello"]


# -- the transport's own sendto: buffered, with water marks


class FlowControlled(asyncio.DatagramProtocol):
    """Records calls to pause and resume."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.resumed = asyncio.Event()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.resumed.set()


async def test_buffered_datagrams_go_out_in_order(
    sender: Sender, full_peer: FullPeer
) -> None:
    """What sendto cannot send at once it sends later, in order (B072) (B073)."""
    transport: Any = sender.endpoint.transport
    payloads = [b"%d" % number for number in range(30)]
    for payload in payloads:
        transport.sendto(payload, sender.addr)
    assert transport.get_write_buffer_size() > 0

    received = await full_peer.wait_for(30)

    assert received == payloads
    assert transport.get_write_buffer_size() == 0
    assert sender.endpoint.stats().sent == 30


async def test_buffered_datagrams_are_copies(
    sender: Sender, full_peer: FullPeer
) -> None:
    """What sendto keeps is a copy of the buffer (B063)."""
    buffer = bytearray(b"original")
    sender.endpoint.transport.sendto(buffer, sender.addr)

    buffer[:] = b"changed!"
    full_peer.make_room()
    await sender.endpoint.send(b"behind", sender.addr)

    assert full_peer.read_all() == [b"original", b"behind"]


async def test_send_goes_behind_what_is_buffered(
    sender: Sender, full_peer: FullPeer
) -> None:
    """An exact send is refused, and send waits, while datagrams are buffered (B091)."""
    transport: Any = sender.endpoint.transport
    transport.sendto(b"buffered", sender.addr)
    await asyncio.sleep(0)
    full_peer.make_room()

    with pytest.raises(BlockingIOError):
        transport.try_send(b"refused", sender.addr)
    await sender.endpoint.send(b"waited", sender.addr)

    assert full_peer.read_all() == [b"buffered", b"waited"]


async def test_water_marks(sender: Sender, full_peer: FullPeer) -> None:
    """Above the high mark there is one pause, at the low mark one resume (B075)."""
    transport: Any = sender.endpoint.transport
    protocol = FlowControlled()
    transport.set_protocol(protocol)
    transport.set_write_buffer_limits(high=100, low=0)

    for _ in range(5):
        transport.sendto(bytes(50), sender.addr)
    assert protocol.calls == ["pause"]
    full_peer.make_room()
    await protocol.resumed.wait()

    assert protocol.calls == ["pause", "resume"]
    assert transport.get_write_buffer_size() == 0
    assert full_peer.read_all() == [bytes(50)] * 5


async def test_no_resume_after_close(sender: Sender, full_peer: FullPeer) -> None:
    """A transport that is closed while paused never says to resume (B075)."""
    transport: Any = sender.endpoint.transport
    protocol = FlowControlled()
    transport.set_protocol(protocol)
    transport.set_write_buffer_limits(high=0)
    transport.sendto(b"hello", sender.addr)

    transport.abort()
    await transport.wait_closed()

    assert protocol.calls == ["pause"]
    assert transport.get_write_buffer_size() == 0
    assert full_peer.read_all() == []


async def test_buffered_empty_datagrams_count(
    sender: Sender, full_peer: FullPeer
) -> None:
    """An empty datagram that is buffered counts for its header (B077)."""
    transport: Any = sender.endpoint.transport

    transport.sendto(b"", sender.addr)

    assert transport.get_write_buffer_size() > 0
    transport.abort()
