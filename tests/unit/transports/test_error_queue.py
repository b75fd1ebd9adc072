"""The transport with the error queue: what is stale, what is the datagram's own.

On a real socket whose errors are real or faked. The rest of sending is in
``test_exact.py`` and ``test_buffered.py``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._transports.error_queue import ErrorQueueTransport
from aioudp._transports.exact import MAX_STALE_ERRORS
from aioudp._types import NetworkError

from .fakes import PEER, REFUSED, FakeIO, FakeLoop, Recorder, datagrams

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: no other system has the queue"
)

OTHER: Final = ("127.0.0.1", 10)


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def network_error(number: int) -> NetworkError:
    return NetworkError(
        addr=OTHER,
        error=error(number),
        offender=None,
        mtu=None,
        icmp_type=3,
        icmp_code=1,
        data=b"",
    )


class FakeQueue:
    """An error queue that gives what the test says, one list for each read."""

    unreadable = 3

    def __init__(self) -> None:
        self.reads: list[list[NetworkError] | OSError] = []

    def read(self) -> list[NetworkError]:
        errors = self.reads.pop(0) if self.reads else []
        if isinstance(errors, OSError):
            raise errors
        return errors


class Hearing(Recorder):
    """A protocol that notes the errors of the network by their number."""

    def network_error_received(self, error: NetworkError) -> None:
        self._note(error.error.errno)


class Rig:
    """The transport, with everything around it faked but the socket."""

    def __init__(self, sock: Any) -> None:
        self.loop = FakeLoop()
        self.io = FakeIO(sock)
        self.queue = FakeQueue()
        self.protocol = Hearing()
        make: Any = ErrorQueueTransport
        self.transport = make(self.loop, sock, self.protocol, self.io)
        self.transport._error_queue = self.queue
        with pytest.raises(StopIteration):
            self.transport.start().send(None)
        self.protocol.events.clear()

    def send(self) -> None:
        self.transport.try_send(b"payload", PEER)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Make a rig; the end closes its socket."""
    with sockets.open_bound(("127.0.0.1", 0), 2) as sock:
        rig = Rig(sock)
        yield rig
        rig.transport.abort()


# -- sending


def test_a_stale_error_does_not_stop_a_send(rig: Rig) -> None:
    """The datagram is sent once; the protocol is notified in the next iteration."""
    rig.io.errors = [error(errno.EHOSTUNREACH)]
    rig.queue.reads = [[network_error(errno.EHOSTUNREACH)]]

    rig.send()

    assert rig.io.out == [(b"payload", PEER)]
    assert rig.protocol.events == []
    rig.loop.turn()
    assert rig.protocol.events == [errno.EHOSTUNREACH]


def test_a_stale_error_that_was_reported_already(rig: Rig) -> None:
    """The queue was read just before the socket had the error: the send goes out."""
    rig.io.errors = [error(errno.EHOSTUNREACH)]

    rig.send()

    assert rig.io.out == [(b"payload", PEER)]
    assert rig.transport.stats().send_errors == 0


def test_an_error_that_comes_again_is_the_datagrams_own(rig: Rig) -> None:
    """If the queue has no other; also behind a stale one of the same number."""
    rig.io.errors = [error(errno.EHOSTUNREACH)] * 2
    rig.queue.reads = [[network_error(errno.EHOSTUNREACH)]]

    with pytest.raises(OSError, match="sending 7 bytes to") as caught:
        rig.send()

    assert caught.value.errno == errno.EHOSTUNREACH
    assert rig.transport.stats().send_errors == 1
    rig.loop.turn()
    assert rig.protocol.events == [errno.EHOSTUNREACH]


def test_an_error_that_comes_again_of_somebody_else(rig: Rig) -> None:
    """The queue has it each time: the datagram is sent."""
    rig.io.errors = [error(errno.EHOSTUNREACH)] * 3
    rig.queue.reads = [[network_error(errno.EHOSTUNREACH)]] * 3

    rig.send()

    assert rig.io.out == [(b"payload", PEER)]
    rig.loop.turn()
    assert rig.protocol.events == [errno.EHOSTUNREACH] * 3


def test_an_error_that_icmp_does_not_cause(rig: Rig) -> None:
    """It is raised at once."""
    rig.io.errors = [error(errno.ENOBUFS)]

    with pytest.raises(OSError, match="sending 7 bytes to") as caught:
        rig.send()

    assert caught.value.errno == errno.ENOBUFS


def test_a_send_that_finds_no_room_behind_a_stale_error(rig: Rig) -> None:
    """It waits, as without the error."""
    rig.io.errors = [error(errno.ECONNREFUSED), BlockingIOError()]

    with pytest.raises(BlockingIOError):
        rig.send()


def test_errors_of_others_without_end(rig: Rig) -> None:
    """They are no reason to fail: the send waits, and tries again."""
    rig.io.errors += [REFUSED] * MAX_STALE_ERRORS * 2
    rig.queue.reads = [[network_error(errno.ECONNREFUSED)] for _ in range(100)]

    with pytest.raises(BlockingIOError):
        rig.send()

    rig.io.errors.clear()
    rig.send()
    assert rig.io.out == [(b"payload", PEER)]
    assert rig.transport.stats().send_errors == 0


def test_a_queue_that_cannot_be_read_while_sending(rig: Rig) -> None:
    """The next event will show; the send goes out."""
    rig.io.errors = [REFUSED]
    rig.queue.reads = [error(errno.EPERM)]

    rig.send()

    assert rig.io.out == [(b"payload", PEER)]
    assert rig.protocol.events == []


# -- receiving


def test_a_stale_error_does_not_hide_a_datagram(rig: Rig) -> None:
    """It is read behind the error, in the same call."""
    rig.io.incoming = [REFUSED, REFUSED, datagrams(b"payload")]

    assert rig.transport.poll() == datagrams(b"payload")
    assert rig.protocol.events == []


def test_stale_errors_without_end_do_not_hold_the_loop(rig: Rig) -> None:
    """So many are passed over; the rest is for the next event."""
    rig.io.incoming = [REFUSED] * (MAX_STALE_ERRORS + 1)

    assert rig.transport.poll() == []
    assert len(rig.io.incoming) == 1


def test_a_truncated_datagram_is_reported(rig: Rig) -> None:
    """Its error has the number of an ICMP error, too, but is about what arrived."""
    cut = error(errno.EMSGSIZE)
    rig.io.incoming = [cut]
    rig.io.truncated += 1

    assert rig.transport.poll() == []
    rig.io.incoming = [error(errno.EMSGSIZE), datagrams(b"payload")]
    assert rig.transport.poll() == datagrams(b"payload")

    assert rig.protocol.events == [cut]


def test_other_errors_are_reported(rig: Rig) -> None:
    """ICMP has nothing to do with them."""
    failed = error(errno.ENOMEM)
    rig.io.incoming = [failed]

    assert rig.transport.poll() == []

    assert rig.protocol.events == [failed]


# -- events


def test_an_event_reports_in_order(rig: Rig) -> None:
    """What a send has read before comes first, and nothing comes twice."""
    rig.io.errors = [REFUSED]
    rig.queue.reads = [[network_error(1)], [network_error(2), network_error(3)]]
    rig.send()

    rig.transport._on_error()
    rig.loop.turn()

    assert rig.protocol.events == [1, 2, 3]
    assert rig.transport.stats().receive_errors == 3


def test_a_queue_that_cannot_be_read_is_left_alone_for_a_while(rig: Rig) -> None:
    """The socket stays ready all the time, and the loop must not turn for it."""
    denied = error(errno.EPERM)
    rig.queue.reads = [denied]
    assert len(rig.loop.readers) == 1

    rig.transport._on_error()

    assert rig.protocol.events == [denied]
    assert rig.loop.readers == {}
    rig.loop.fire_timer()
    assert len(rig.loop.readers) == 1


def test_what_could_not_be_read_is_counted(rig: Rig) -> None:
    """The queue counts it."""
    assert rig.transport.stats().dropped_errors == FakeQueue.unreadable


@pytest.mark.parametrize("close", ["close", "abort"])
def test_closing_with_undelivered_errors(rig: Rig, close: str) -> None:
    """It isn't reported any more."""
    rig.io.errors = [REFUSED]
    rig.queue.reads = [[network_error(1)]]
    rig.send()

    getattr(rig.transport, close)()
    rig.loop.turn()

    assert rig.protocol.events == ["lost"]
    assert rig.loop.readers == {}


def test_closing_after_the_loop(rig: Rig) -> None:
    """The descriptors are freed all the same."""
    rig.loop.closed = True

    rig.transport.abort()

    assert rig.transport.get_extra_info("socket").fileno() == -1


def test_errors_while_the_last_is_sent(rig: Rig) -> None:
    """A transport that is closing empties the queue until all is out."""
    rig.io.room = 0
    rig.transport.sendto(b"last", PEER)
    rig.transport.close()
    rig.queue.reads = [[network_error(1)]]

    rig.transport._on_error()

    assert rig.queue.reads == []
    assert rig.protocol.events == []
    assert rig.transport.stats().receive_errors == 1
