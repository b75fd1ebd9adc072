"""Fakes for the tests of the transports: loop, batch I/O, protocols, all in a rig."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
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
        self.failures: list[BaseException] = []

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context["exception"])

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self.call_soon(callback, *args)

    def is_closed(self) -> bool:
        return self.closed

    def is_running(self) -> bool:
        return False

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
    """An ordinary protocol that records its calls."""

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


def numbers(count: int) -> list[tuple[bytes, Any]]:
    """Return what the kernel is to get when so many numbers are sent."""
    return [(b"%d" % number, PEER) for number in range(count)]


def send_numbers(rig: Rig, count: int) -> None:
    for data, addr in numbers(count):
        rig.transport.sendto(data, addr)


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
