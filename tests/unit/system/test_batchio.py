"""Batch I/O: on real sockets, and on fakes for what a kernel does rarely."""

from __future__ import annotations

import errno
import importlib
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from aioudp._system import batchio, sockets
from aioudp._system.batchio import (
    MAX_BYTES,
    MAX_READS,
    MAX_SINGLES,
    MAX_TRAINS,
    BatchSocket,
)
from aioudp._types import Datagram

EVERYTHING: Final = 10_000  # datagrams: more than any test here has
HERE: Final = ("192.0.2.1", 1)
THERE: Final = ("192.0.2.2", 2)
SO_NO_CHECK: Final = 11  # include/uapi/asm-generic/socket.h

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about the Linux kernel"
)
with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)


# -- real sockets

MakeSocket = Callable[..., socket.socket]


@pytest.fixture
def make_socket() -> Iterator[MakeSocket]:
    """Make bound, non-blocking datagram sockets; the end closes them."""
    with ExitStack() as stack:

        def make(
            addr: Any = ("127.0.0.1", 0),
            family: int = socket.AF_INET,
            **options: Any,
        ) -> socket.socket:
            return stack.enter_context(sockets.open_bound(addr, family, **options))

        yield make


@pytest.fixture(params=[False, True], ids=["plain", "offload"])
def offload(request: pytest.FixtureRequest) -> bool:
    """Return whether to use the kernel's segmentation and coalescing."""
    if request.param and sockets.probe_offload() != (128, True):
        pytest.skip("cannot: offload: this kernel has no UDP_SEGMENT or no UDP_GRO")
    return bool(request.param)


Twin = type[BatchSocket]


@pytest.fixture(params=["python", "compiled"])
def twin(request: pytest.FixtureRequest) -> Twin:
    """Return the class of either twin. What a test leaves to others is the readable."""
    if request.param == "python":
        return BatchSocket
    try:
        speedups: Any = importlib.import_module("aioudp._system.speedups")
    except ModuleNotFoundError:
        pytest.skip("cannot: speedups: not built")
    compiled: Twin = speedups.BatchSocket
    return compiled


def reader(
    sock: socket.socket, offload: bool = False, *, twin: Twin = BatchSocket, **more: Any
) -> BatchSocket:
    gro = offload and sockets.enable_gro(sock)
    return twin(sock, gso_segments=1, gro=gro, **more)


def writer(
    sock: socket.socket, offload: bool = False, *, twin: Twin = BatchSocket
) -> BatchSocket:
    gso_segments = sockets.probe_offload().gso_segments if offload else 1
    return twin(sock, gso_segments=gso_segments, gro=False)


def receive_all(batch: BatchSocket) -> list[bytes]:
    """Return every payload that waits in the socket."""
    payloads: list[bytes] = []
    while datagrams := batch.receive(EVERYTHING):
        payloads += [data for data, _ in datagrams]
    return payloads


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

    # One read more than the limit: a datagram, or the 32 messages of a recvmmsg.
    few = -(-MAX_BYTES // size)
    assert len(first) == (few if twin is BatchSocket else 32)
    assert first + receive_all(batch) == [bytes([n]) * size for n in range(count)]


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
    _skip_without_offload()
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
    _skip_without_offload()
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
    _skip_without_offload()
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
    _skip_without_offload()
    receiver, *senders = make_socket(), make_socket(), make_socket()
    batch = reader(receiver, offload=True, twin=twin)
    for sender in (*senders, *senders):
        _send_train(sender, bytes(150), 100, receiver)

    addrs = [addr for _, addr in batch.receive(EVERYTHING)]

    first, second = (sender.getsockname() for sender in senders)
    assert addrs == [first, first, second, second] * 2


def _skip_without_offload() -> None:
    if sockets.probe_offload() != (128, True):
        pytest.skip("cannot: offload: this kernel has no UDP_SEGMENT or no UDP_GRO")


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
    _skip_without_offload()
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
    _skip_without_offload()
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
    _skip_without_offload()
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


# -- reading from a fake

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
    """They are returned, and the error is kept for the next call."""
    batch = scripted(read(b"1"), read(b"2"), REFUSED, read(b"3"), gro=gro)

    first = batch.receive(EVERYTHING)
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


# -- sending on real sockets


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
    _skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    batch = writer(sender, offload=True, twin=twin)

    batch.send_segments(memoryview(b"aabbc"), 2, receiver.getsockname())

    assert receive_all(reader(receiver)) == [b"aa", b"bb", b"c"]
    assert (batch.gso_segments, batch.sent, batch.sent_bytes) == (1, 3, 5)


@on_linux
def test_a_kernel_that_takes_fewer_segments_gets_fewer(
    make_socket: MakeSocket, twin: Twin
) -> None:
    """A train too long for it goes out singly, and the next ones are shorter."""
    _skip_without_offload()
    receiver, sender = make_socket(), make_socket()
    batch = twin(sender, gso_segments=1000, gro=False)

    batch.send_segments(memoryview(bytes(200)), 1, receiver.getsockname())

    assert receive_all(reader(receiver)) == [bytes(1)] * 200
    assert batch.gso_segments == 64


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
    _skip_without_offload()
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
    assert (batch.gso_segments, batch.sent, batch.sent_bytes) == (1, 12, 18)
    (message,) = caplog.messages
    assert f"segmentation offload is off for fd {sender.fileno()}" in message


# -- preparing


def no_options(addr: object, options: object) -> Any:
    raise AssertionError((addr, options))


def prepare(
    twin: Twin, datagrams: Any, table: dict[object, Any] | None = None
) -> tuple[list[tuple[bytes, Any]], list[object]]:
    """Return what was prepared, and which addresses were looked up for it."""
    looked_up: list[object] = []

    def translate(addr: object) -> Any:
        looked_up.append(addr)
        return addr if table is None else table[addr]

    return twin.prepare(datagrams, translate, no_options), looked_up


def test_addresses_are_translated(twin: Twin) -> None:
    """Each to its own; that there is none is nothing to translate."""
    one, two = ("192.0.2.1", 1), ("192.0.2.2", 2)
    order = [one, one, two, None, two, one, None, None, one]

    prepared, _ = prepare(
        twin, [(b"%d" % at, addr) for at, addr in enumerate(order)], {one: 1, two: None}
    )

    translated = [1, 1, None, None, None, 1, None, None, 1]
    assert prepared == [(b"%d" % at, addr) for at, addr in enumerate(translated)]


def test_every_destination_is_looked_up(twin: Twin) -> None:
    """Equal ones may be known to be so, others not; ``None`` is none."""
    one, two = ("192.0.2.1", 1), ("192.0.2.2", 2)

    _, looked_up = prepare(twin, [(b"", addr) for addr in (one, two, None, one)])

    assert looked_up == [one, two, one]


def test_one_peer_is_looked_up_once(twin: Twin) -> None:
    """By the compiled twin, where a look-up would cost more than all the rest."""
    peer = "192.0.2.1", 1
    equal = tuple(iter(peer))
    order = [peer] * 100 + [equal] * 100

    _, looked_up = prepare(twin, [(b"", addr) for addr in order])

    assert looked_up == (order if twin is BatchSocket else [peer, equal])


@pytest.mark.parametrize(
    "data",
    [
        b"payload",
        bytearray(b"payload"),
        memoryview(b"payload"),
        memoryview(b"p_a_y_l_o_a_d")[::2],
        type("Bytes", (bytes,), {})(b"payload"),
    ],
)
@pytest.mark.parametrize("addr", [HERE, None])
def test_every_payload_becomes_bytes(data: Any, addr: Any, twin: Twin) -> None:
    """Plain ones, whatever it was."""
    ((payload, peer),), _ = prepare(twin, [(data, addr)])

    assert (type(payload), payload, peer) == (bytes, b"payload", addr)


def test_a_payload_that_can_change_is_copied(twin: Twin) -> None:
    """What waits to be sent is what was given; bytes are as they are."""
    data, constant = bytearray(b"payload"), bytes(bytearray(b"constant"))

    prepared, _ = prepare(
        twin, [(data, HERE), (memoryview(data), None), (constant, HERE)]
    )
    data[:] = b"_______"

    assert prepared == [(b"payload", HERE), (b"payload", None), (b"constant", HERE)]
    assert prepared[2][0] is constant


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_datagrams_may_come_as_any_iterable_of_any_pairs(
    kind: Callable[[Any], Any], twin: Twin
) -> None:
    """What comes out is the same, and can be sent."""
    given = kind([(b"1", HERE), [b"2", HERE], iter((b"3", None))])

    prepared, _ = prepare(twin, given)

    assert prepared == [(b"1", HERE), (b"2", HERE), (b"3", None)]
    assert {type(item) for item in prepared} == {tuple}


def test_nothing_is_prepared_from_nothing(twin: Twin) -> None:
    """An empty batch is a batch."""
    assert prepare(twin, []) == ([], [])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("text", HERE, None), "a bytes-like object is required, not 'str'"),
        (("text", HERE), "a bytes-like object is required, not 'str'"),
        ((None, HERE), "a bytes-like object is required, not 'NoneType'"),
        (([1], None), "a bytes-like object is required, not 'list'"),
        (b"xyz", "a pair of payload and address is required, not b'xyz'"),
        ((b"xy",), "a pair of payload and address is required"),
        ((b"xy", HERE, None, 3), "a pair of payload and address is required"),
        ((), "a pair of payload and address is required"),
        (3, "a pair of payload and address is required, not 3"),
        (None, "a pair of payload and address is required, not None"),
    ],
)
def test_what_is_no_datagram_is_refused(item: Any, message: str, twin: Twin) -> None:
    """With the words for what is wrong."""
    with pytest.raises(TypeError) as caught:
        prepare(twin, [(b"xy", HERE), item])
    assert message in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_an_address_that_is_refused_is_raised_as_it_came(
    error: type[Exception], twin: Twin
) -> None:
    """Also after one that was taken; the payload is no longer in question."""
    refusal = error("not an address")

    def translate(addr: object) -> Any:
        if addr is THERE:
            raise refusal
        return addr

    with pytest.raises(error) as caught:
        twin.prepare([(b"1", HERE), (b"2", THERE)], translate, no_options)
    assert caught.value is refusal


# -- sending on a fake


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
def test_a_driver_that_refuses_any_train_ends_the_offload(
    kernel: FakeKernel, error: int
) -> None:
    """First long trains, then all; after that none is tried any more."""
    kernel.train_error = error
    batch = over(kernel)
    steps = []
    for _ in range(4):
        steps.append(batch.gso_segments)
        batch.send_batch(letters("a") * 128)

    assert steps == [128, 64, 1, 1]
    assert kernel.refused_trains == 2
    assert kernel.sent == letters("a") * 512


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


def test_the_end_of_the_offload_is_logged_once(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, and for this socket."""
    caplog.set_level(logging.INFO, "aioudp")
    kernel.train_error = errno.EIO
    batch = over(kernel)

    for _ in range(3):
        batch.send_segments(memoryview(b"aabb"), 2, HERE)

    (message,) = caplog.messages
    assert "segmentation offload is off for fd 7" in message
    assert "train refused" in message


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
