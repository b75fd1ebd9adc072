"""Sending to a kernel that refuses trains, or has no room, when the test says so."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
from aioudp._system.refusals import SINGLES

from .support import EVERYTHING, HERE, THERE


class FakeKernel:
    """A socket that takes what the test lets it take, and remembers it."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.trains = 0  # those taken
        self.refused_trains = 0
        self.room = EVERYTHING  # datagrams
        self.max_segments = 128
        self.train_error: int | None = None
        self.bad_payloads: dict[bytes, int] = {}

    def fileno(self) -> int:
        return 7

    def send(self, data: Any) -> int:
        return self.sendto(data, None)

    def sendto(self, data: Any, addr: Any) -> int:
        payload = bytes(data)
        if payload in self.bad_payloads:
            raise OSError(self.bad_payloads[payload], "refused")
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "no room")
        self.room -= 1
        self.sent.append((payload, addr))
        return len(payload)

    def sendmsg(
        self,
        buffers: list[Any],
        control: list[tuple[int, int, bytes]],
        flags: int = 0,
        addr: Any = None,
    ) -> int:
        (buffer,) = map(bytes, buffers)
        ((level, kind, value),) = control
        assert (level, kind) == (sockets.SOL_UDP, sockets.UDP_SEGMENT)
        (size,) = struct.unpack("=H", value)
        pieces = [buffer[at : at + size] for at in range(0, len(buffer), size)]
        error = self.train_error
        if error is None and len(pieces) > self.max_segments:
            error = errno.EINVAL
        if error is None and len(pieces) > self.room:
            error = errno.EAGAIN
        if error is not None:
            self.refused_trains += 1
            raise OSError(error, "train refused")
        self.trains += 1
        for piece in pieces:
            self.sendto(piece, addr)
        return len(buffer)


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def over(kernel: FakeKernel, gso_segments: int = 128) -> BatchSocket:
    sock: Any = kernel
    return BatchSocket(sock, gso_segments=gso_segments, gro=False)


def letters(text: str) -> list[tuple[bytes, Any]]:
    """Return one datagram to HERE for each word of the text."""
    return [(word.encode(), HERE) for word in text.split()]


TRAIN_ERRORS: Final = [errno.EIO, errno.EINVAL, errno.EMSGSIZE]


def test_equal_datagrams_to_one_peer_go_as_one_train(kernel: FakeKernel) -> None:
    """One system call instead of three."""
    over(kernel).send_batch(letters("aa bb c"))

    assert (kernel.trains, kernel.sent) == (1, letters("aa bb c"))


def test_without_offload_no_train_is_tried(kernel: FakeKernel) -> None:
    """Whoever switched it off gets one system call for each datagram."""
    batch = over(kernel, gso_segments=1)

    batch.send_batch(letters("aa bb c"))
    batch.send_segments(memoryview(b"ddee"), 2, HERE)

    assert kernel.trains == kernel.refused_trains == 0
    assert kernel.sent == letters("aa bb c dd ee")


def test_a_single_segment_is_no_train(kernel: FakeKernel) -> None:
    """A segment size that the data does not fill needs no segmentation."""
    over(kernel).send_segments(memoryview(b"aa"), 2, HERE)

    assert (kernel.trains, kernel.sent) == (0, letters("aa"))


@pytest.mark.parametrize("error", TRAIN_ERRORS)
def test_a_refused_train_goes_out_singly(kernel: FakeKernel, error: int) -> None:
    """Every datagram once, in order."""
    kernel.train_error = error
    batch = over(kernel)

    assert batch.send_segments(memoryview(b"aabbc"), 2, HERE) == 5
    assert kernel.sent == letters("aa bb c")
    assert (batch.sent, batch.sent_bytes) == (3, 5)


@pytest.mark.parametrize("error", TRAIN_ERRORS)
def test_a_refused_train_of_a_batch_goes_out_singly(
    kernel: FakeKernel, error: int
) -> None:
    """The same for datagrams that were joined here."""
    kernel.train_error = error
    batch = over(kernel)

    assert batch.send_batch(letters("aa bb c dd")) == 4
    assert kernel.sent == letters("aa bb c dd")
    assert (batch.sent, batch.sent_bytes) == (4, 7)


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL])
def test_a_destination_that_refuses_trains_gets_single_datagrams(
    kernel: FakeKernel, error: int
) -> None:
    """First shorter trains are tried, then none for a while."""
    kernel.train_error = error
    batch = over(kernel)
    steps = []
    for _ in range(4):
        steps.append((batch.gso_segments, batch.refusals.destinations()))
        batch.send_batch(letters("a") * 128)

    assert steps == [(128, []), (64, []), (64, [HERE]), (64, [HERE])]
    assert kernel.refused_trains == 2
    assert kernel.sent == letters("a") * 512


@pytest.mark.parametrize("connected", [False, True])
def test_after_a_while_a_train_is_tried_again(
    kernel: FakeKernel, connected: bool
) -> None:
    """What was wrong with the route may be mended; if not, it costs one call."""
    addr = None if connected else HERE
    batch = over(kernel)
    datagrams: list[Any] = [(b"aa", addr)] * 64
    kernel.train_error = errno.EINVAL
    batch.send_batch(datagrams)
    kernel.train_error = None

    singles = 0
    while not kernel.trains:
        singles = len(kernel.sent) - 64
        batch.send_batch(datagrams)

    assert SINGLES <= singles < SINGLES + 64
    assert batch.refusals.destinations() == []
    assert kernel.refused_trains == 1


def test_a_destination_that_refuses_trains_costs_no_other(kernel: FakeKernel) -> None:
    """Trains to others still go out whole, of a batch and of segments."""
    batch = over(kernel)
    kernel.train_error = errno.EINVAL
    batch.send_segments(memoryview(b"aabb"), 2, HERE)
    kernel.train_error = None

    batch.send_segments(memoryview(b"aabb"), 2, HERE)
    batch.send_segments(memoryview(b"aabb"), 2, THERE)
    batch.send_batch([(b"aa", HERE)] * 3 + [(b"aa", THERE)] * 3)

    assert (kernel.trains, kernel.refused_trains) == (2, 1)
    assert batch.gso_segments == 128


def test_an_older_kernel_keeps_the_offload(kernel: FakeKernel) -> None:
    """It takes trains of 64, as all did before Linux 6.9."""
    kernel.max_segments = 64
    batch = over(kernel)

    batch.send_segments(memoryview(bytes(300)), 1, HERE)

    assert batch.gso_segments == 64
    assert (kernel.refused_trains, kernel.trains) == (1, 3)
    assert len(kernel.sent) == 300


def test_a_segment_too_long_for_the_route_keeps_the_offload(kernel: FakeKernel) -> None:
    """Another segment size, or another peer, may well go."""
    kernel.train_error = errno.EMSGSIZE
    batch = over(kernel)
    batch.send_segments(memoryview(b"aabb"), 2, HERE)
    kernel.train_error = None

    batch.send_segments(memoryview(b"ccdd"), 2, HERE)

    assert (batch.gso_segments, kernel.trains) == (128, 1)


def test_the_first_refusal_is_logged_and_the_others_are_details(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, the socket and the destination; peers cannot flood the log."""
    caplog.set_level(logging.DEBUG, "aioudp")
    kernel.train_error = errno.EIO
    batch = over(kernel)

    for addr in HERE, THERE, HERE:
        batch.send_segments(memoryview(b"aabb"), 2, addr)

    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.INFO, logging.DEBUG]
    first = caplog.messages[0]
    assert "segmentation offload is off for the next 1024 datagrams" in first
    assert f"from fd 7 to {HERE}" in first
    assert "train refused" in first


def test_a_datagram_that_is_refused_itself_does_not_end_the_offload(
    kernel: FakeKernel,
) -> None:
    """Port 0 is EINVAL with and without a train."""
    kernel.train_error = errno.EINVAL
    kernel.bad_payloads = {b"aa": errno.EINVAL}
    batch = over(kernel)

    with pytest.raises(OSError, match="refused") as caught:
        batch.send_segments(memoryview(b"aabb"), 2, HERE)
    assert (caught.value.errno, batch.gso_segments) == (errno.EINVAL, 128)
    assert (kernel.sent, batch.sent) == ([], 0)


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENETUNREACH, errno.ENOBUFS])
def test_other_errors_are_not_about_the_train(kernel: FakeKernel, error: int) -> None:
    """They are raised at once: the datagrams would fare no better one by one."""
    kernel.train_error = error
    batch = over(kernel)

    with pytest.raises(OSError) as caught:
        batch.send_segments(memoryview(b"aabb"), 2, HERE)
    assert (caught.value.errno, kernel.sent, batch.gso_segments) == (error, [], 128)


@pytest.mark.parametrize("gso_segments", [1, 128])
def test_no_room_at_all_is_raised(kernel: FakeKernel, gso_segments: int) -> None:
    """The caller waits; nothing was sent, nothing counted."""
    kernel.room = 0
    batch = over(kernel, gso_segments)

    with pytest.raises(BlockingIOError):
        batch.send(b"a", HERE)
    with pytest.raises(BlockingIOError):
        batch.send_segments(memoryview(b"aabb"), 2, HERE)
    with pytest.raises(BlockingIOError):
        batch.send_batch(letters("aa bb"))
    assert (batch.sent, batch.sent_bytes, batch.gso_segments) == (0, 0, gso_segments)


def test_room_for_some_segments_takes_those(kernel: FakeKernel) -> None:
    """Whole datagrams; the caller goes on behind them."""
    kernel.room = 2
    batch = over(kernel, gso_segments=1)

    assert batch.send_segments(memoryview(b"aabbc"), 2, HERE) == 4
    assert kernel.sent == letters("aa bb")
    assert (batch.sent, batch.sent_bytes) == (2, 4)


def test_room_for_some_trains_takes_those(kernel: FakeKernel) -> None:
    """A train goes whole or not at all."""
    kernel.room = 300
    batch = over(kernel)

    assert batch.send_segments(memoryview(bytes(1000)), 1, HERE) == 256
    assert (kernel.trains, batch.sent) == (2, 256)


@pytest.mark.parametrize("error", TRAIN_ERRORS)
@pytest.mark.parametrize("room", [1, 2])
def test_room_for_some_of_a_refused_train_takes_those(
    kernel: FakeKernel, error: int, room: int
) -> None:
    """Going out singly, a train may get stuck half-way; none goes twice."""
    kernel.train_error = error
    kernel.room = room
    batch = over(kernel)

    assert batch.send_segments(memoryview(b"aabbc"), 2, HERE) == 2 * room
    assert kernel.sent == letters("aa bb")[:room]
    assert (batch.sent, batch.sent_bytes) == (room, 2 * room)


@pytest.mark.parametrize("gso_segments", [1, 128])
@pytest.mark.parametrize("train_error", [None, errno.EIO])
@pytest.mark.parametrize("room", range(1, 8))
def test_room_for_some_of_a_batch_takes_those(
    kernel: FakeKernel, room: int, train_error: int | None, gso_segments: int
) -> None:
    """The number says where to go on: then every datagram is out once, in order."""
    kernel.train_error = train_error
    batch = over(kernel, gso_segments)
    datagrams = letters("a b ccc dd ee ff g h")
    position = 0

    for _ in range(8):
        kernel.room = room
        try:
            position += batch.send_batch(datagrams, position)
        except BlockingIOError:  # less room than the train needs: a whole buffer free
            kernel.room = EVERYTHING
            position += batch.send_batch(datagrams, position)

    assert position == 8
    assert kernel.sent == datagrams
    assert (batch.sent, batch.sent_bytes) == (8, 13)


@pytest.mark.parametrize("gso_segments", [1, 128])
@pytest.mark.parametrize("bad", range(6))
def test_a_bad_datagram_is_raised_when_it_is_the_first(
    kernel: FakeKernel, bad: int, gso_segments: int
) -> None:
    """Before, the number of those that are out says where it stands."""
    datagrams: list[tuple[bytes, Any]] = [
        (bytes([number]), (HERE, THERE)[number // 3]) for number in range(6)
    ]
    kernel.train_error = errno.EINVAL
    kernel.bad_payloads = {bytes([bad]): errno.EINVAL}
    batch = over(kernel, gso_segments)
    position = 0
    errors = []

    for _ in range(6):
        if position == 6:
            break
        try:
            position += batch.send_batch(datagrams, position)
        except OSError:
            errors.append(position)
            position += 1

    assert errors == [bad]
    assert kernel.sent == datagrams[:bad] + datagrams[bad + 1 :]


def test_a_refused_segment_is_raised_when_it_is_the_first(kernel: FakeKernel) -> None:
    """Those before it are out, and the caller knows how many bytes that was."""
    kernel.bad_payloads = {b"cc": errno.EPERM}
    batch = over(kernel, gso_segments=1)
    data = memoryview(b"aabbccdd")

    assert batch.send_segments(data, 2, HERE) == 4
    with pytest.raises(PermissionError):
        batch.send_segments(data[4:], 2, HERE)
    assert kernel.sent == letters("aa bb")
