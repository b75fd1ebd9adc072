"""Receiving, both twins on real sockets: order, trains, limits, counts."""

from __future__ import annotations

import errno
import pickle
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from aioudp._system import batchio, sockets
from aioudp._system.batchio import MAX_BYTES, MAX_READS
from aioudp._types import Datagram, Message

from .support import (
    EVERYTHING,
    MakeSocket,
    Twin,
    on_linux,
    reader,
    receive_all,
    skip_without_offload,
)

with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)


def test_an_empty_socket_gives_nothing(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """It does not wait, and it is not an error."""
    batch = reader(make_socket(), offload, twin=twin)

    assert batch.receive(EVERYTHING) == []


def test_datagrams_come_with_their_sender(
    host: str, family: int, make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """In order, empty ones among them, each with the address to answer to."""
    receiver = make_socket((host, 0), family)
    sender = make_socket((host, 0), family)
    batch = reader(receiver, offload, twin=twin)
    for data in (b"first", b"", b"third"):
        sender.sendto(data, receiver.getsockname())

    assert batch.receive(EVERYTHING) == [
        Datagram(data, sender.getsockname()) for data in (b"first", b"", b"third")
    ]


def test_what_is_received_is_of_the_public_class(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """The fields have names, and the payload is bytes."""
    sock = make_socket()
    batch = reader(sock, offload, twin=twin)
    sock.sendto(b"payload", sock.getsockname())

    (datagram,) = batch.receive(EVERYTHING)

    assert (type(datagram), type(datagram.data)) == (Datagram, bytes)


@pytest.mark.parametrize("kind", [Datagram, Message])
def test_what_is_received_is_a_tuple_like_any_other(
    make_socket: MakeSocket, twin: Twin, kind: type
) -> None:
    """It is equal to one that was made by hand, hashes alike and survives pickling."""
    sock = make_socket()
    if kind is Message:
        sockets.enable_packet_info(sock, "software")
    batch = reader(sock, twin=twin, packet_info=kind is Message)
    for payload in (b"", b"1", b"2"):
        sock.sendto(payload, sock.getsockname())

    received: list[Any] = batch.receive(EVERYTHING)
    by_hand = [kind(*one) for one in received]

    assert received == by_hand
    assert list(map(hash, received)) == list(map(hash, by_hand))
    assert set(received) == set(by_hand)
    assert len(set(map(hash, received))) == 3
    assert pickle.loads(pickle.dumps(received)) == by_hand


def test_a_dual_stack_socket_reports_plain_ipv4(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """Callers never see the mapped form."""
    try:
        receiver = make_socket(("::", 0), socket.AF_INET6, v6only=False)
    except OSError:
        pytest.skip("cannot: ipv6: :: cannot be bound")
    sender = make_socket()
    batch = reader(receiver, offload, twin=twin)
    sender.sendto(b"payload", ("127.0.0.1", receiver.getsockname()[1]))

    assert batch.receive(EVERYTHING) == [(b"payload", sender.getsockname())]


@pytest.mark.parametrize("offload_too", [False, True])
def test_a_mapped_address_can_be_kept(
    make_socket: MakeSocket, offload: bool, offload_too: bool, twin: Twin
) -> None:
    """Some callers want what the kernel says; both kinds of reader see one sender."""
    try:
        receivers = [
            make_socket(("::", 0), socket.AF_INET6, v6only=False) for _ in range(2)
        ]
    except OSError:
        pytest.skip("cannot: ipv6: :: cannot be bound")
    sender = make_socket()
    host, port = sender.getsockname()
    plain = reader(receivers[0], offload, twin=twin)
    mapped = reader(receivers[1], offload_too, twin=twin, unmap=False)

    for _ in range(2):
        for receiver in receivers:
            sender.sendto(b"payload", (host, receiver.getsockname()[1]))
        assert plain.receive(EVERYTHING) == [(b"payload", (host, port))]
        assert mapped.receive(EVERYTHING) == [
            (b"payload", (f"::ffff:{host}", port, 0, 0))
        ]


@pytest.mark.parametrize("unmap", [False, True])
def test_an_address_that_is_not_mapped_is_left_alone(
    unmap: bool,
    host: str,
    family: int,
    make_socket: MakeSocket,
    offload: bool,
    twin: Twin,
) -> None:
    """Whether or not mapped ones would be."""
    receiver, sender = make_socket((host, 0), family), make_socket((host, 0), family)
    batch = reader(receiver, offload, twin=twin, unmap=unmap)
    sender.sendto(b"payload", receiver.getsockname())

    assert batch.receive(EVERYTHING) == [(b"payload", sender.getsockname())]


def test_received_datagrams_are_counted(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """Their number and their bytes; an empty one counts as a datagram."""
    sock = make_socket()
    batch = reader(sock, offload, twin=twin)
    for data in (b"12345", b"", b"123"):
        sock.sendto(data, sock.getsockname())

    batch.receive(EVERYTHING)

    assert (batch.received, batch.received_bytes) == (3, 8)


def test_the_longest_datagram_arrives_whole(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """65507 bytes over IPv4: the length field has 16 bits, headers included."""
    sock = make_socket()
    batch = reader(sock, offload, twin=twin)
    payload = bytes(range(256)) * 255 + bytes(227)
    sock.sendto(payload, sock.getsockname())

    assert receive_all(batch) == [payload]


def test_a_receive_stops_after_so_many_reads(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """A flood leaves the event loop its turns; the rest waits for the next call."""
    sock = make_socket()
    batch = reader(sock, offload, twin=twin)
    for number in range(MAX_READS + 3):
        sock.sendto(b"%d" % number, sock.getsockname())

    lengths = [len(batch.receive(EVERYTHING)) for _ in range(3)]

    assert lengths == [MAX_READS, 3, 0]


def test_a_receive_stops_after_so_many_bytes(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """What is more than a cache holds waits for the next call."""
    size, count = 30_000, 60
    sock = make_socket()
    sockets.grow_buffer(sock, socket.SO_RCVBUF, sockets.DEFAULT_BUFFER)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * size * count:
        pytest.skip("cannot: rmem: this system limits the receive buffer too much")
    batch = reader(sock, offload, twin=twin)
    for number in range(count):
        sock.sendto(bytes([number]) * size, sock.getsockname())

    first = [data for data, _ in batch.receive(EVERYTHING)]

    assert MAX_BYTES <= len(first) * size <= MAX_BYTES + batchio._MAX_READ
    assert first + receive_all(batch) == [bytes([n]) * size for n in range(count)]


def test_long_datagrams_after_short_ones_are_limited_too(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """What comes next is a guess; wrong, it costs one larger receive, of 2 MiB."""
    short, size, count = 100, 60_000, 60
    sock = make_socket()
    sockets.grow_buffer(sock, socket.SO_RCVBUF, 4 * sockets.DEFAULT_BUFFER)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * size * count:
        pytest.skip("cannot: rmem: this system limits the receive buffer too much")
    batch = reader(sock, twin=twin)
    for payload in [b"1"] * short + [bytes(size)] * count:
        sock.sendto(payload, sock.getsockname())

    batches = []
    while datagrams := batch.receive(EVERYTHING):
        batches.append(sum(len(data) for data, _ in datagrams))

    assert sum(batches) == short + size * count
    limit = MAX_BYTES + batchio._MAX_READ
    assert sum(total > limit for total in batches) <= 1
    assert max(batches) <= 2 * 1024 * 1024


def test_a_receive_stops_at_what_is_wanted(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """What there is no room for stays in the kernel."""
    sock = make_socket()
    batch = reader(sock, offload, twin=twin)
    for number in range(5):
        sock.sendto(b"%d" % number, sock.getsockname())

    first = [data for data, _ in batch.receive(2)]

    assert (first, receive_all(batch)) == ([b"0", b"1"], [b"2", b"3", b"4"])


@on_linux
def test_a_train_is_received_as_its_datagrams(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """One read gives them all, even if fewer were wanted: a train is not torn."""
    skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    batch = reader(receiver, offload=True, twin=twin)
    _send_train(sender, b"a" * 1000 + b"b" * 1000 + b"c" * 500, 1000, receiver)

    datagrams = batch.receive(1)

    assert datagrams == [
        (b"a" * 1000, sender.getsockname()),
        (b"b" * 1000, sender.getsockname()),
        (b"c" * 500, sender.getsockname()),
    ]


@on_linux
def test_the_datagrams_of_a_train_are_counted(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """As if each had come on its own."""
    skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    batch = reader(receiver, offload=True, twin=twin)
    _send_train(sender, bytes(2500), 1000, receiver)

    batch.receive(EVERYTHING)

    assert (batch.received, batch.received_bytes) == (3, 2500)


@on_linux
@pytest.mark.parametrize("segment_size", [1, 100, 1472, 30000])
def test_trains_and_single_reads_give_the_same(
    segment_size: int, make_socket: MakeSocket, twin: Twin
) -> None:
    """The fast way and the slow way differ in nothing that can be seen."""
    skip_without_offload()
    train = bytes(range(256)) * 255
    train = train[: 100 * segment_size]
    received = []
    for offload in (False, True):
        receiver, sender = make_socket(), make_socket()
        batch = reader(receiver, offload, twin=twin)
        _send_train(sender, train, segment_size, receiver)
        received.append(receive_all(batch))

    assert b"".join(received[0]) == train
    assert received[0] == received[1]


@on_linux
def test_trains_of_different_senders_stay_apart(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """Each datagram comes with the address of the one who sent it."""
    skip_without_offload()
    receiver, *senders = make_socket(), make_socket(), make_socket()
    batch = reader(receiver, offload=True, twin=twin)
    for sender in (*senders, *senders):
        _send_train(sender, bytes(150), 100, receiver)

    addrs = [addr for _, addr in batch.receive(EVERYTHING)]

    first, second = (sender.getsockname() for sender in senders)
    assert addrs == [first, first, second, second] * 2


def _send_train(
    sender: Any, train: bytes, segment_size: int, receiver: socket.socket
) -> None:
    """Send a train with the kernel's own means, and none of ours."""
    size = struct.pack("=H", segment_size)
    control = (socket.IPPROTO_UDP, sockets.UDP_SEGMENT, size)
    sender.sendmsg([train], [control], 0, receiver.getsockname())


@on_linux
def test_a_datagram_that_was_cut_off_is_an_error(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and not handed over as if it were whole."""
    skip_without_offload()
    monkeypatch.setattr(batchio, "_MAX_READ", 4)
    sock = make_socket()
    batch = reader(sock, offload=True)
    sock.sendto(b"too long", sock.getsockname())

    with pytest.raises(OSError, match="cut off after 4 bytes") as caught:
        batch.receive(EVERYTHING)
    assert caught.value.errno == errno.EMSGSIZE
    assert (batch.truncated, batch.received) == (1, 0)


@on_linux
def test_reading_goes_on_after_a_datagram_that_was_cut_off(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is not affected."""
    skip_without_offload()
    monkeypatch.setattr(batchio, "_MAX_READ", 4)
    sock = make_socket()
    batch = reader(sock, offload=True)
    for data in (b"too long", b"next"):
        sock.sendto(data, sock.getsockname())

    with pytest.raises(OSError, match="cut off"):
        batch.receive(EVERYTHING)
    assert receive_all(batch) == [b"next"]


@on_linux
@pytest.mark.parametrize("packet_info", [False, True])
def test_a_train_without_its_segment_size_is_an_error(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch, packet_info: bool
) -> None:
    """It cannot be split, and is never handed over as one datagram."""
    skip_without_offload()
    monkeypatch.setattr(batchio, "_CONTROL_SPACE", 0)
    receiver, sender = make_socket(), make_socket()
    batch = reader(receiver, offload=True, packet_info=packet_info)
    _send_train(sender, bytes(2500), 1000, receiver)

    with pytest.raises(OSError, match="2500 bytes may be several") as caught:
        batch.receive(EVERYTHING)
    assert caught.value.errno == errno.EMSGSIZE
    assert (batch.truncated, batch.received) == (1, 0)


@with_unix_sockets
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 150_000])
def test_a_unix_datagram_arrives_whole(
    size: int, make_socket: MakeSocket, tmp_path: Path
) -> None:
    """However long: the system's limit is the sender's buffer."""
    sock = make_socket(str(tmp_path / "socket"), sockets.AF_UNIX)
    batch = reader(sock)
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    sock.sendto(payload, sock.getsockname())

    datagrams = batch.receive(EVERYTHING)

    assert datagrams == [(payload, sock.getsockname())]
    assert (batch.received, batch.received_bytes) == (1, size)


@with_unix_sockets
def test_a_unix_sender_without_a_name_is_read_as_an_empty_path(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """There is nobody to answer to."""
    path = str(tmp_path / "socket")
    batch = reader(make_socket(path, sockets.AF_UNIX))
    make_socket(None, sockets.AF_UNIX).sendto(b"payload", path)

    assert batch.receive(EVERYTHING) == [(b"payload", "")]


@with_unix_sockets
def test_an_empty_unix_socket_gives_nothing(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """Asking for the length of the next datagram does not wait either."""
    batch = reader(make_socket(str(tmp_path / "socket"), sockets.AF_UNIX))

    assert batch.receive(EVERYTHING) == []


@on_linux
def test_an_error_of_the_network_is_raised_once(
    make_socket: MakeSocket, offload: bool, twin: Twin
) -> None:
    """By the class that the system's number stands for; then reading goes on."""
    sock, peer = make_socket(), make_socket()
    addr = peer.getsockname()
    sock.connect(addr)
    peer.close()
    batch = reader(sock, offload, twin=twin)
    sock.send(b"nobody is there")

    with pytest.raises(ConnectionRefusedError) as caught:
        batch.receive(EVERYTHING)
    assert caught.value.errno == errno.ECONNREFUSED
    with sockets.open_bound(addr, socket.AF_INET) as back:
        back.sendto(b"payload", sock.getsockname())
        assert batch.receive(EVERYTHING) == [(b"payload", addr)]
