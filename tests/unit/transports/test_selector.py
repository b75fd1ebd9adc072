"""The transports: flow control, errors, delivery and closing, on fakes and for real."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from aioudp._errors import EndpointClosedError
from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
from aioudp._transports import selector
from aioudp._transports.base import BatchProtocol
from aioudp._transports.delivery import MAX_BATCH
from aioudp._transports.loop import LoopTransport
from aioudp._transports.selector import SelectorTransport, watches_descriptors
from aioudp._transports.socket_transport import SocketTransport
from aioudp._types import Datagram

UntilBlocked = Callable[..., Coroutine[Any, Any, None]]

EVERYTHING: Final = 10_000  # datagrams: more than any test here has
PEER: Final = ("127.0.0.1", 9)
OTHER: Final = ("127.0.0.1", 10)
HIGH: Final = 64 * 1024  # bytes, where asyncio's transports pause the protocol

REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)


# -- the fakes


class FakeTimer:
    def __init__(self, delay: float, callback: Callable[[], object]) -> None:
        self.delay = delay
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """An event loop in which nothing happens until the test says so."""

    def __init__(self) -> None:
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.timers: list[FakeTimer] = []
        self.readers: dict[int, Callable[[], object]] = {}
        self.writers: dict[int, Callable[[], object]] = {}
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.soon.append((callback, args))

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeTimer:
        self.timers.append(FakeTimer(delay, callback))
        return self.timers[-1]

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        assert fd >= 0
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> bool:
        assert not self.closed
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> bool:
        assert not self.closed
        return self.writers.pop(fd, None) is not None

    # what the test calls

    def turn(self) -> None:
        """Run what was scheduled for the next turn."""
        soon, self.soon = self.soon, []
        for callback, args in soon:
            callback(*args)

    def claim_readable(self) -> None:
        for callback in list(self.readers.values()):
            callback()

    def claim_writable(self) -> None:
        for callback in list(self.writers.values()):
            callback()

    def pending_timer(self) -> FakeTimer | None:
        """Return the only timer that is neither cancelled nor fired."""
        pending = [timer for timer in self.timers if not timer.cancelled]
        assert len(pending) <= 1
        return pending[0] if pending else None

    def fire_timer(self) -> None:
        """Let the time pass until the pending timer."""
        timer = self.pending_timer()
        assert timer is not None
        self.timers.remove(timer)
        timer.callback()


class FakeIO(BatchSocket):
    """The batch I/O of a socket that takes and gives what the test says."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, gso_segments=1, gro=False)
        self.room = EVERYTHING  # datagrams that the kernel takes before it is full
        self.errors: list[OSError] = []  # what the next sends meet, one after another
        self.out: list[tuple[bytes, Any]] = []
        self.attempts = 0  # calls that were to send, whatever came of them
        self.incoming: list[list[Datagram] | OSError] = []
        self.wanted: list[int] = []
        self.thorough: list[bool] = []

    def send(self, data: Any, addr: Any = None) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        self.room -= 1
        self.out.append((bytes(data), addr))
        self.sent += 1

    def send_batch(self, datagrams: Any, start: int = 0) -> int:
        self.attempts += 1
        return super().send_batch(datagrams, start)

    def receive(self, max_datagrams: int, *, thorough: bool = False) -> list[Datagram]:
        self.wanted.append(max_datagrams)
        self.thorough.append(thorough)
        incoming = self.incoming.pop(0) if self.incoming else []
        if isinstance(incoming, OSError):
            raise incoming
        return incoming


class Recorder(asyncio.DatagramProtocol):
    """A protocol as anybody may write one; it notes what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.senders: list[Any] = []
        self.on_event: Callable[[Any], object] = lambda event: None

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self.on_event(event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._note("made")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost" if exc is None else exc)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.senders.append(addr)
        self._note(data)

    def error_received(self, exc: Exception) -> None:
        self._note(exc)

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")


class BatchRecorder(Recorder):
    """A protocol that takes whole batches."""

    def datagrams_received(self, datagrams: list[Datagram]) -> None:
        self._note([data for data, _ in datagrams])


class BoundedRecorder(Recorder):
    """A protocol that says how many datagrams it has room for."""

    room = 5
    on_asked: Callable[[], object] = staticmethod(lambda: None)

    def datagrams_wanted(self) -> int:
        self.on_asked()
        return self.room


class BoundedBatchRecorder(BatchRecorder, BoundedRecorder):
    """A protocol that does both, as the endpoint's does."""


class Rig:
    """A transport over a real, bound socket, with everything around it faked."""

    transport: SocketTransport

    def __init__(
        self,
        sock: socket.socket,
        kind: type[SocketTransport],
        protocol: Recorder,
        **options: Any,
    ) -> None:
        self.sock = sock
        self.loop = FakeLoop()
        self.io = FakeIO(sock)
        self.protocol = protocol
        loop: Any = self.loop
        make: Any = kind
        self.transport = make(loop, sock, protocol, self.io, **options)

    @property
    def events(self) -> list[Any]:
        return self.protocol.events

    def start(self) -> None:
        """Run the transport's ``start``, which on the selector waits for nothing."""
        with pytest.raises(StopIteration):
            self.transport.start().send(None)

    def receive(self, *incoming: list[bytes] | OSError) -> None:
        """Let these arrive, one after another, whenever the transport reads."""
        for item in incoming:
            self.io.incoming.append(
                item if isinstance(item, OSError) else datagrams(*item)
            )
            self.loop.claim_readable()


def datagrams(*payloads: bytes) -> list[Datagram]:
    return [Datagram(data, PEER) for data in payloads]


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRig]:
    """Make rigs; the end closes their sockets."""
    # The faked loop survives the errors of a socket, as asyncio's own loops do.
    monkeypatch.setattr(selector, "needs_epoll", lambda loop: False)
    with ExitStack() as stack:

        def make(
            kind: type[SocketTransport] = SelectorTransport,
            protocol: Recorder | None = None,
            *,
            addr: Any = ("127.0.0.1", 0),
            family: int = socket.AF_INET,
            peer: Any = None,
            **options: Any,
        ) -> Rig:
            sock = stack.enter_context(sockets.open_bound(addr, family))
            if peer is not None:
                sock.connect(peer)
            return Rig(sock, kind, protocol or Recorder(), **options)

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A selector transport on an unconnected socket, with a plain protocol."""
    return make_rig()


@pytest.fixture
def full(rig: Rig) -> Rig:
    """The same, and the kernel has no room; the first datagram waits for it."""
    rig.io.room = 0
    rig.transport.sendto(b"first", PEER)
    rig.loop.turn()
    return rig


# -- a full send buffer: waiting for the socket, or for a timer


def test_the_first_refusal_waits_for_the_socket(full: Rig) -> None:
    """The event loop says when it is writable; there is no timer."""
    assert (list(full.loop.writers), full.loop.timers) == ([full.sock.fileno()], [])


def test_a_writable_socket_gets_what_is_buffered(full: Rig) -> None:
    """In order; then nothing is watched any more."""
    full.transport.sendto(b"second", PEER)
    full.io.room = 2

    full.loop.claim_writable()

    assert full.io.out == [(b"first", PEER), (b"second", PEER)]
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


def test_a_socket_that_only_claims_to_be_writable_is_not_asked_again(
    full: Rig,
) -> None:
    """It would claim so again at once, for ever: a timer takes over, ever slower."""
    full.loop.claim_writable()
    delays = []

    for _ in range(10):
        timer = full.loop.pending_timer()
        assert timer is not None
        assert not full.loop.writers
        delays.append(timer.delay)
        full.loop.fire_timer()

    assert 0 < delays[0] <= 0.01
    assert delays[1:4] == [2 * delay for delay in delays[:3]]
    assert delays == sorted(delays)
    assert delays[-3:] == [0.05] * 3


def test_the_timer_sends_when_there_is_room(full: Rig) -> None:
    """Nobody has to say that the socket became writable."""
    full.loop.claim_writable()
    full.io.room = 1

    full.loop.fire_timer()

    assert full.io.out == [(b"first", PEER)]
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


@pytest.mark.parametrize("refusals", [1, 2, 5])
def test_after_a_success_the_socket_is_believed_again(full: Rig, refusals: int) -> None:
    """The next full buffer may be an ordinary one."""
    full.loop.claim_writable()
    for _ in range(refusals - 1):
        full.loop.fire_timer()
    full.io.room = 1
    full.loop.fire_timer()

    full.transport.sendto(b"second", PEER)
    full.loop.turn()

    assert full.loop.pending_timer() is None
    assert list(full.loop.writers) == [full.sock.fileno()]


def test_a_transport_that_cannot_watch_waits_for_the_timer(make_rig: MakeRig) -> None:
    """On the loop transport the descriptor is watched by the loop's own."""
    rig = make_rig(LoopTransport)
    rig.io.room = 0
    rig.transport.sendto(b"first", PEER)
    rig.loop.turn()
    delays = []
    for _ in range(8):
        timer = rig.loop.pending_timer()
        assert timer is not None
        delays.append(timer.delay)
        rig.loop.fire_timer()

    assert rig.loop.writers == {}
    assert delays[0] == 0.001
    assert delays[-1] == 0.05


def test_waiting_twice_watches_once(full: Rig) -> None:
    """Another buffered datagram adds neither a writer nor a timer."""
    full.loop.claim_writable()

    full.transport.sendto(b"second", PEER)
    full.loop.turn()

    assert full.loop.writers == {}
    assert full.loop.pending_timer() is not None


def test_closing_ends_the_wait_for_the_socket(full: Rig) -> None:
    """Nothing is left with the event loop."""
    before = len(full.loop.writers)

    full.transport.abort()

    assert before == 1
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


def test_closing_ends_the_wait_for_the_timer(full: Rig) -> None:
    """Nothing is left with the event loop."""
    full.loop.claim_writable()

    full.transport.abort()

    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


# -- sendto


def test_sendto_sends_at_once(rig: Rig) -> None:
    """Where there is room nothing is buffered."""
    rig.transport.sendto(b"payload", PEER)

    assert rig.io.out == [(b"payload", PEER)]
    assert rig.transport.get_write_buffer_size() == 0


def test_sendto_needs_no_address_when_connected(make_rig: MakeRig) -> None:
    """There is one peer; a datagram that has to wait goes to it as well."""
    rig = make_rig(peer=PEER)
    rig.transport.sendto(b"first")
    rig.io.room = 0
    rig.transport.sendto(b"second")
    rig.loop.turn()
    rig.io.room = 1
    rig.loop.claim_writable()

    assert rig.io.out == [(b"first", None), (b"second", None)]


def test_sendto_has_a_default_address(make_rig: MakeRig) -> None:
    """Where one peer was named and the socket is not connected to it."""
    rig = make_rig(default_addr=PEER)

    rig.transport.sendto(b"payload")
    with pytest.raises(ValueError, match=OTHER[0]):
        rig.transport.sendto(b"payload", OTHER)
    rig.transport.sendto(b"payload", PEER)
    rig.loop.turn()

    assert rig.io.out == [(b"payload", PEER)] * 2


def test_the_default_address_is_in_the_form_that_the_socket_takes(
    make_rig: MakeRig,
) -> None:
    """A look-up gives the zone by its name; no look-up is needed to send."""
    index, name = socket.if_nameindex()[0]
    try:
        rig = make_rig(
            addr=("::1", 0),
            family=socket.AF_INET6,
            default_addr=(f"fe80::1%{name}", 9, 0, index),
        )
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")

    rig.transport.sendto(b"payload")

    assert rig.io.out == [(b"payload", ("fe80::1", 9, 0, index))]


def test_sendto_keeps_the_order(full: Rig) -> None:
    """A datagram does not overtake those that wait, even if there is room again."""
    full.io.room = 2

    full.transport.sendto(b"second", PEER)
    before = [*full.io.out]
    full.loop.claim_writable()

    assert (before, full.io.out) == ([], [(b"first", PEER), (b"second", PEER)])


def test_sendto_copies_what_it_keeps(full: Rig) -> None:
    """The caller may use its buffer again."""
    data = bytearray(b"second")
    full.transport.sendto(data, PEER)
    data[:] = b"______"
    full.io.room = 2

    full.loop.claim_writable()

    assert full.io.out[1] == (b"second", PEER)


def test_what_is_buffered_has_a_size(full: Rig) -> None:
    """Each datagram counts its bytes and its header."""
    full.transport.sendto(b"", PEER)

    assert full.transport.get_write_buffer_size() == 8 + len(b"first") + 8


def test_the_size_is_zero_when_all_is_out(full: Rig) -> None:
    """The accounting adds up."""
    full.transport.sendto(bytes(1000), PEER)
    full.io.room = 2

    full.loop.claim_writable()

    assert full.transport.get_write_buffer_size() == 0


def test_a_full_buffer_pauses_the_protocol_once(full: Rig) -> None:
    """Above the high mark, and not again for what comes on top."""
    full.transport.sendto(bytes(HIGH - 100), PEER)
    before = [*full.events]
    for _ in range(3):
        full.transport.sendto(bytes(100), PEER)

    assert (before, full.events) == ([], ["pause"])


def test_a_drained_buffer_resumes_the_protocol_once(full: Rig) -> None:
    """Below the low mark, and not before."""
    for _ in range(3):
        full.transport.sendto(bytes(HIGH // 2), PEER)
    full.io.room = 2  # the short one, and one of the three
    full.loop.claim_writable()
    before = [*full.events]
    full.io.room = EVERYTHING
    full.loop.claim_writable()

    assert (before, full.events) == (["pause"], ["pause", "resume"])


def test_the_marks_can_be_set(full: Rig) -> None:
    """With asyncio's methods."""
    full.transport.set_write_buffer_limits(high=10, low=5)

    full.transport.sendto(b"more", PEER)

    assert full.transport.get_write_buffer_limits() == (5, 10)
    assert full.events == ["pause"]


def test_a_mark_below_what_waits_pauses_at_once(full: Rig) -> None:
    """The protocol need not send once more to be told."""
    full.transport.set_write_buffer_limits(high=0)

    assert full.events == ["pause"]


@pytest.mark.parametrize("data", ["text", 3, None, [b"list"]])
def test_sendto_takes_bytes_only(rig: Rig, data: Any) -> None:
    """Nothing is sent, and the protocol is not told: the caller is."""
    with pytest.raises(TypeError, match="bytes-like"):
        rig.transport.sendto(data, PEER)
    assert (rig.io.out, rig.events) == ([], [])


@pytest.mark.parametrize(
    ("addr", "error"),
    [
        (("localhost", 9), ValueError),
        (("127.0.0.1", 65536), ValueError),
        (("::1", 9), ValueError),
        ("127.0.0.1", TypeError),
        (["127.0.0.1", 9], TypeError),
        ((["127.0.0.1"], 9), TypeError),
    ],
)
@pytest.mark.parametrize("state", ["open", "gathering", "full", "closed"])
def test_sendto_checks_the_address_at_once(
    rig: Rig, state: str, addr: Any, error: type[Exception]
) -> None:
    """Also where the datagram would have to wait, or would be ignored."""
    if state == "full":
        rig.io.room = 0
    if state in ("full", "gathering"):
        rig.transport.sendto(b"first", PEER)
    elif state == "closed":
        rig.transport.close()
    before = [*rig.io.out]

    with pytest.raises(error):
        rig.transport.sendto(b"payload", addr)
    rig.loop.turn()
    assert rig.io.out == before


def test_sendto_reports_an_error_to_the_protocol(rig: Rig) -> None:
    """It does not raise it; and the transport stays open."""
    rig.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")]

    rig.transport.sendto(b"payload", PEER)

    (error,) = rig.events
    assert error.errno == errno.ENETUNREACH
    assert "sending 7 bytes to ('127.0.0.1', 9)" in str(error)
    assert not rig.transport.is_closing()


def test_an_error_of_a_buffered_datagram_is_reported(full: Rig) -> None:
    """That datagram is gone, and the next goes out."""
    full.transport.sendto(b"second", PEER)
    full.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")]
    full.io.room = EVERYTHING

    full.loop.claim_writable()

    assert [error.errno for error in full.events] == [errno.ENETUNREACH]
    assert full.io.out == [(b"second", PEER)]


def test_the_protocol_may_abort_when_it_hears_of_an_error(full: Rig) -> None:
    """In the middle of a flush."""
    full.transport.sendto(b"second", PEER)
    full.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")]
    full.io.room = EVERYTHING
    full.protocol.on_event = lambda _: full.transport.abort()

    full.loop.claim_writable()
    full.protocol.on_event = lambda _: None
    full.loop.turn()

    assert full.io.out == []
    assert full.events[1:] == ["lost"]


def test_sendto_after_close_is_ignored(rig: Rig) -> None:
    """As on asyncio's own transports."""
    rig.transport.close()

    rig.transport.sendto(b"payload", PEER)

    assert rig.io.out == []


# -- sendto, many times in one turn of the loop


def numbers(count: int) -> list[tuple[bytes, Any]]:
    """Return what the kernel is to get when so many numbers are sent."""
    return [(b"%d" % number, PEER) for number in range(count)]


def send_numbers(rig: Rig, count: int) -> None:
    for data, addr in numbers(count):
        rig.transport.sendto(data, addr)


def test_the_first_of_a_turn_goes_out_at_once(rig: Rig) -> None:
    """A lone answer is not held up; only what follows it is gathered."""
    send_numbers(rig, 3)
    before = [*rig.io.out]

    rig.loop.turn()

    assert (before, rig.io.out) == (numbers(1), numbers(3))


def test_what_is_gathered_goes_out_in_one_call(rig: Rig) -> None:
    """That is what it was gathered for."""
    send_numbers(rig, 100)
    rig.loop.turn()

    assert (rig.io.out, rig.io.attempts) == (numbers(100), 1)


def test_every_turn_has_a_first(rig: Rig) -> None:
    """What was gathered before is out, and nothing is in its way."""
    for _ in range(2):
        send_numbers(rig, 2)
        before = len(rig.io.out)
        rig.loop.turn()

    assert (before, rig.io.out) == (3, numbers(2) * 2)


def test_a_turn_is_ended_once(rig: Rig) -> None:
    """However much was sent in it; and a loop without work has nothing to do."""
    send_numbers(rig, 50)
    during = len(rig.loop.soon)
    rig.loop.turn()

    assert (during, rig.loop.soon) == (1, [])


@pytest.mark.parametrize(("count", "out"), [(128, 1), (129, 129), (200, 129)])
def test_enough_go_out_before_the_turn_is_over(rig: Rig, count: int, out: int) -> None:
    """A long turn does not gather without end: a train's worth leaves."""
    send_numbers(rig, count)
    before = [*rig.io.out]
    rig.loop.turn()

    assert (before, rig.io.out) == (numbers(count)[:out], numbers(count))


def test_a_kernel_without_room_is_not_asked_again(full: Rig) -> None:
    """Neither for the first of a turn, nor for many: it says when there is room."""
    before = full.io.attempts

    send_numbers(full, 500)
    full.loop.turn()

    assert (full.io.attempts, full.io.out) == (before, [])
    assert list(full.loop.writers) == [full.sock.fileno()]


def test_what_is_gathered_is_copied(rig: Rig) -> None:
    """The caller may use its buffer again in the same turn."""
    data = bytearray(b"payload")
    for _ in range(2):
        rig.transport.sendto(data, PEER)
    data[:] = b"_______"

    rig.loop.turn()

    assert rig.io.out == [(b"payload", PEER)] * 2


def test_what_is_gathered_has_a_size(rig: Rig) -> None:
    """It is in the buffer until the end of the turn."""
    for _ in range(3):
        rig.transport.sendto(bytes(100), PEER)
    before = rig.transport.get_write_buffer_size()
    rig.loop.turn()

    assert (before, rig.transport.get_write_buffer_size()) == (2 * (100 + 8), 0)


def test_gathering_above_the_high_mark_sends_before_it_pauses(rig: Rig) -> None:
    """The kernel may well have room, so nobody is told to stop."""
    for _ in range(4):
        rig.transport.sendto(bytes(HIGH // 2), PEER)

    assert len(rig.io.out) == 3
    rig.loop.turn()
    assert len(rig.io.out) == 4
    assert rig.events == []


def test_gathering_above_the_high_mark_pauses_if_there_is_no_room(rig: Rig) -> None:
    """The marks hold for what is gathered too."""
    rig.io.room = 0
    for _ in range(4):
        rig.transport.sendto(bytes(HIGH // 2), PEER)

    assert rig.events == ["pause"]


def test_the_first_of_a_turn_may_find_no_room(rig: Rig) -> None:
    """It stays the first: the others wait behind it, and for room once."""
    rig.io.room = 0
    send_numbers(rig, 3)
    rig.loop.turn()
    rig.io.room = EVERYTHING

    rig.loop.claim_writable()

    assert rig.io.out == numbers(3)


def test_room_for_some_of_a_turn_takes_those(rig: Rig) -> None:
    """The rest goes out when the socket is writable, and none twice."""
    rig.io.room = 3
    send_numbers(rig, 5)
    rig.loop.turn()
    before = [*rig.io.out]
    rig.io.room = EVERYTHING
    rig.loop.claim_writable()

    assert (before, rig.io.out) == (numbers(3), numbers(5))


def test_errors_at_the_end_of_a_turn_are_reported(rig: Rig) -> None:
    """Each once; the datagrams behind it go out."""
    send_numbers(rig, 4)
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")] * 2

    rig.loop.turn()

    assert [error.errno for error in rig.events] == [errno.EPERM] * 2
    assert "sending 1 bytes to ('127.0.0.1', 9)" in str(rig.events[0])
    assert rig.io.out == [numbers(4)[index] for index in (0, 3)]
    assert rig.transport.stats().send_errors == 2


@pytest.mark.parametrize("way", ["close", "abort"])
def test_the_protocol_may_close_at_the_end_of_a_turn(rig: Rig, way: str) -> None:
    """Told of an error; an abort forgets what was gathered behind it."""
    send_numbers(rig, 4)
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]
    rig.protocol.on_event = lambda event: getattr(rig.transport, way)()

    rig.loop.turn()

    rest = numbers(4)[2:] if way == "close" else []
    assert rig.io.out == numbers(1) + rest
    assert rig.sock.fileno() == -1


def test_closing_sends_what_was_gathered(rig: Rig) -> None:
    """At once, so that the descriptor can go at once too."""
    send_numbers(rig, 3)

    rig.transport.close()
    out, fd = [*rig.io.out], rig.sock.fileno()
    rig.loop.turn()

    assert (out, fd) == (numbers(3), -1)
    assert (rig.io.out, rig.events) == (numbers(3), ["lost"])


def test_closing_waits_for_room_for_what_was_gathered(rig: Rig) -> None:
    """As for anything else that is buffered."""
    rig.io.room = 1
    send_numbers(rig, 3)
    rig.transport.close()
    rig.loop.turn()
    before = [*rig.io.out], rig.sock.fileno() >= 0
    rig.io.room = EVERYTHING
    rig.loop.claim_writable()
    rig.loop.turn()

    assert before == (numbers(1), True)
    assert (rig.io.out, rig.sock.fileno()) == (numbers(3), -1)
    assert rig.events == ["lost"]


def test_aborting_forgets_what_was_gathered(rig: Rig) -> None:
    """The end of the turn finds nothing to send."""
    send_numbers(rig, 3)

    rig.transport.abort()
    rig.loop.turn()

    assert (rig.io.out, rig.events) == (numbers(1), ["lost"])


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
    """Told of a gathered datagram's error, the protocol may close: this is too late."""
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
    """With the size and the destination; it is counted, and nobody else is told."""
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
    """Here the destination is what is missing."""
    rig.io.errors = [OSError(errno.EDESTADDRREQ, "Destination address required")]

    with pytest.raises(OSError, match=r"\(sending 2 bytes\)$"):
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


def test_try_send_many_begins_where_it_is_told_to(rig: Rig) -> None:
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


# -- delivering


def test_a_plain_protocol_gets_one_datagram_at_a_time(rig: Rig) -> None:
    """In the order in which they were read."""
    rig.start()

    rig.receive([b"1", b"2"])

    assert rig.events == ["made", b"1", b"2"]


def test_a_batch_protocol_gets_the_batch(make_rig: MakeRig) -> None:
    """Whole, as one list."""
    rig = make_rig(protocol=BatchRecorder())
    rig.start()

    rig.receive([b"1", b"2"])

    assert rig.events == ["made", [b"1", b"2"]]


def test_a_batch_protocol_is_known_by_its_method() -> None:
    """It need not inherit anything, nor say how many it wants."""
    assert isinstance(BatchRecorder(), BatchProtocol)
    assert not isinstance(BoundedRecorder(), BatchProtocol)


@pytest.mark.parametrize("kind", [BoundedRecorder, BoundedBatchRecorder])
def test_a_protocol_may_say_how_many_it_wants(
    kind: type[BoundedRecorder], make_rig: MakeRig
) -> None:
    """It is asked before each batch."""
    protocol = kind()
    rig = make_rig(protocol=protocol)
    rig.start()

    rig.receive([b"1"])
    protocol.room = 2
    rig.receive([b"2"])

    assert rig.io.wanted == [5, 2]


@pytest.mark.parametrize("kind", [Recorder, BatchRecorder])
def test_a_protocol_that_does_not_say_gets_batches_of_a_fixed_size(
    kind: type[Recorder], make_rig: MakeRig
) -> None:
    """It cannot be asked."""
    rig = make_rig(protocol=kind())
    rig.start()

    rig.receive([b"1"])

    assert rig.io.wanted == [MAX_BATCH]


@pytest.mark.parametrize("kind", [BoundedRecorder, BoundedBatchRecorder])
def test_a_protocol_that_wants_nothing_pauses(
    kind: type[BoundedRecorder], make_rig: MakeRig
) -> None:
    """Nothing is read: it stays in the kernel, and the socket is not watched."""
    protocol = kind()
    protocol.room = 0
    rig = make_rig(protocol=protocol)
    rig.start()

    rig.receive([b"1"])

    assert (rig.events, rig.io.wanted) == (["made"], [])
    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_a_protocol_that_wants_something_again_resumes(make_rig: MakeRig) -> None:
    """What had been left in the kernel is read then."""
    protocol = BoundedBatchRecorder()
    protocol.room = 0
    rig = make_rig(protocol=protocol)
    rig.start()
    rig.receive([b"1"])
    protocol.room = 3

    rig.transport.resume_reading()
    rig.loop.claim_readable()

    assert (rig.events, rig.io.wanted) == (["made", [b"1"]], [3])


@pytest.mark.parametrize("way", ["pause_reading", "close", "abort"])
def test_a_protocol_may_stop_the_reading_when_it_is_asked(
    make_rig: MakeRig, way: str
) -> None:
    """Whatever it answers, nothing is read: the descriptor may be gone."""
    protocol = BoundedBatchRecorder()
    rig = make_rig(protocol=protocol)
    rig.start()
    protocol.on_asked = lambda: getattr(rig.transport, way)()

    rig.receive([b"1"])

    assert (rig.events, rig.io.wanted) == (["made"], [])


def test_an_announced_datagram_may_not_be_there(rig: Rig) -> None:
    """The kernel may have found its checksum wrong; the protocol is not troubled."""
    rig.start()

    rig.receive([])

    assert rig.events == ["made"]


def test_another_protocol_can_take_over(make_rig: MakeRig) -> None:
    """As with asyncio's own transports; batches, if it takes them."""
    rig = make_rig()
    rig.start()
    successor = BoundedBatchRecorder()

    rig.transport.set_protocol(successor)
    rig.receive([b"1", b"2"])

    assert rig.transport.get_protocol() is successor
    assert (rig.events, successor.events) == (["made"], [[b"1", b"2"]])
    assert rig.io.wanted == [successor.room]


def test_a_protocol_that_takes_over_may_take_less(make_rig: MakeRig) -> None:
    """It is not asked, and gets no batches, because the one before it could."""
    rig = make_rig(protocol=BoundedBatchRecorder())
    rig.start()
    successor = Recorder()

    rig.transport.set_protocol(successor)
    rig.receive([b"1", b"2"])

    assert (rig.events, successor.events) == (["made"], [b"1", b"2"])
    assert rig.io.wanted == [MAX_BATCH]


def pause_at(rig: Rig, *pauses: Any) -> None:
    """Let the protocol pause the reading when it hears of any of these."""

    def pause(event: Any) -> None:
        if event in pauses:
            rig.transport.pause_reading()

    rig.protocol.on_event = pause


def close_at(rig: Rig, moment: Any) -> None:
    """Let the protocol close the transport when it hears of this."""

    def close(event: Any) -> None:
        if event == moment:
            rig.transport.close()

    rig.protocol.on_event = close


def test_a_protocol_that_pauses_gets_nothing_more(rig: Rig) -> None:
    """Even if more of the batch was read already."""
    rig.start()
    pause_at(rig, b"2")

    rig.receive([b"1", b"2", b"3", b"4"])
    rig.loop.turn()

    assert rig.events == ["made", b"1", b"2"]
    assert rig.loop.readers == {}


def test_what_was_held_back_comes_after_the_pause(rig: Rig) -> None:
    """Before anything that is read later, and not inside the call that resumes."""
    rig.start()
    pause_at(rig, b"2")
    rig.receive([b"1", b"2", b"3", b"4"])

    rig.transport.resume_reading()
    inside = [*rig.events]
    rig.loop.claim_readable()  # nothing is read before what was held back is out
    rig.loop.turn()
    rig.receive([b"5"])

    assert inside == ["made", b"1", b"2"]
    assert rig.events == ["made", b"1", b"2", b"3", b"4", b"5"]


def test_a_protocol_may_pause_again_and_again(rig: Rig) -> None:
    """What is held back shrinks by what was taken."""
    rig.start()
    pause_at(rig, b"1", b"2", b"3")
    rig.receive([b"1", b"2", b"3", b"4"])

    for _ in range(2):
        rig.transport.resume_reading()
        rig.loop.turn()
    before = [*rig.events]
    rig.transport.resume_reading()
    rig.loop.turn()

    assert before == ["made", b"1", b"2", b"3"]
    assert rig.events == ["made", b"1", b"2", b"3", b"4"]
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_pause_at_the_end_of_a_batch_holds_nothing_back(rig: Rig) -> None:
    """Reading goes on at once when it is resumed."""
    rig.start()
    pause_at(rig, b"2")
    rig.receive([b"1", b"2"])

    rig.transport.resume_reading()

    assert list(rig.loop.readers) == [rig.sock.fileno()]
    assert rig.loop.soon == []


def test_a_resume_that_is_taken_back_delivers_nothing(rig: Rig) -> None:
    """The pause is in force by the time it would have been delivered."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])

    rig.transport.resume_reading()
    rig.transport.pause_reading()
    rig.loop.turn()

    assert rig.events == ["made", b"1"]


def test_closing_in_the_middle_of_a_batch_ends_it(rig: Rig) -> None:
    """No datagram reaches a protocol that has closed its transport."""
    rig.start()
    close_at(rig, b"1")

    rig.receive([b"1", b"2"])
    rig.loop.turn()

    assert rig.events == ["made", b"1", "lost"]


def test_what_a_protocol_that_raises_holds_back_comes_first(rig: Rig) -> None:
    """The rest of its batch is delivered before anything else is read."""

    def fail(event: Any) -> None:
        if event == b"one":
            raise LookupError(event)

    rig.start()
    rig.protocol.on_event = fail
    with pytest.raises(LookupError):
        rig.receive([b"one", b"two"])
    rig.receive([b"three"])  # nobody reads
    assert rig.events == ["made", b"one"]

    rig.loop.turn()
    rig.loop.claim_readable()

    assert rig.events == ["made", b"one", b"two", b"three"]


def test_closing_forgets_what_was_held_back(rig: Rig) -> None:
    """Also if it was about to be delivered."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])
    rig.transport.resume_reading()

    rig.transport.close()
    rig.loop.turn()

    assert rig.events == ["made", b"1", "lost"]


def test_the_backlog_comes_first(make_rig: MakeRig) -> None:
    """What the peer had sent before the socket was connected, counted as received."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"), foreign=3)
    rig.start()
    rig.receive([b"late"])

    stats = rig.transport.stats()
    assert rig.events == ["made", b"early", b"bird", b"late"]
    assert (stats.received, stats.received_bytes) == (2, 9)  # the fake counts nothing
    assert stats.dropped_kernel == 3


def test_a_batch_protocol_gets_the_backlog_as_a_batch(make_rig: MakeRig) -> None:
    """As anything else that it receives."""
    rig = make_rig(protocol=BatchRecorder(), backlog=datagrams(b"early", b"bird"))

    rig.start()

    assert rig.events == ["made", [b"early", b"bird"]]


def test_the_backlog_waits_for_a_protocol_that_paused(make_rig: MakeRig) -> None:
    """It comes when reading is resumed, before anything else."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"))
    pause_at(rig, "made")
    rig.start()
    before = [*rig.events]

    rig.transport.resume_reading()
    rig.loop.turn()
    rig.receive([b"late"])

    assert before == ["made"]
    assert rig.events == ["made", b"early", b"bird", b"late"]


def test_a_pause_in_the_middle_of_the_backlog_keeps_the_rest(make_rig: MakeRig) -> None:
    """It was read before, but it is handed over no faster."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"))
    pause_at(rig, b"early")
    rig.start()
    before = [*rig.events]

    rig.transport.resume_reading()
    rig.loop.turn()

    assert before == ["made", b"early"]
    assert rig.events == ["made", b"early", b"bird"]


def test_a_protocol_that_closes_gets_no_backlog(make_rig: MakeRig) -> None:
    """Nothing arrives after close."""
    rig = make_rig(backlog=datagrams(b"early"))
    close_at(rig, "made")

    rig.start()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]


# -- reading


def test_starting_tells_the_protocol_and_watches_the_socket(rig: Rig) -> None:
    """In this order, so that nothing arrives unannounced."""
    before = rig.transport.is_reading()
    rig.start()

    assert rig.events == ["made"]
    assert (before, rig.transport.is_reading()) == (False, True)
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_protocol_may_pause_as_soon_as_it_is_connected(rig: Rig) -> None:
    """It is not overruled by the start of the reading."""
    pause_at(rig, "made")

    rig.start()

    assert not rig.transport.is_reading()
    assert rig.loop.readers == {}


def test_a_protocol_may_close_as_soon_as_it_is_connected(rig: Rig) -> None:
    """Nothing is watched that is closed."""
    close_at(rig, "made")

    rig.start()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]
    assert rig.loop.readers == {}


def test_pausing_stops_watching(rig: Rig) -> None:
    """What arrives stays in the kernel; once is enough."""
    rig.start()

    rig.transport.pause_reading()
    rig.transport.pause_reading()

    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_resuming_watches_again(rig: Rig) -> None:
    """Once is enough here too."""
    rig.start()
    rig.transport.pause_reading()

    rig.transport.resume_reading()
    rig.transport.resume_reading()

    assert rig.transport.is_reading()
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_closed_transport_does_not_resume(rig: Rig) -> None:
    """Its descriptor may belong to somebody else by now."""
    rig.start()
    rig.transport.close()

    rig.transport.resume_reading()

    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_polling_reads_now(make_rig: MakeRig) -> None:
    """The caller gets the datagrams; the protocol is neither told nor asked."""
    rig = make_rig(protocol=BoundedBatchRecorder())
    rig.start()
    rig.io.incoming = [datagrams(b"1", b"2"), datagrams(b"3")]

    polled = [rig.transport.poll() for _ in range(3)]

    assert polled == [datagrams(b"1", b"2"), datagrams(b"3"), []]
    assert (rig.events, rig.io.wanted) == (["made"], [MAX_BATCH] * 3)


def test_polling_looks_thoroughly(rig: Rig) -> None:
    """Who asks wants to know; a readable socket says itself when there is more."""
    rig.start()
    rig.transport.poll()
    rig.loop.claim_readable()

    assert rig.io.thorough == [True, False]


def test_polling_reads_as_many_as_are_wanted(rig: Rig) -> None:
    """What the caller has no use for stays in the kernel."""
    rig.start()

    rig.transport.poll(3)

    assert rig.io.wanted == [3]


@pytest.mark.parametrize("way", ["pause_reading", "close", "abort"])
def test_polling_a_paused_or_closed_transport_reads_nothing(rig: Rig, way: str) -> None:
    """The pause holds; and the descriptor may be somebody else's by now."""
    rig.start()
    getattr(rig.transport, way)()
    rig.io.incoming = [datagrams(b"1")]

    assert rig.transport.poll() == []
    assert (rig.events, rig.io.wanted) == (["made"], [])


def test_polling_before_the_start_reads_nothing(rig: Rig) -> None:
    """Nothing arrives unannounced."""
    assert (rig.transport.poll(), rig.io.wanted) == ([], [])


def test_polling_does_not_overtake_what_was_held_back(rig: Rig) -> None:
    """That comes first, and only on the next turn."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])
    rig.transport.resume_reading()
    rig.io.incoming = [datagrams(b"3")]

    assert rig.transport.poll() == []


def test_an_error_that_polling_meets_is_reported(rig: Rig) -> None:
    """To the protocol, as any other; the caller gets nothing this time."""
    rig.start()
    rig.io.incoming = [REFUSED, datagrams(b"1")]

    polled = [rig.transport.poll() for _ in range(2)]

    assert polled == [[], datagrams(b"1")]
    assert rig.events == ["made", REFUSED]
    assert rig.transport.stats().receive_errors == 1


def test_errors_without_end_do_not_keep_polling(rig: Rig) -> None:
    """The socket is left alone then, by this way too."""
    rig.start()
    rig.io.incoming = [REFUSED] * 100

    for _ in range(100):
        rig.transport.poll()

    assert len(rig.events) < 50


def test_a_read_error_is_reported(rig: Rig) -> None:
    """And counted; reading goes on."""
    rig.start()

    rig.receive(REFUSED, [b"1"])

    assert rig.events == ["made", REFUSED, b"1"]
    assert rig.transport.stats().receive_errors == 1


def test_errors_without_end_do_not_spin(rig: Rig) -> None:
    """After some in a row the socket is left alone for a moment."""
    rig.start()

    rig.receive(*[REFUSED] * 100)

    assert len(rig.events) < 50
    assert rig.loop.readers == {}
    timer = rig.loop.pending_timer()
    assert timer is not None
    assert 0.01 <= timer.delay <= 1


def test_after_a_moment_reading_goes_on(rig: Rig) -> None:
    """One error more is enough for the next rest, a datagram ends the series."""
    rig.start()
    rig.receive(*[REFUSED] * 100)
    rig.io.incoming.clear()
    rests = []

    for incoming in (REFUSED, [b"1"], REFUSED):
        rig.loop.fire_timer()
        rig.receive(incoming)
        rests.append(rig.loop.readers == {})
        if not rests[-1]:
            break

    assert rests == [True, False]
    assert rig.events[-1] == b"1"


def test_a_datagram_ends_a_series_of_errors(rig: Rig) -> None:
    """Errors now and then are no reason to rest."""
    rig.start()

    for _ in range(100):
        rig.receive(REFUSED, [b"1"])

    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_resuming_does_not_cut_the_rest_short(rig: Rig) -> None:
    """A protocol that pauses and resumes at every error would spin otherwise."""
    rig.start()
    rig.receive(*[REFUSED] * 100)

    rig.transport.pause_reading()
    rig.transport.resume_reading()

    assert rig.loop.readers == {}


async def test_reading_goes_on_after_an_icmp_error() -> None:
    """On every loop, some of which stop watching a socket that has an error."""
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as gone:
        peer = gone.getsockname()
    protocol = Recorder()
    told = asyncio.Event()
    protocol.on_event = lambda _: told.set()

    async def next_event() -> Any:
        told.clear()
        async with asyncio.timeout(10):
            await told.wait()
        return protocol.events[-1]

    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as sock:
        sock.connect(peer)
        io = BatchSocket(sock, gso_segments=1, gro=False)
        loop = asyncio.get_running_loop()
        transport = SelectorTransport(loop, sock, protocol, io)
        await transport.start()
        transport.try_send(b"nobody is there")
        error = await next_event()
        with sockets.open_bound(peer, socket.AF_INET) as back:
            back.sendto(b"payload", sock.getsockname())
            received = await next_event()
        transport.abort()
        lost = await next_event()

    assert isinstance(error, ConnectionRefusedError)
    assert (received, lost) == (b"payload", "lost")


def test_closing_ends_the_rest(rig: Rig) -> None:
    """The timer is not left with the event loop."""
    rig.start()
    rig.receive(*[REFUSED] * 100)

    rig.transport.close()

    assert rig.loop.pending_timer() is None


# -- closing


def test_closing_frees_the_descriptor_at_once(rig: Rig) -> None:
    """The port can be bound on the next line; the protocol hears of it next turn."""
    rig.start()
    addr = rig.sock.getsockname()

    rig.transport.close()

    with sockets.open_bound(addr, socket.AF_INET):
        pass
    assert (rig.events, rig.loop.readers) == (["made"], {})
    rig.loop.turn()
    assert rig.events == ["made", "lost"]


@pytest.mark.parametrize(
    "calls",
    [("close", "close"), ("close", "abort"), ("abort", "close"), ("abort", "abort")],
)
def test_closing_twice_is_closing_once(rig: Rig, calls: tuple[str, str]) -> None:
    """Whichever way; the protocol is told once."""
    rig.start()

    for call in calls:
        getattr(rig.transport, call)()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]
    assert rig.transport.is_closing()


def test_closing_sends_what_is_buffered_first(full: Rig) -> None:
    """Then the descriptor goes."""
    full.transport.close()
    before = full.sock.fileno(), full.transport.is_closing()
    full.io.room = 1
    full.loop.claim_writable()
    full.loop.turn()

    assert before[0] >= 0
    assert before[1]
    assert full.io.out == [(b"first", PEER)]
    assert (full.sock.fileno(), full.events) == (-1, ["lost"])


def test_a_closing_transport_resumes_the_protocol(full: Rig) -> None:
    """A protocol that was paused hears that all is out, as with asyncio's."""
    full.transport.sendto(bytes(HIGH), PEER)
    full.transport.close()
    full.io.room = EVERYTHING

    full.loop.claim_writable()
    full.loop.turn()

    assert full.events == ["pause", "resume", "lost"]


def test_aborting_forgets_what_is_buffered(full: Rig) -> None:
    """The descriptor goes now."""
    full.transport.abort()
    full.loop.turn()

    assert (full.io.out, full.sock.fileno(), full.events) == ([], -1, ["lost"])
    assert full.transport.get_write_buffer_size() == 0


def test_aborting_cuts_a_slow_close_short(full: Rig) -> None:
    """What is still buffered is forgotten then."""
    full.transport.close()

    full.transport.abort()
    full.loop.turn()

    assert (full.io.out, full.sock.fileno(), full.events) == ([], -1, ["lost"])


def test_an_error_after_close_is_not_reported(make_rig: MakeRig) -> None:
    """The protocol hears nothing between the close and the lost connection."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED]
    rig.transport.try_send(b"payload")

    rig.transport.close()
    rig.loop.turn()

    assert rig.events == ["lost"]
    assert rig.transport.stats().receive_errors == 1


def test_closing_works_after_the_loop_was_closed(rig: Rig) -> None:
    """The descriptor goes; the loop is not touched."""
    rig.start()
    rig.loop.closed = True

    rig.transport.close()

    assert (rig.sock.fileno(), rig.events) == (-1, ["made"])


def test_aborting_works_after_the_loop_was_closed(full: Rig) -> None:
    """Even with a writer left behind in it."""
    full.loop.closed = True

    full.transport.abort()

    assert full.sock.fileno() == -1


@with_unix_sockets
def test_closing_removes_the_path(make_rig: MakeRig, tmp_path: Path) -> None:
    """Of a UNIX socket that was bound here."""
    path = tmp_path / "socket"
    rig = make_rig(addr=str(path), family=sockets.AF_UNIX)
    bound = Rig(
        rig.sock, SelectorTransport, Recorder(), path=sockets.BoundPath(str(path))
    )

    bound.transport.close()

    assert not path.exists()


def test_the_counts_stay_readable(rig: Rig) -> None:
    """After close, when the kernel can be asked no more."""
    rig.transport.try_send(b"payload", PEER)
    rig.transport.close()

    assert rig.transport.stats().sent == 1


# -- looking


def test_the_representation_tells_the_state(rig: Rig) -> None:
    """In a log it shows which socket that is."""
    before = repr(rig.transport)
    fd = rig.sock.fileno()
    rig.transport.close()

    assert f"SelectorTransport fd={fd} batchio=python gro=False" in before
    assert "SelectorTransport closed" in repr(rig.transport)


def test_the_transport_knows_its_addresses(make_rig: MakeRig) -> None:
    """Under asyncio's names."""
    rig = make_rig(peer=PEER)
    info = rig.transport.get_extra_info

    assert info("socket") is rig.sock
    assert info("sockname") == rig.sock.getsockname()
    assert info("peername") == PEER


def test_an_unconnected_transport_has_no_peer(rig: Rig) -> None:
    """The name is known, its value is none."""
    assert rig.transport.get_extra_info("peername", "default") is None


def test_an_unknown_name_gives_the_default(rig: Rig) -> None:
    """As with asyncio's own transports."""
    assert rig.transport.get_extra_info("cipher", "default") == "default"


def test_the_offload_in_force_can_be_seen(rig: Rig) -> None:
    """It changes when the kernel turns out to refuse trains."""
    before = rig.transport.get_extra_info("offload")
    rig.io.gso_segments = 64

    assert before == {"gso_segments": 1, "gro": False, "batchio": "python"}
    assert rig.transport.get_extra_info("offload")["gso_segments"] == 64


def test_a_loop_that_watches_descriptors_is_recognised(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """All the loops of the matrix do."""
    loop = loop_factory()
    loop.close()

    assert watches_descriptors(loop)


def test_a_loop_that_does_not_is_recognised() -> None:
    """Windows' Proactor loop inherits the method and does not implement it."""

    blind: Any = type("Blind", (asyncio.AbstractEventLoop,), {})

    assert not watches_descriptors(blind())
