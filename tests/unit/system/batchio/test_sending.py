"""Sending, both twins on real sockets: batches, trains, what is refused."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import MAX_SINGLES, MAX_TRAINS, BatchSocket

from .support import (
    MakeSocket,
    Twin,
    on_linux,
    reader,
    receive_all,
    skip_without_offload,
    writer,
)

SO_NO_CHECK: Final = 11  # include/uapi/asm-generic/socket.h


def test_a_datagram_is_sent(make_socket: MakeSocket, twin: Twin) -> None:
    """To the address that is given."""
    receiver, sender = make_socket(), make_socket()

    writer(sender, twin=twin).send(b"payload", receiver.getsockname())

    assert receiver.recvfrom(100) == (b"payload", sender.getsockname())


def test_a_datagram_is_sent_to_the_connected_peer(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """No address is needed."""
    receiver, sender = make_socket(), make_socket()
    sender.connect(receiver.getsockname())

    writer(sender, twin=twin).send(b"payload")

    assert receiver.recv(100) == b"payload"


def test_sent_datagrams_are_counted_in_bytes(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """Whatever the size of an item of the buffer."""
    sock = make_socket()
    batch = writer(sock, twin=twin)
    for data in (b"", bytearray(5), memoryview(bytes(16)).cast("I")):
        batch.send(data, sock.getsockname())

    assert (batch.sent, batch.sent_bytes) == (3, 21)


def test_an_address_of_another_family_is_refused(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """Also one that is known already, from a socket that it belonged to."""
    receiver = make_socket()
    addr = receiver.getsockname()
    try:
        other = make_socket(("::", 0), socket.AF_INET6, v6only=False)
    except OSError:
        pytest.skip("cannot: ipv6: :: cannot be bound")
    writer(make_socket(), twin=twin).send(b"payload", addr)
    batch = writer(other, twin=twin)

    with pytest.raises((OSError, ValueError)):
        batch.send(b"refused", addr)
    assert (batch.sent, receive_all(reader(receiver))) == (0, [b"payload"])


@pytest.mark.parametrize("data", ["text", 3, None, [b"list"]])
def test_only_bytes_can_be_sent(data: Any, make_socket: MakeSocket, twin: Twin) -> None:
    """Nothing else is sent, and nothing counted."""
    sock = make_socket()
    batch = writer(sock, twin=twin)

    with pytest.raises(TypeError):
        batch.send(data, sock.getsockname())
    assert (batch.sent, receive_all(reader(sock))) == (0, [])


def test_a_datagram_too_long_is_refused(make_socket: MakeSocket, twin: Twin) -> None:
    """One byte more than IPv4 can carry."""
    sock = make_socket()
    batch = writer(sock, twin=twin)

    with pytest.raises(OSError) as caught:
        batch.send(bytes(65508), sock.getsockname())
    assert (caught.value.errno, batch.sent) == (errno.EMSGSIZE, 0)


@pytest.mark.parametrize(
    ("length", "segment_size", "sizes"),
    [
        (1, 1000, [1]),
        (1000, 1000, [1000]),
        (1001, 1000, [1000, 1]),
        (2000, 1000, [1000, 1000]),
        (2001, 1000, [1000, 1000, 1]),
        (5, 2, [2, 2, 1]),
        (16, 1, [1] * 16),
        (0, 1000, [0]),
    ],
)
@pytest.mark.parametrize("connected", [False, True])
def test_segments_arrive_as_datagrams(
    length: int,
    segment_size: int,
    sizes: list[int],
    connected: bool,
    offload: bool,
    make_socket: MakeSocket,
    twin: Twin,
) -> None:
    """All of the segment size but the last, with and without the kernel's help."""
    receiver, sender = make_socket(), make_socket()
    peer = receiver.getsockname()
    if connected:
        sender.connect(peer)
    data = bytes(range(256)) * 8

    taken = writer(sender, offload, twin=twin).send_segments(
        memoryview(data)[:length], segment_size, None if connected else peer
    )

    received = receive_all(reader(receiver))
    assert taken == length
    assert [len(payload) for payload in received] == sizes
    assert b"".join(received) == data[:length]


def test_segments_are_counted_as_datagrams(
    offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """As if each had been sent on its own."""
    sock = make_socket()
    batch = writer(sock, offload, twin=twin)

    batch.send_segments(memoryview(bytes(2500)), 1000, sock.getsockname())

    assert (batch.sent, batch.sent_bytes) == (3, 2500)


@pytest.mark.parametrize("segments", [64, 65, 128, 129, 500])
def test_any_number_of_segments_can_be_sent(
    segments: int, offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """Whatever the kernel takes in one train, and what is left over after it."""
    receiver, sender = make_socket(), make_socket()
    sockets.grow_buffer(receiver, socket.SO_RCVBUF, sockets.DEFAULT_BUFFER)
    batch = writer(sender, offload, twin=twin)
    data = memoryview(bytes(range(250)) * 2)[: segments - 1]
    data = memoryview(bytes(data) * 2 + b"x")  # segments of 2, and a last one of 1
    position = 0

    for _ in range(segments):
        if position < len(data):
            position += batch.send_segments(data[position:], 2, receiver.getsockname())

    received = receive_all(reader(receiver))
    assert [len(payload) for payload in received] == [2] * (segments - 1) + [1]
    assert b"".join(received) == data


def test_one_call_sends_a_bounded_number_of_trains(
    offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """The caller gives the event loop a turn and goes on from there."""
    sock = make_socket()
    batch = writer(sock, offload, twin=twin)
    data = memoryview(bytes((MAX_TRAINS + 1) * 128))

    taken = batch.send_segments(data, 1, sock.getsockname())

    if offload:
        assert taken == MAX_TRAINS * batch.gso_segments
    else:  # the messages of one sendmmsg are bound enough
        assert taken == (MAX_SINGLES if twin is BatchSocket else 64)


@pytest.mark.parametrize("segment_size", [0, -1])
def test_segments_have_a_size(
    segment_size: int, make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """Nothing is sent, and nothing counted."""
    sock = make_socket()
    batch = writer(sock, offload, twin=twin)

    with pytest.raises(ValueError, match="segment_size must be at least 1"):
        batch.send_segments(memoryview(b"abc"), segment_size, sock.getsockname())
    assert (batch.sent, receive_all(reader(sock))) == (0, [])


@on_linux
def test_a_kernel_that_refuses_trains_gets_single_datagrams(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """Without checksums there is no segmentation: the kernel answers EINVAL."""
    skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    batch = writer(sender, offload=True, twin=twin)

    batch.send_segments(memoryview(b"aabbc"), 2, receiver.getsockname())

    assert receive_all(reader(receiver)) == [b"aa", b"bb", b"c"]
    assert (batch.sent, batch.sent_bytes) == (3, 5)
    assert batch.refusals.destinations() == [receiver.getsockname()]


@on_linux
def test_a_kernel_that_takes_fewer_segments_gets_fewer(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """A train too long for it goes out singly, and the next ones are shorter."""
    skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    batch = twin(sender, gso_segments=1000, gro=False)

    batch.send_segments(memoryview(bytes(200)), 1, receiver.getsockname())

    assert receive_all(reader(receiver)) == [bytes(1)] * 200
    assert batch.gso_segments == 64


@pytest.mark.parametrize("start", [-1, -(2**31), 3, 2**40])
def test_a_batch_begins_at_an_index_of_it(
    make_socket: MakeSocket, twin: Twin, start: int
) -> None:
    """Any other is refused by its name, and nothing is sent."""
    sock = make_socket()
    batch = writer(sock, twin=twin)
    datagrams: list[Any] = [(b"1", sock.getsockname())] * 2

    with pytest.raises(ValueError, match=rf"start must be from 0 to 2, got {start}"):
        batch.send_batch(datagrams, start)
    assert (batch.send_batch(datagrams, 2), batch.sent) == (0, 0)


@pytest.mark.parametrize("connected", [False, True])
def test_a_batch_arrives(
    connected: bool, offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """Exactly as it was given, whatever could be sent as trains."""
    receiver, sender = make_socket(), make_socket()
    peer = receiver.getsockname()
    if connected:
        sender.connect(peer)
    payloads = [b"aa", b"bb", b"c", b"dd", b"", b"", b"eeee", b"f" * 3000, b"gg", b"hh"]
    datagrams = [(data, None if connected else peer) for data in payloads]
    batch = writer(sender, offload, twin=twin)

    assert batch.send_batch(datagrams) == len(payloads)
    assert receive_all(reader(receiver)) == payloads
    assert (batch.sent, batch.sent_bytes) == (10, sum(map(len, payloads)))


def test_a_batch_goes_to_several_peers(
    offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """Each gets its own, in order."""
    receivers = [make_socket(), make_socket()]
    sender = make_socket()
    datagrams = [
        (b"%d" % number, receivers[number // 3 % 2].getsockname())
        for number in range(12)
    ]

    writer(sender, offload, twin=twin).send_batch(datagrams)

    received = [receive_all(reader(receiver)) for receiver in receivers]
    assert received == [
        [b"0", b"1", b"2", b"6", b"7", b"8"],
        [b"3", b"4", b"5", b"9", b"10", b"11"],
    ]


def test_a_batch_can_begin_in_the_middle(
    offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """The caller goes on where the last call stopped."""
    sock = make_socket()
    datagrams = [(b"%d" % number, sock.getsockname()) for number in range(5)]

    assert writer(sock, offload, twin=twin).send_batch(datagrams, 3) == 2
    assert receive_all(reader(sock)) == [b"3", b"4"]


def test_an_empty_batch_sends_nothing(make_socket: MakeSocket, twin: Twin) -> None:
    """Nor is it an error."""
    assert writer(make_socket(), twin=twin).send_batch([]) == 0


def test_a_refused_datagram_stops_the_batch(
    offload: bool, make_socket: MakeSocket, twin: Twin
) -> None:
    """What stands before it is out; the next call meets the error itself."""
    sock = make_socket()
    addr = sock.getsockname()
    batch = writer(sock, offload, twin=twin)
    datagrams = [(b"1", addr), (b"2", addr), (bytes(70000), addr), (b"4", addr)]

    assert batch.send_batch(datagrams) == 2
    with pytest.raises(OSError) as caught:
        batch.send_batch(datagrams, 2)
    assert batch.send_batch(datagrams, 3) == 1
    assert caught.value.errno == errno.EMSGSIZE
    assert receive_all(reader(sock)) == [b"1", b"2", b"4"]


@on_linux
def test_a_kernel_that_refuses_trains_gets_the_datagrams_of_a_batch(
    make_socket: MakeSocket, twin: Twin, caplog: pytest.LogCaptureFixture
) -> None:
    """Each once and in order; after that no train is tried, which is logged once."""
    skip_without_offload()
    caplog.set_level(logging.INFO, "aioudp")
    receiver, sender = make_socket(), make_socket()
    sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    batch = writer(sender, offload=True, twin=twin)
    payloads = [b"aa", b"bb", b"c", b"dd", b"", b"ee"]
    datagrams: list[Any] = [(data, receiver.getsockname()) for data in payloads]

    for _ in range(2):
        position = 0
        for _ in payloads:
            if position < len(payloads):
                position += batch.send_batch(datagrams, position)

    assert receive_all(reader(receiver)) == payloads * 2
    assert (batch.sent, batch.sent_bytes) == (12, 18)
    assert batch.refusals.destinations() == [receiver.getsockname()]
    (message,) = caplog.messages
    assert f"from fd {sender.fileno()} to {receiver.getsockname()}" in message
