"""Receiving from a socket that gives what the test says: errors, broken trains."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket

from .support import EVERYTHING, HERE

Read = tuple[bytes, list[tuple[int, int, bytes]], int, Any] | OSError


class ScriptedSocket:
    """A socket whose reads give what the test says, and then nothing more."""

    family = socket.AF_INET

    def __init__(self, *script: Read) -> None:
        self.script = deque(script)
        self.attempts = 0

    def recvmsg(self, size: int, control_size: int) -> Any:
        self.attempts += 1
        if not self.script:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        read = self.script.popleft()
        if isinstance(read, OSError):
            raise read
        return read

    def recvfrom(self, size: int) -> Any:
        data, _, _, addr = self.recvmsg(size, 0)
        return data, addr


def scripted(*script: Read, gro: bool = True) -> BatchSocket:
    sock: Any = ScriptedSocket(*script)
    return BatchSocket(sock, gso_segments=1, gro=gro)


def read(
    data: bytes, *control: tuple[int, int, bytes], flags: int = 0, addr: Any = HERE
) -> Read:
    return data, list(control), flags, addr


def segments_of(size: int) -> tuple[int, int, bytes]:
    """Return the control message with the segment size of a train."""
    return sockets.SOL_UDP, sockets.UDP_GRO, struct.pack("=i", size)


REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize("gro", [False, True])
def test_an_error_is_raised(gro: bool) -> None:
    """As it came, by the call that met it."""
    batch = scripted(REFUSED, gro=gro)

    with pytest.raises(ConnectionRefusedError) as caught:
        batch.receive(EVERYTHING)
    assert caught.value is REFUSED


@pytest.mark.parametrize("gro", [False, True])
def test_an_error_does_not_cost_the_datagrams_before_it(gro: bool) -> None:
    """They are returned, and the error is kept, to be seen and for the next call."""
    batch = scripted(read(b"1"), read(b"2"), REFUSED, read(b"3"), gro=gro)

    first = batch.receive(EVERYTHING)
    assert batch.pending is REFUSED
    with pytest.raises(ConnectionRefusedError):
        batch.receive(EVERYTHING)
    last = batch.receive(EVERYTHING)

    assert (first, last) == ([(b"1", HERE), (b"2", HERE)], [(b"3", HERE)])


def test_datagrams_before_an_error_are_counted() -> None:
    """The count is of what was handed over."""
    batch = scripted(read(b"1"), read(b"2"), REFUSED)

    batch.receive(EVERYTHING)

    assert (batch.received, batch.received_bytes) == (2, 2)


def test_an_error_is_kept_once() -> None:
    """The call after the one that raised it finds the socket as it is."""
    batch = scripted(read(b"1"), REFUSED)
    batch.receive(EVERYTHING)
    with pytest.raises(ConnectionRefusedError):
        batch.receive(EVERYTHING)

    assert batch.receive(EVERYTHING) == []


@pytest.mark.parametrize(
    "nothing", [BlockingIOError(errno.EAGAIN, ""), InterruptedError(errno.EINTR, "")]
)
def test_a_read_that_finds_nothing_is_no_error(nothing: OSError) -> None:
    """The kernel may announce a datagram and then find its checksum wrong."""
    assert scripted(nothing).receive(EVERYTHING) == []


def test_a_cut_off_train_with_its_segment_size_is_split() -> None:
    """What was cut off was some other control message, which nobody asked for."""
    batch = scripted(read(b"aab", segments_of(2), flags=socket.MSG_CTRUNC))

    assert batch.receive(EVERYTHING) == [(b"aa", HERE), (b"b", HERE)]
    assert batch.truncated == 0


def test_a_train_whose_segment_size_was_cut_off_in_the_middle_is_an_error() -> None:
    """Half a number is no number."""
    half = (sockets.SOL_UDP, sockets.UDP_GRO, b"\x02\x00")
    batch = scripted(read(b"aab", half, flags=socket.MSG_CTRUNC))

    with pytest.raises(OSError, match="control data cut off"):
        batch.receive(EVERYTHING)
    assert batch.truncated == 1


def test_a_cut_off_payload_is_an_error_even_with_its_segment_size() -> None:
    """The last datagrams of the train are lost, and that does not go unseen."""
    batch = scripted(read(b"aab", segments_of(2), flags=socket.MSG_TRUNC))

    with pytest.raises(OSError, match="cut off after 3 bytes"):
        batch.receive(EVERYTHING)
    assert batch.truncated == 1


@pytest.mark.parametrize("segment_size", [-1, 0, 3, 4, 65535])
def test_a_datagram_alone_is_not_split(segment_size: int) -> None:
    """A segment size that leaves one piece, or makes no sense, changes nothing."""
    batch = scripted(read(b"aab", segments_of(segment_size)))

    assert batch.receive(EVERYTHING) == [(b"aab", HERE)]


def test_other_control_messages_are_passed_over() -> None:
    """Whoever adopted the socket may have switched on more of them."""
    same_number = (socket.SOL_SOCKET, sockets.UDP_GRO, struct.pack("=i", 1))
    same_level = (sockets.SOL_UDP, 1, struct.pack("=i", 1))
    batch = scripted(read(b"aab", same_number, same_level, segments_of(2)))

    assert batch.receive(EVERYTHING) == [(b"aa", HERE), (b"b", HERE)]


def test_after_many_single_datagrams_it_seldom_asks_for_more() -> None:
    """A second read would find nothing, and cost as much as the first."""
    sock: Any = ScriptedSocket()
    batch = BatchSocket(sock, gso_segments=1, gro=False)

    def receive_one() -> int:
        sock.script.append(read(b""))
        sock.attempts = 0
        assert len(batch.receive(EVERYTHING)) == 1
        return int(sock.attempts)

    attempts = [receive_one() for _ in range(100)]

    assert set(attempts[:5]) == {2}
    assert 50 <= sum(attempts[50:]) <= 60


def test_what_it_did_not_ask_for_comes_with_the_next_calls() -> None:
    """A burst after many single datagrams arrives whole and in order, soon."""
    sock: Any = ScriptedSocket()
    batch = BatchSocket(sock, gso_segments=1, gro=False)
    for _ in range(50):
        sock.script.append(read(b""))
        batch.receive(EVERYTHING)
    burst = [b"%d" % number for number in range(50)]
    sock.script.extend(read(data) for data in burst)

    received = [batch.receive(EVERYTHING) for _ in range(10)]

    assert [data for datagrams in received for data, _ in datagrams] == burst


def test_when_it_is_thorough_it_always_asks_for_more() -> None:
    """Who wants all that is there gets it, after single datagrams too."""
    sock: Any = ScriptedSocket()
    batch = BatchSocket(sock, gso_segments=1, gro=False)

    for _ in range(50):
        sock.script.append(read(b""))
        batch.receive(EVERYTHING)
        sock.script.extend([read(b"1"), read(b"2")])
        assert len(batch.receive(EVERYTHING, thorough=True)) == 2


def test_an_error_after_many_single_datagrams_is_raised() -> None:
    """The single read meets errors just as a series of them does."""
    sock: Any = ScriptedSocket()
    batch = BatchSocket(sock, gso_segments=1, gro=False)
    for _ in range(50):
        sock.script.append(read(b""))
        batch.receive(EVERYTHING)
    sock.script.append(REFUSED)

    with pytest.raises(ConnectionRefusedError):
        batch.receive(EVERYTHING)
