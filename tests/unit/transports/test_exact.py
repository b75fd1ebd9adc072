"""Exact sending: behind what is buffered, its own error, and waiting for room."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from aioudp._errors import EndpointClosedError
from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
from aioudp._transports.selector import SelectorTransport

from .fakes import (
    EVERYTHING,
    OTHER,
    PEER,
    REFUSED,
    FakeIO,
    MakeRig,
    Recorder,
    Rig,
    UntilBlocked,
    numbers,
    send_numbers,
    with_unix_sockets,
)

# -- exact sending


def sends(rig: Rig, addr: Any = PEER) -> list[Callable[[], object]]:
    """Return the three ways to send two bytes exactly."""
    transport = rig.transport
    return [
        lambda: transport.try_send(b"xy", addr),
        lambda: transport.try_send_segments(memoryview(b"xyxy"), 2, addr),
        lambda: transport.try_send_many(transport.prepare([(b"xy", addr)])),
    ]


WAYS: Final = pytest.mark.parametrize("way", range(3), ids=["one", "segments", "many"])


@WAYS
def test_an_exact_send_goes_out_now(rig: Rig, way: int) -> None:
    """What the call returns is what the kernel took."""
    taken = sends(rig)[way]()

    assert rig.io.out == [(b"xy", PEER)] * (2 if way == 1 else 1)
    assert taken == (None, 4, 1)[way]


@WAYS
def test_an_exact_send_does_not_overtake_sendto(full: Rig, way: int) -> None:
    """What is buffered goes first."""
    full.io.room = EVERYTHING

    with pytest.raises(BlockingIOError):
        sends(full)[way]()
    assert full.io.out == []


@WAYS
def test_an_exact_send_goes_behind_what_was_gathered(rig: Rig, way: int) -> None:
    """That goes out at once then, in the order in which it was sent."""
    send_numbers(rig, 3)

    sends(rig)[way]()

    expected = [*numbers(3), *[(b"xy", PEER)] * (2 if way == 1 else 1)]
    assert rig.io.out == expected
    rig.loop.turn()
    assert rig.io.out == expected


@WAYS
def test_an_exact_send_waits_for_what_was_gathered(rig: Rig, way: int) -> None:
    """Where there is no room for that, there is none for this."""
    rig.io.room = 2
    send_numbers(rig, 3)

    with pytest.raises(BlockingIOError):
        sends(rig)[way]()
    assert rig.io.out == numbers(2)
    assert list(rig.loop.writers) == [rig.sock.fileno()]


@WAYS
@pytest.mark.parametrize("closing", ["close", "abort"])
def test_an_exact_send_finds_the_transport_closed_by_an_earlier_error(
    rig: Rig, closing: str, way: int
) -> None:
    """The protocol may close on a gathered datagram's error: this one is too late."""
    send = sends(rig)[way]
    send_numbers(rig, 2)
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]
    rig.protocol.on_event = lambda event: getattr(rig.transport, closing)()

    with pytest.raises(EndpointClosedError):
        send()
    assert rig.io.out == numbers(1)


@WAYS
def test_an_exact_send_is_not_the_first_of_a_turn(rig: Rig, way: int) -> None:
    """It has nothing to do with the gathering."""
    sends(rig)[way]()
    before = len(rig.io.out)

    rig.transport.sendto(b"payload", PEER)

    assert rig.io.out[before:] == [(b"payload", PEER)]


@WAYS
def test_an_exact_send_raises_that_there_is_no_room(rig: Rig, way: int) -> None:
    """It keeps nothing: the caller has the datagram still."""
    rig.io.room = 0

    with pytest.raises(BlockingIOError):
        sends(rig)[way]()
    assert rig.transport.get_write_buffer_size() == 0
    assert rig.transport.stats().send_errors == 0


@WAYS
def test_an_exact_send_raises_that_it_is_closed(rig: Rig, way: int) -> None:
    """It is not ignored in silence."""
    send = sends(rig)[way]
    rig.transport.close()

    with pytest.raises(EndpointClosedError):
        send()


@WAYS
def test_an_exact_send_raises_its_own_error(rig: Rig, way: int) -> None:
    """With the size and the destination; it's counted, and not reported elsewhere."""
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]

    with pytest.raises(PermissionError) as caught:
        sends(rig)[way]()
    assert str(caught.value) == (
        f"[Errno {errno.EPERM}] Operation not permitted "
        "(sending 2 bytes to ('127.0.0.1', 9))"
    )
    assert rig.transport.stats().send_errors == 1
    assert (rig.events, rig.loop.soon) == ([], [])


@WAYS
def test_an_earlier_datagrams_error_does_not_stop_this_one(
    make_rig: MakeRig, way: int
) -> None:
    """It is sent again, and the protocol hears of the error on the next turn."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED]

    sends(rig, None)[way]()
    before = [*rig.events]
    rig.loop.turn()

    assert rig.io.out[0] == (b"xy", None)
    assert (before, rig.events) == ([], [REFUSED])
    assert rig.transport.stats().receive_errors == 1
    assert rig.transport.stats().send_errors == 0


@WAYS
def test_sending_again_may_find_no_room(make_rig: MakeRig, way: int) -> None:
    """Then the caller waits, as after any refusal."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED]
    rig.io.room = 0

    with pytest.raises(BlockingIOError):
        sends(rig, None)[way]()


@WAYS
def test_sending_again_may_meet_an_error_of_its_own(
    make_rig: MakeRig, way: int
) -> None:
    """That one is raised."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED, PermissionError(errno.EPERM, "Operation not permitted")]

    with pytest.raises(PermissionError, match=r"2 bytes to \('127\.0\.0\.1', 9\)"):
        sends(rig, None)[way]()


@WAYS
def test_sending_again_comes_to_an_end(make_rig: MakeRig, way: int) -> None:
    """A system that always answers so is not asked for ever."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED] * 1000

    with pytest.raises(ConnectionRefusedError):
        sends(rig, None)[way]()
    assert len(rig.io.errors) > 900


@with_unix_sockets
def test_a_refusal_by_a_unix_peer_is_about_this_datagram(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """There is no ICMP that could come late: the peer is gone, and the send failed."""
    rig = make_rig(addr=str(tmp_path / "socket"), family=sockets.AF_UNIX)
    rig.io.errors = [REFUSED]

    with pytest.raises(ConnectionRefusedError, match="2 bytes to '/nobody'"):
        rig.transport.try_send(b"xy", "/nobody")
    assert rig.loop.soon == []


def test_the_size_in_an_error_is_in_bytes(rig: Rig) -> None:
    """Whatever the size of an item of the buffer."""
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]

    with pytest.raises(PermissionError, match="sending 16 bytes"):
        rig.transport.try_send(memoryview(bytes(16)).cast("I"), PEER)


def test_an_error_without_a_destination_names_none(rig: Rig) -> None:
    """Here the destination is what is missing, and the error says how to give one."""
    rig.io.errors = [OSError(errno.EDESTADDRREQ, "Destination address required")]

    with pytest.raises(OSError, match=r"\(sending 2 bytes; pass an address, or "):
        rig.transport.try_send(b"xy")


@pytest.mark.parametrize("addr", [PEER, ("::ffff:127.0.0.1", 9), None])
def test_a_connected_transport_takes_its_peers_address(
    make_rig: MakeRig, addr: Any
) -> None:
    """However it is written, the kernel gets none: the socket is connected."""
    rig = make_rig(peer=PEER)

    rig.transport.try_send(b"xy", addr)

    assert rig.io.out == [(b"xy", None)]


@WAYS
def test_a_connected_transport_sends_to_nobody_else(
    make_rig: MakeRig, way: int
) -> None:
    """The error names both addresses."""
    rig = make_rig(peer=PEER)

    with pytest.raises(ValueError, match=r"connected to .*9\), cannot send to .*10\)"):
        sends(rig, OTHER)[way]()
    assert rig.io.out == []


def test_a_buffer_with_gaps_is_sent(rig: Rig) -> None:
    """As the bytes that it stands for; the kernel takes only whole pieces."""
    every_second = memoryview(b"a_b_c_")[::2]

    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as sock:
        loop: Any = rig.loop
        io = BatchSocket(sock, gso_segments=1, gro=False)
        transport = SelectorTransport(loop, sock, Recorder(), io)
        transport.try_send(every_second, sock.getsockname())
        transport.sendto(every_second, sock.getsockname())

        assert [sock.recv(100), sock.recv(100)] == [b"abc", b"abc"]


def test_prepare_copies_what_can_change(rig: Rig) -> None:
    """What waits is what was given."""
    data = bytearray(b"xy")
    prepared = rig.transport.prepare([(data, PEER), (memoryview(data), PEER)])

    data[:] = b"__"

    assert prepared == [(b"xy", PEER), (b"xy", PEER)]


def test_prepare_does_not_copy_bytes(rig: Rig) -> None:
    """They cannot change."""
    data = b"payload"

    ((prepared, _),) = rig.transport.prepare([(data, PEER)])

    assert prepared is data


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (("text", PEER), TypeError, "bytes-like"),
        ((None, PEER), TypeError, "bytes-like"),
        ((b"xy", "text"), TypeError, "address"),
        ((b"xy", ["127.0.0.1", 9]), TypeError, "address"),
        ((b"xy", ("localhost", 9)), ValueError, "resolve"),
        (b"xyz", TypeError, "pair"),
        ((b"xy",), TypeError, "pair"),
        ((b"xy", PEER, 3), TypeError, "SendOptions"),
        ((b"xy", PEER, None, 3), TypeError, "pair"),
        (3, TypeError, "pair"),
    ],
)
def test_prepare_refuses_what_cannot_be_sent(
    rig: Rig, item: Any, error: type[Exception], message: str
) -> None:
    """Before anything goes out."""
    with pytest.raises(error, match=message):
        rig.transport.prepare([(b"xy", PEER), item])


def test_try_send_many_starts_at_an_index(rig: Rig) -> None:
    """The caller goes on behind what is out."""
    prepared = rig.transport.prepare([(b"%d" % number, PEER) for number in range(4)])

    assert rig.transport.try_send_many(prepared, 2) == 2
    assert rig.io.out == [(b"2", PEER), (b"3", PEER)]


def test_try_send_many_names_the_datagram_at_the_start(rig: Rig) -> None:
    """It is the one that the error is about."""
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]
    prepared = rig.transport.prepare([(b"", PEER), (b"xyz", OTHER)])

    with pytest.raises(PermissionError, match=r"3 bytes to \('127\.0\.0\.1', 10\)"):
        rig.transport.try_send_many(prepared, 1)


# -- waiting for room


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as sock:
        yield sock


class ManualTransport(SelectorTransport):
    """A transport whose socket is writable when the test says so."""

    def _watch_writable(self) -> bool:
        return True

    def _unwatch_writable(self) -> None:
        pass

    def claim_writable(self) -> None:
        self._on_writable()


@pytest.fixture
async def manual(sock: socket.socket) -> AsyncIterator[ManualTransport]:
    loop = asyncio.get_running_loop()
    transport = ManualTransport(loop, sock, Recorder(), FakeIO(sock))
    yield transport
    transport.abort()


async def test_a_sender_waits_for_room(sock: socket.socket) -> None:
    """It goes on when the socket is writable, which a real one is at once."""
    loop = asyncio.get_running_loop()
    transport = SelectorTransport(loop, sock, Recorder(), FakeIO(sock))

    async with asyncio.timeout(10):
        await transport.wait_writable()

    transport.abort()


async def test_everybody_who_waits_is_woken(
    manual: ManualTransport, until_blocked: UntilBlocked
) -> None:
    """One after another they will try; who comes first is not settled here."""
    tasks = [asyncio.create_task(manual.wait_writable()) for _ in range(2)]
    await until_blocked(*tasks)
    before = [task.done() for task in tasks]

    manual.claim_writable()
    await asyncio.gather(*tasks)

    assert before == [False, False]


async def test_closing_wakes_who_waits_for_room(
    manual: ManualTransport, until_blocked: UntilBlocked
) -> None:
    """The next attempt will find it closed."""
    task = asyncio.create_task(manual.wait_writable())
    await until_blocked(task)

    manual.close()

    await task


async def test_nobody_waits_for_room_on_a_closed_transport(
    manual: ManualTransport,
) -> None:
    """It would never come."""
    manual.close()

    await manual.wait_writable()


async def test_a_cancelled_sender_waits_no_more(
    manual: ManualTransport, until_blocked: UntilBlocked
) -> None:
    """The others are woken as if it had never been there."""
    first, second = tasks = [
        asyncio.create_task(manual.wait_writable()) for _ in range(2)
    ]
    await until_blocked(*tasks)
    first.cancel()
    await until_blocked(*tasks)

    manual.claim_writable()
    await second

    assert first.cancelled()


async def test_a_sender_cancelled_after_it_was_woken_is_cancelled(
    manual: ManualTransport, until_blocked: UntilBlocked
) -> None:
    """The wake-up and the cancellation may fall into one turn."""
    task = asyncio.create_task(manual.wait_writable())
    await until_blocked(task)

    manual.claim_writable()
    task.cancel()
    manual.claim_writable()  # finds a waiter that is done already

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_buffered_goes_before_who_waits(
    manual: ManualTransport, until_blocked: UntilBlocked
) -> None:
    """A waiting sender is woken once ``sendto``'s datagrams are out."""
    io: Any = manual._io
    io.room = 0
    manual.sendto(b"first", PEER)
    task = asyncio.create_task(manual.wait_writable())
    await until_blocked(task)

    manual.claim_writable()  # still no room
    await until_blocked(task)
    before = task.done()
    io.room = 1
    manual.claim_writable()
    await task

    assert (before, io.out) == (False, [(b"first", PEER)])
