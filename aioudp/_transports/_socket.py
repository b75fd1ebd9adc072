"""What the transports over a real socket share: everything but reading and waiting.

Sending is exact and done here, on our own socket, whoever reads it. A send that finds
the kernel's buffer full is tried again when the socket is writable. Some sockets claim
to be writable and refuse all the same (an unconnected UNIX socket whose peer has a
full queue: unix_dgram_poll() in net/unix/af_unix.c looks at the connected peer only),
so a second refusal in a row waits for a timer, not for another false promise.

An ICMP error that comes back for an earlier datagram is reported by the kernel on
whatever call comes next, often the next send, which is then not carried out. That
error says nothing of the datagram at hand: it goes to ``error_received``, and the
datagram is sent again.

Imports ``base``, ``_write_buffer``, and from below ``_types``, ``_errors``,
``_address``, ``_sockets``, ``_batchio``.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, NoReturn, TypeVar

from .. import _address, _sockets
from .._batchio import IMPLEMENTATION, BatchSocket
from .._errors import EndpointClosedError, with_context
from .._types import Datagram, Payload, Stats
from ._write_buffer import WriteBuffer
from .base import BatchProtocol, DatagramTransport, Prepared

_RETRY_FIRST: Final = 0.001  # seconds; doubled with every refusal in a row ...
_RETRY_LAST: Final = 0.05  # ... up to this

# How often one send may be answered with the error of an earlier one.
_MAX_STALE_ERRORS: Final = 8


_T = TypeVar("_T")


def check_payload(data: object) -> None:
    """Refuse what is not a payload, with a TypeError."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"a bytes-like object is required, not {type(data).__name__!r}")


class SocketTransport(DatagramTransport):
    """A transport that owns a bound socket and sends on it."""

    __slots__ = (
        "__weakref__",
        "_armed",
        "_backlog",
        "_batch_protocol",
        "_buffer",
        "_closing",
        "_destinations",
        "_foreign",
        "_held_back",
        "_io",
        "_kernel_drops",
        "_loop",
        "_path",
        "_peer",
        "_protocol",
        "_receive_errors",
        "_refusals",
        "_send_errors",
        "_sent_when_armed",
        "_sock",
        "_waiters",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        io: BatchSocket,
        *,
        backlog: Sequence[Datagram] = (),
        foreign: int = 0,
        path: _sockets.BoundPath | None = None,
    ) -> None:
        try:
            peer = sock.getpeername() or None
        except OSError:
            peer = None
        super().__init__(
            {
                "socket": sock,
                "sockname": sock.getsockname(),
                "peername": peer,
            }
        )
        self._loop = loop
        self._sock = sock
        self._io = io
        self._peer = peer
        self._path = path
        self._destinations = _address.destinations(
            sock.family, dual_stack=_sockets.is_dual_stack(sock)
        )
        self.set_protocol(protocol)
        self._backlog = backlog
        self._foreign = foreign
        self._buffer = WriteBuffer()
        self._closing = False
        self._kernel_drops: int | None = None
        self._send_errors = self._receive_errors = 0
        self._held_back: list[Datagram] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._armed: asyncio.TimerHandle | Literal["writer"] | None = None
        self._refusals = 0
        self._sent_when_armed = -1

    def __repr__(self) -> str:
        state = "closed" if self._closing else f"fd={self._sock.fileno()}"
        name = type(self).__name__
        return f"<{name} {state} batchio={IMPLEMENTATION} gro={self._io.gro}>"

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name != "offload":
            return super().get_extra_info(name, default)
        return {
            "gso_segments": self._io.gso_segments,
            "gro": self._io.gro,
            "batchio": IMPLEMENTATION,
        }

    # -- opening and closing

    @abstractmethod
    async def start(self) -> None:
        """Tell the protocol of the connection and begin to read."""

    @abstractmethod
    def _stop_reading(self) -> None:
        """Stop reading for good."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._batch_protocol = protocol if isinstance(protocol, BatchProtocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Close, once what ``sendto`` has buffered is out; at once if there is none."""
        if self._closing:
            return
        self._closing = True
        self._stop_reading()
        if self._buffer:
            self._wake_waiters()
        else:
            self._shut()

    def abort(self) -> None:
        """Close at once and forget what ``sendto`` has buffered."""
        if self._kernel_drops is not None:
            return
        if not self._closing:
            self._closing = True
            self._stop_reading()
        self._buffer.clear()
        self._shut()

    def _shut(self) -> None:
        """Free the descriptor and the port, now."""
        self._disarm()
        self._kernel_drops = _sockets.kernel_drops(self._sock)
        self._close_socket()
        if self._path is not None:
            self._path.remove()
        if self._loop.is_closed():
            return
        self._wake_waiters()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def _close_socket(self) -> None:
        self._sock.close()

    async def wait_closed(self) -> None:
        """Return at once: :meth:`close` has freed the descriptor."""

    # -- exact sending

    def try_send(self, data: Payload, addr: object = None) -> None:
        if self._closing or self._buffer:
            self._refuse()
        if addr is not None:
            addr = self._translate(addr)
        self._send(data, addr)

    def try_send_segments(
        self, data: memoryview, segment_size: int, addr: object = None
    ) -> int:
        if self._closing or self._buffer:
            self._refuse()
        if addr is not None:
            addr = self._translate(addr)
        try:
            return self._io.send_segments(data, segment_size, addr)
        except BlockingIOError:
            raise
        except OSError as exc:
            again = partial(self._io.send_segments, data, segment_size, addr)
            return self._send_again(exc, again, data[:segment_size], addr)

    def prepare(self, datagrams: Sequence[tuple[Payload, object]]) -> Prepared:
        prepared = []
        for item in datagrams:
            try:
                data, addr = item
            except (TypeError, ValueError):
                raise TypeError(
                    f"a pair of payload and address is required, not {item!r}"
                ) from None
            if type(data) is not bytes:
                check_payload(data)
                data = bytes(data)  # what waits must not change
            prepared.append((data, None if addr is None else self._translate(addr)))
        return prepared

    def try_send_many(self, datagrams: Prepared, start: int = 0) -> int:
        if self._closing or self._buffer:
            self._refuse()
        try:
            return self._io.send_batch(datagrams, start)
        except BlockingIOError:
            raise
        except OSError as exc:
            again = partial(self._io.send_batch, datagrams, start)
            return self._send_again(exc, again, *datagrams[start])

    def _send(self, data: Payload, addr: Any) -> None:
        """Send one datagram to an address that is already as the socket takes it."""
        try:
            self._io.send(data, addr)
        except BlockingIOError:
            raise
        except OSError as exc:
            self._send_again(exc, partial(self._io.send, data, addr), data, addr)
        except BufferError:  # a memoryview with gaps: the kernel wants one piece
            self._send(bytes(data), addr)

    def _send_again(
        self, error: OSError, send: Callable[[], _T], data: Payload, addr: Any
    ) -> _T:
        """Repeat a send that met an earlier datagram's error; raise any other error."""
        for _ in range(_MAX_STALE_ERRORS):
            if not self._is_stale(error):
                break
            try:
                return send()
            except BlockingIOError:
                raise
            except OSError as exc:
                error = exc
        raise self._explained(error, data, addr) from None

    def _refuse(self) -> NoReturn:
        if self._closing:
            raise EndpointClosedError
        raise BlockingIOError("datagrams given to sendto go first")

    def _translate(self, addr: object) -> Any:
        """Return what the socket takes for *addr*; ``None`` for the connected peer."""
        try:
            known = self._destinations[addr]
        except TypeError:  # not hashable, so certainly no address: say what is wrong
            known = self._destinations.__missing__(addr)
        if self._peer is None:
            return known
        if known != self._peer:
            raise ValueError(f"connected to {self._peer!r}, cannot send to {addr!r}")
        return None

    def _is_stale(self, error: OSError) -> bool:
        """Tell whether *error* was left by an earlier datagram, and report it if so.

        Only a connected UDP socket gets ECONNREFUSED, and only for what ICMP said of
        an earlier datagram (udp(7)). On a UNIX socket it is about this one.
        """
        if (
            not isinstance(error, ConnectionRefusedError)
            or self._sock.family == _sockets.AF_UNIX
        ):
            return False
        self._loop.call_soon(self._report, error)
        return True

    def _report(self, error: OSError) -> None:
        self._receive_errors += 1
        if not self._closing:
            self._protocol.error_received(error)

    def _explained(self, error: OSError, data: Any, addr: Any) -> OSError:
        self._send_errors += 1
        size = memoryview(data).nbytes
        peer = self._peer if addr is None else addr
        where = "" if peer is None else f" to {_address.public_address(peer)!r}"
        advice = _sockets.advice_on(self._sock, error, peer)
        return with_context(error, f"sending {size} bytes{where}{advice}")

    # -- asyncio's sending: buffered, and never raising for the network

    def sendto(self, data: Payload, addr: object = None) -> None:
        """Send a datagram, or keep it until the kernel has room.

        Raises:
            TypeError: If *data* is not bytes-like or *addr* is not an address.
            ValueError: If *addr* cannot be reached from here or is no numeric address.
        """
        check_payload(data)
        if addr is not None:
            addr = self._translate(addr)
        if self._closing:
            return
        if not self._buffer and self._send_or_report(data, addr):
            return
        self._buffer.append(bytes(data), addr)
        self._arm()
        self._pause_above_high_water()

    def _pause_above_high_water(self) -> None:
        if self._buffer.size > self._buffer.high and not self._buffer.paused:
            self._buffer.paused = True
            self._protocol.pause_writing()

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
        """Send, or tell the protocol why not. Returns whether there was room."""
        try:
            self._send(data, addr)
        except BlockingIOError:
            return False
        except OSError as exc:
            self._protocol.error_received(exc)
        return True

    def _flush(self) -> None:
        """Send what is buffered until there is no room again."""
        buffer = self._buffer
        while buffer and self._send_or_report(*buffer.first()):
            if buffer:  # error_received may have aborted the transport
                buffer.remove_first()
        if buffer.paused and buffer.size <= buffer.low:
            buffer.paused = False
            if not self._closing:
                self._protocol.resume_writing()

    # -- waiting for room

    async def wait_writable(self) -> None:
        if self._closing:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        self._arm()
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    @abstractmethod
    def _watch_writable(self) -> bool:
        """Have :meth:`_on_writable` called when the socket is writable, if possible."""

    @abstractmethod
    def _unwatch_writable(self) -> None:
        """Undo :meth:`_watch_writable`."""

    def _arm(self) -> None:
        if self._armed is not None:
            return
        if self._io.sent != self._sent_when_armed:  # something got through in between
            self._sent_when_armed = self._io.sent
            self._refusals = 0
        if self._refusals == 0 and self._watch_writable():
            self._armed = "writer"
        else:
            delay = min(_RETRY_FIRST * 2**self._refusals, _RETRY_LAST)
            self._armed = self._loop.call_later(delay, self._on_writable)
        self._refusals = min(self._refusals + 1, 16)

    def _disarm(self) -> None:
        if self._armed == "writer":
            self._unwatch_writable()
        elif self._armed is not None:
            self._armed.cancel()
        self._armed = None

    def _on_writable(self) -> None:
        self._disarm()
        self._flush()
        if self._buffer:
            self._arm()
        elif self._closing:
            self.abort()
        else:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- receiving

    def _deliver(self, datagrams: list[Datagram]) -> None:
        """Hand a batch to the protocol, whole if it takes batches."""
        if self._batch_protocol is not None:
            self._batch_protocol.datagrams_received(datagrams)
            return
        received = self._protocol.datagram_received
        for index, (data, addr) in enumerate(datagrams):
            received(data, addr)
            if not self.is_reading():
                self._hold_back(datagrams[index + 1 :])
                return

    def _hold_back(self, datagrams: list[Datagram]) -> None:
        """Keep the rest of a batch whose protocol paused reading in the middle."""
        self._held_back = [] if self._closing else datagrams

    def _deliver_held_back(self) -> None:
        """After reading was resumed, hand over what had been held back."""
        if self.is_reading():
            datagrams, self._held_back = self._held_back, []
            self._deliver(datagrams)

    def _deliver_backlog(self) -> None:
        """Hand over what the peer had sent before the connect was complete."""
        if self._closing or not self._backlog:
            return
        backlog, self._backlog = list(self._backlog), ()
        self._io.received += len(backlog)
        self._io.received_bytes += sum(len(data) for data, _ in backlog)
        if self.is_reading():
            self._deliver(backlog)
        else:
            self._hold_back(backlog)

    def stats(self) -> Stats:
        io = self._io
        drops = self._kernel_drops
        if drops is None:
            drops = _sockets.kernel_drops(self._sock)
        return Stats(
            received=io.received,
            received_bytes=io.received_bytes,
            sent=io.sent,
            sent_bytes=io.sent_bytes,
            dropped_kernel=drops + self._foreign,
            truncated=io.truncated,
            send_errors=self._send_errors,
            receive_errors=self._receive_errors,
        )
