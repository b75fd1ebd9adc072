"""Buffered sending: asyncio's ``sendto``, waiting for room, and closing.

The top layer that all transports share. Sending is in one of these states; the columns
are the attributes that determine it:

=========  ============  ===========  ================  =====================
state      ``_state``    ``_buffer``  ``_retry.armed``  a ``sendto`` ...
=========  ============  ===========  ================  =====================
idle       ``OPEN``      empty        no                is sent at once
gathering  ``OPEN``      some         no                joins; all are sent at the
                                                        end of the iteration
blocked    ``OPEN``      any          yes               joins; all are sent once
                                                        there is room
closing    ``CLOSING``   some         yes               is ignored
closed     ``CLOSED``    empty        no                is ignored
=========  ============  ===========  ================  =====================

An exact send never overtakes the buffer: if the buffer is gathering, the send flushes
it; if it's blocked, the send finds no room (``BlockingIOError``). With an empty buffer,
the send is attempted, blocked or not. If closed or closing, it raises
``EndpointClosedError``.

A transport that isn't based on a system socket only needs this class and five methods:
``start``, ``pause_reading``, ``resume_reading``, ``poll`` and ``wait_closed``; also
``_watch_writable`` and ``_unwatch_writable`` if it can be full, and ``_free`` and
``_forsake`` if it holds resources.
"""

from __future__ import annotations

import asyncio
import errno
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final

from .._errors import EndpointClosedError
from .._system.batchio import BatchSocket, check_payload
from .._types import Payload, Stats
from .base import State
from .exact import ExactTransport
from .home import Place, place_of
from .retry import Retry

# Maximum datagrams to gather in one iteration of the loop: a full train.
_GATHERED: Final = 128


class BufferedTransport(ExactTransport):
    """A transport with ``sendto``, waiting for room, and closing.

    *default_addr* is the destination of ``sendto`` without an address.
    """

    __slots__ = (
        "_default_addr",
        "_gathering",
        "_pid",
        "_retry",
        "_to_anyone",
        "_waiters",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        io: BatchSocket,
        protocol: asyncio.BaseProtocol,
        extra: dict[str, Any],
        *,
        default_addr: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(loop, io, protocol, extra, **options)
        self._to_anyone = self._peer is None and default_addr is None
        # For sendto, if the socket isn't connected.
        self._default_addr = None
        if default_addr is not None:
            port_0 = isinstance(default_addr, tuple) and not default_addr[1]
            self._default_addr = (
                default_addr if port_0 else self._destination(default_addr)
            )
        self._pid = os.getpid()
        self._gathering = False  # whether sendto was called in this loop iteration
        self._waiters: list[asyncio.Future[None]] = []
        self._retry = Retry(loop, self)

    # -- closing

    def close(self) -> None:
        """Close, once the write buffer has been sent; at once if it's empty."""
        if self._state is not State.OPEN or not self._at_home(self.close):
            return
        self._state = State.CLOSING
        self._stop_reading()
        if self._buffer and not self._retry.armed:
            self._flush()
        if self._buffer:
            self._wake_waiters()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once and drop the write buffer."""
        if self._state is State.CLOSED or not self._at_home(self.abort):
            return
        if self._state is State.OPEN:
            self._stop_reading()
        self._state = State.CLOSED
        self._buffer.clear()
        self._retry.disarm()
        self._free()
        self._wake_waiters()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def _at_home(self, close: Callable[[], None]) -> bool:
        """Return whether to close here; else, close or let the loop call *close*."""
        place = place_of(self._loop, self._pid)
        if place is Place.OTHER_THREAD:
            try:
                self._loop.call_soon_threadsafe(close)
            except RuntimeError:  # the loop has just been closed
                place = Place.NOWHERE
        if place is Place.NOWHERE:
            self._state = State.CLOSED
            self._taker = None
            self._held_back = []
            self._buffer.clear()
            self._forsake()
        return place is Place.HERE

    def _free(self) -> None:
        """Free the transport's resources, the descriptor and the port, now."""

    def _forsake(self) -> None:
        """Close the descriptors, without touching the loop or anything shared."""

    # -- sendto: buffered, never raises network errors

    def sendto(self, data: Payload, addr: object = None) -> None:
        """Send a datagram, or buffer it until the kernel has room.

        Raises:
            TypeError: If *data* isn't bytes-like or *addr* isn't an address.
            ValueError: If *addr* can't be reached from this socket, or isn't numeric.
        """
        if type(data) is not bytes:
            check_payload(data)
            data = bytes(data)  # buffered data must not change
        if addr is None:
            addr = self._default_addr
        else:
            try:
                known = self._destinations[addr]
            except (TypeError, ValueError):
                if self._names_port_0(addr):
                    self._refuse_port_0(data, addr)
                    return
                addr = self._only_destination(addr)  # raises the error, if any
            else:
                addr = known if self._to_anyone else self._only_destination(addr)
        if self._state:
            return
        buffer = self._buffer
        if not self._gathering:
            # The first datagram of a loop iteration is sent now. Those that follow in
            # the same iteration are gathered, and sent in trains, with one system call.
            # Another thread isn't in an iteration, so its datagrams are sent now.
            if asyncio._get_running_loop() is self._loop:
                self._gathering = True
                self._loop.call_soon(self._end_iteration)
            if not buffer.size and self._send_or_report(data, addr):
                return
            if not self._gathering:  # the loop must wait for room, in its own thread
                self._loop.call_soon_threadsafe(self._end_iteration)
        buffer.append(data, addr)
        if len(buffer.waiting) >= _GATHERED and not self._retry.armed:
            self._flush()
        if buffer.size > buffer.high:
            self._pause_above_high_water()

    def _only_destination(self, addr: object) -> Any:
        """Return *addr* in the socket's form, if it's the only valid destination.

        The error messages of asyncio and uvloop start with the same words, and some
        programs check for them.
        """
        known = self._destination(addr)
        only = self._peer or self._default_addr
        if only is not None and known != only:
            raise ValueError(
                f"Invalid address: must be None or {only}; cannot send to {addr!r}"
            )
        return self._default_addr if only is not None else known

    def _names_port_0(self, addr: object) -> bool:
        """Return whether the system, rather than this class, refuses *addr*.

        Peers exchange port numbers, so a port 0 may come from the network: asyncio's
        transports report it as a network error.
        """
        possible = self._to_anyone or addr == self._default_addr
        return possible and isinstance(addr, tuple) and addr[1:2] == (0,)

    def _refuse_port_0(self, data: Payload, addr: Any) -> None:
        if self._state is State.OPEN:
            error = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self._protocol.error_received(self._explained(error, data, addr))

    def _pause_above_high_water(self) -> None:
        buffer = self._buffer
        if buffer.size > buffer.high and not self._retry.armed:
            self._flush()  # it was only gathered: the kernel may have room
        if buffer.size > buffer.high and not buffer.paused:
            buffer.paused = True
            self._call_protocol(self._protocol.pause_writing)

    def _end_iteration(self) -> None:
        self._gathering = False
        if self._buffer and not self._retry.armed:
            self._flush()

    def get_write_buffer_size(self) -> int:
        return self._buffer.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._buffer.low, self._buffer.high

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        self._buffer.set_limits(high, low)
        self._pause_above_high_water()

    def _send_or_report(self, data: Payload, addr: Any) -> bool:
        """Send, or report the error to the protocol. Return whether there was room."""
        try:
            self._send(data, addr)
        except BlockingIOError:
            return False
        except OSError as exc:
            self._protocol.error_received(exc)
        return True

    def _flush(self) -> None:
        """Send the write buffer until there's no room; then wait for room."""
        buffer = self._buffer
        while buffer:
            try:
                buffer.remove(self._send_batch(buffer.waiting, buffer.done))
            except BlockingIOError:
                self._retry.arm(self._io.sent)
                break
            except OSError as exc:
                buffer.remove(1)
                self._call_protocol(self._protocol.error_received, exc)
        if buffer.paused and buffer.size <= buffer.low:
            buffer.paused = False
            self._call_protocol(self._protocol.resume_writing)

    def _make_way(self) -> None:
        if self._state is State.OPEN and not self._retry.armed:
            self._flush()
        if self._state is not State.OPEN:  # the protocol may have closed it
            raise EndpointClosedError
        if self._buffer:
            raise BlockingIOError("datagrams passed to sendto are sent first")

    # -- waiting for room

    async def wait_writable(self) -> None:
        if self._state is not State.OPEN:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            self._retry.arm(self._io.sent)
            await waiter
        finally:
            self._waiters.remove(waiter)

    @abstractmethod
    def _watch_writable(self) -> bool:
        """Call :meth:`_on_writable` when the socket is writable, if possible."""

    @abstractmethod
    def _unwatch_writable(self) -> None:
        """Undo :meth:`_watch_writable`."""

    def _on_writable(self) -> None:
        self._retry.disarm()
        self._flush()
        if self._buffer:
            return
        if self._state is State.CLOSING:
            self.abort()
        else:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- counting

    def stats(self) -> Stats:
        io = self._io
        return Stats(
            received=io.received,
            received_bytes=io.received_bytes,
            sent=io.sent,
            sent_bytes=io.sent_bytes,
            dropped_kernel=self._dropped_below(),
            dropped_kernel_max=self._dropped_below_at_most(),
            truncated=io.truncated + self._cut_off,
            send_errors=self._send_errors,
            receive_errors=self._receive_errors,
        )

    def _dropped_below(self) -> int:
        """Return the number of drops before datagrams could be read."""
        return 0

    def _dropped_below_at_most(self) -> int:
        """Return the maximum number of datagrams that these drops stand for."""
        return self._dropped_below()
