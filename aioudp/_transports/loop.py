"""The loop transport: the event loop's own datagram transport reads, we send.

For loops that can't watch descriptors (Windows' Proactor), and for comparison on the
others. Sending is exact, on our own socket, so the differences between the loops'
transports in errors, empty datagrams and flow control don't matter. The limits are:

* it reads one datagram per event and no trains, at the loop's speed;
* if the loop's transport can't pause, ``overflow="pause"`` drops the newest datagrams;
* Proactor doesn't receive empty datagrams, and before python/cpython#156726 it stops
  reading after an error (``datagram_received`` and ``error_received`` in CPython's
  ``Lib/asyncio/proactor_events.py``);
* a full send buffer is retried by a timer, not when the socket is writable;
* UNIX datagrams of 256,000 bytes or more are refused, because the loop may have
  truncated them, and doesn't report it. uvloop pads abstract names with zero bytes, so
  names that end in zero bytes can't be distinguished;
* except on asyncio's selector loops, the descriptor is freed a moment after ``close``;
  ``aclose`` waits for that.

uvloop sets SO_REUSEADDR on every socket that it adopts (libuv's ``uv_udp_open``), which
lets any process take the port; this class resets it at once.

An error queue that someone fills would keep asyncio's transport spinning. On Linux, an
epoll instance reports it, and it's emptied. uvloop's own transport crashes the process
in this case (uvloop 0.23.0). A socket that was shut down makes both spin.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from .._system import sockets
from .._system.addresses import public_address
from .._system.error_queue import discard, pending_error
from .._system.receive_queue import Remaining
from .._types import Datagram, Received, Stats
from .base import State
from .socket_transport import SocketTransport
from .watcher import EpollWatcher

# Bytes that uvloop reads at a time; asyncio reads a little more (256 KiB).
_UNIX_LIMIT: Final = 256_000

_QUIET_ITERATIONS: Final = 3
"""Loop iterations without a datagram after which the kernel holds none. Every loop
polls for events once per iteration; callbacks may run one iteration later."""


class LoopTransport(SocketTransport):
    """A datagram transport that wraps the event loop's own."""

    __slots__ = ("_discarded", "_errors", "_inner", "_lost", "_remaining", "can_pause")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inner: Any = None
        self._errors: EpollWatcher | None = None
        self._discarded = 0  # entries of the error queue
        self._lost = asyncio.Event()
        self._remaining: Remaining | None = None  # only while draining
        self.can_pause = False

    def __del__(self, _warn: Any = None) -> None:
        """Do nothing: the loop's own transport warns and closes."""

    async def start(self) -> None:
        option = socket.SOL_SOCKET, socket.SO_REUSEADDR
        before = self._sock.getsockopt(*option)
        # On a loop of new_event_loop(), the original method has another name.
        open_inner = getattr(
            self._loop, "loop_datagram_endpoint", self._loop.create_datagram_endpoint
        )
        await open_inner(lambda: _Reader(self), sock=self._sock)
        if self._sock.getsockopt(*option) != before:
            self._sock.setsockopt(*option, before)
        self.can_pause = hasattr(self._inner, "pause_reading")
        if sys.platform == "linux" and self._family != sockets.AF_UNIX:
            errors = EpollWatcher(self._loop, self._on_error)
            try:
                errors.watch_errors(self._sock.fileno())
                self._errors = errors
            except NotImplementedError:  # a loop without add_reader()
                errors.close()
        self._started = True
        self._taker = self._protocol
        early, self._held_back = self._held_back, []  # received before the start
        self._call_protocol(self._protocol.connection_made, self)
        self._deliver_backlog()
        self._held_back += early
        self._deliver_held_back()

    def _stop_reading(self) -> None:
        self.pause_reading()
        super()._stop_reading()

    def _close_socket(self) -> None:
        if self._errors is not None:
            self._errors.ignore_errors(self._sock.fileno())
            self._errors.close()
        if self._inner is not None:
            self._inner.abort()
            if not isinstance(self._loop, asyncio.SelectorEventLoop):
                return  # the loop still has the descriptor, and will close it
        # asyncio's selector transport has stopped watching the descriptor, and would
        # close it in the next iteration. Closing it here frees the port now.
        self._sock.close()

    def _close_descriptors(self) -> None:
        if self._errors is not None:
            self._errors.close()
        self._lost.set()
        if os.getpid() == self._pid:
            super()._close_descriptors()
        elif self._sock.fileno() != -1:
            # uvloop keeps the socket object, and must not be called here.
            os.close(self._sock.detach())

    def _on_error(self) -> None:
        """Empty the error queue, which the loop's transport doesn't read."""
        found = discard(self._sock)
        self._discarded += found
        # The loop gets a pending error by reading, unless it isn't reading.
        if not found and (error := pending_error(self._sock)):
            self._report(error)

    def stats(self) -> Stats:
        stats = super().stats()
        return replace(stats, dropped_errors=stats.dropped_errors + self._discarded)

    async def wait_closed(self) -> None:
        """Wait until the loop's transport has released the descriptor."""
        if self._inner is not None:
            await self._lost.wait()

    def pause_reading(self) -> None:
        if self.can_pause:
            self._taker = None
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        if self.can_pause and self._state is State.OPEN:
            self._taker = self._protocol
            self._inner.resume_reading()
            if self._held_back:
                self._loop.call_soon(self._deliver_held_back)

    def drain(self, done: Callable[[], object]) -> None:
        self._remaining = Remaining(self._sock)
        self.resume_reading()
        self._await_quiet(self._io.received, _QUIET_ITERATIONS, done)

    def _await_quiet(
        self, received: int, iterations: int, done: Callable[[], object]
    ) -> None:
        """Let the loop's transport read until no more datagrams come."""
        if self._state is not State.OPEN:
            return
        iterations = (
            iterations - 1 if received == self._io.received else _QUIET_ITERATIONS
        )
        if iterations and self._remaining:
            self._loop.call_soon(self._await_quiet, self._io.received, iterations, done)
        else:
            self._remaining = None
            self.pause_reading()
            done()

    def poll(self, max_datagrams: int | None = None) -> list[Received]:
        """Return nothing: the loop's transport can't read on demand."""
        return []

    def _watch_writable(self) -> bool:
        return False  # the loop doesn't allow others to watch this descriptor

    def _unwatch_writable(self) -> None:
        """Do nothing: nothing was watched."""

    def _on_datagram(self, data: bytes, addr: Any) -> None:
        if self._state is not State.OPEN:
            return
        if self._sock.family == sockets.AF_UNIX:
            if len(data) >= _UNIX_LIMIT:
                self._io.truncated += 1
                self._report(OSError(errno.EMSGSIZE, "datagram may be truncated"))
                return
            if isinstance(addr, bytes):
                addr = addr.rstrip(b"\0")
        self._io.received += 1
        self._io.received_bytes += len(data)
        if not self._drop_in:
            addr = public_address(addr)
        datagram = Datagram(data, addr)
        if self._remaining is not None:
            self._remaining.take([datagram])
        self._held_back += self._admit([datagram])
        self._deliver_held_back()
        if self.can_pause and not self._wanted():
            self.pause_reading()


class _Reader(asyncio.DatagramProtocol):
    """The protocol of the loop's transport; it forwards all calls to ours."""

    __slots__ = ("_outer",)

    def __init__(self, outer: LoopTransport) -> None:
        self._outer = outer

    def connection_made(self, transport: Any) -> None:
        self._outer._inner = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._outer._on_datagram(data, addr)

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self._outer._report(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outer._lost.set()
        self._outer.abort()  # nothing reads any more, so waiting must end
