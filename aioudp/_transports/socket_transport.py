"""What the transports over a real socket share: everything but reading and waiting.

Sending is exact and done here, on our own socket, whoever reads it. A send that finds
the kernel's buffer full is tried again when the socket is writable. Some sockets claim
to be writable and refuse all the same (an unconnected UNIX socket whose peer has a
full queue: unix_dgram_poll() in net/unix/af_unix.c looks at the connected peer only),
so a second refusal in a row waits for a timer, not for another false promise.

An ICMP error that comes back for an earlier datagram is reported by the kernel on
whatever call comes next, often the next send, which is then not carried out. That
error says nothing of the datagram at hand: it goes to ``error_received``, and the
datagram is sent again. An error that is about the datagram at hand, a route that is
missing for example, is told from it by coming again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar

from .._errors import EndpointClosedError, TruncatedError, with_context
from .._system import addresses, path_mtu, sockets
from .._system.batchio import BatchSocket, check_payload
from .._system.segments import cut_off
from .._system.send_options import SendOptions, Steered, steer
from .._types import Datagram, Message, Payload, Received, Stats
from .base import BatchProtocol, DatagramTransport, Prepared
from .write_buffer import WriteBuffer

MAX_BATCH: Final = 1024
"""Datagrams of one readiness event for a protocol that names no number of its own."""

_RETRY_FIRST: Final = 0.001  # seconds; doubled with every refusal in a row ...
_RETRY_LAST: Final = 0.05  # ... up to this

# Datagrams of sendto to gather before the turn of the loop is over; a full train.
_GATHERED: Final = 128

# How often one send may be answered with the error of an earlier one.
MAX_STALE_ERRORS: Final = 8

# What the next call on a connected socket may get to hear because of ICMP:
# icmp_err_convert in net/ipv4/icmp.c, tab_unreach and icmpv6_err_convert in
# net/ipv6/icmp.c. ECONNREFUSED has no other cause there, the others may have.
FROM_ICMP: Final = {
    getattr(errno, name)
    for name in (
        "EACCES",
        "ECONNREFUSED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EMSGSIZE",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPROTO",
    )
    if hasattr(errno, name)
}


_T = TypeVar("_T")


class SocketTransport(DatagramTransport):
    """A transport that owns a bound socket and sends on it."""

    __slots__ = (
        "__dict__",  # libraries set attributes on a transport, as asyncio's own allow
        "__weakref__",
        "_admits",
        "_armed",
        "_backlog",
        "_batch_protocol",
        "_buffer",
        "_closing",
        "_cut_off",
        "_default_addr",
        "_destinations",
        "_drop_in",
        "_foreign",
        "_gathering",
        "_hears_icmp",
        "_held_back",
        "_interrupted",
        "_io",
        "_kernel_drops",
        "_loop",
        "_max_datagram_size",
        "_packet_info",
        "_path",
        "_peer",
        "_protocol",
        "_receive_errors",
        "_refusals",
        "_send_errors",
        "_sent_when_armed",
        "_sock",
        "_to_anyone",
        "_waiters",
        "_wanted",
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
        path: sockets.BoundPath | None = None,
        default_addr: Any = None,
        drop_in: bool = False,
        packet_info: bool = False,
        max_datagram_size: int | None = None,
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
        # On a UNIX socket a refusal is always about the datagram at hand.
        self._hears_icmp = peer is not None and sock.family != sockets.AF_UNIX
        self._path = path
        self._packet_info = packet_info
        self._max_datagram_size = max_datagram_size
        self._cut_off = 0  # datagrams that were longer
        # Whether what is read is not yet what is to be handed over.
        self._admits = max_datagram_size is not None or (
            packet_info and not io.packet_info
        )
        self._drop_in = drop_in  # for any protocol; there is no endpoint above
        self._to_anyone = peer is None and default_addr is None
        self._destinations = addresses.destinations(
            sock.family, dual_stack=sockets.is_dual_stack(sock)
        )
        # Of sendto; the socket is not connected.
        self._default_addr = None
        if default_addr is not None:
            self._default_addr = self._translate(default_addr)
        self.set_protocol(protocol)
        self._backlog = backlog
        self._foreign = foreign
        self._buffer = WriteBuffer()
        self._closing = False
        self._kernel_drops: int | None = None
        self._send_errors = self._receive_errors = 0
        self._held_back: list[Received] = []
        self._gathering = False  # whether sendto was called in this turn of the loop
        self._waiters: list[asyncio.Future[None]] = []
        self._armed: asyncio.TimerHandle | Literal["writer"] | None = None
        self._refusals = 0
        self._sent_when_armed = -1

    def __del__(self, _warn: Any = warnings.warn) -> None:
        try:
            forgotten = self._drop_in and self._kernel_drops is None
        except AttributeError:  # __init__ did not get far enough to own anything
            return
        if forgotten:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._close_socket()

    def __repr__(self) -> str:
        state = "closed" if self._closing else f"fd={self._sock.fileno()}"
        name = type(self).__name__
        return f"<{name} {state} batchio={self._io.implementation} gro={self._io.gro}>"

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name != "offload":
            return super().get_extra_info(name, default)
        return {
            "gso_segments": self._io.gso_segments,
            "gro": self._io.gro,
            "batchio": self._io.implementation,
        }

    # -- opening and closing

    @abstractmethod
    async def start(self) -> None:
        """Tell the protocol of the connection and begin to read."""

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        """Call the protocol from where the event loop would not catch its mistakes.

        They go where those of any callback go, and nothing else is disturbed.
        """
        try:
            what(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {
                    "message": f"Exception in {what!r}",
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )

    @abstractmethod
    def _stop_reading(self) -> None:
        """Stop reading for good."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._batch_protocol = protocol if isinstance(protocol, BatchProtocol) else None
        self._wanted: Callable[[], int] = getattr(
            protocol, "datagrams_wanted", lambda: MAX_BATCH
        )
        self._interrupted = True  # the rest of a batch is for the new protocol

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
        if self._buffer and self._armed is None:
            self._flush()
        if self._buffer:
            self._wake_waiters()
        else:
            self.abort()

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
        self._kernel_drops = sockets.kernel_drops(self._sock)
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
        if self._closing or self._buffer.size:
            self._make_way()
        if addr is not None:
            addr = self._translate(addr)
        try:  # as _send does, without the call
            self._io.send(data, addr)
        except BlockingIOError:
            raise
        except (OSError, BufferError) as exc:
            self._send_after(exc, data, addr)

    def try_send_segments(
        self,
        data: memoryview,
        segment_size: int,
        addr: object = None,
        options: SendOptions | None = None,
    ) -> int:
        if self._closing or self._buffer.size:
            self._make_way()
        if addr is not None or options is not None:
            addr = self._steer(addr, options)
        try:
            return self._io.send_segments(data, segment_size, addr)
        except BlockingIOError:
            raise
        except OSError as exc:
            again = partial(self._io.send_segments, data, segment_size, addr)
            return self._send_again(exc, again, data[:segment_size], addr)

    def prepare(self, datagrams: Sequence[tuple[Any, ...]]) -> Prepared:
        return self._io.prepare(datagrams, self._translate, self._steer)

    def try_send_many(self, datagrams: Prepared, start: int = 0) -> int:
        if self._closing or self._buffer.size:
            self._make_way()
        return self._send_batch(datagrams, start)

    def _send_batch(self, datagrams: Prepared, start: int) -> int:
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
        except (OSError, BufferError) as exc:
            self._send_after(exc, data, addr)

    def _send_after(self, error: Exception, data: Payload, addr: Any) -> None:
        """Send what met an error, if there is a way; else raise it."""
        if isinstance(error, OSError):
            self._send_again(error, partial(self._io.send, data, addr), data, addr)
        else:  # a memoryview with gaps: the kernel wants one piece
            self._send(bytes(data), addr)

    def _send_again(
        self, error: OSError, send: Callable[[], _T], data: Payload, addr: Any
    ) -> _T:
        """Repeat a send that met an earlier datagram's error; raise its own."""
        for _ in range(MAX_STALE_ERRORS if self._hears_icmp else 0):
            if error.errno not in FROM_ICMP:
                break
            try:
                done = send()
            except BlockingIOError:
                self._report_soon(error)
                raise
            except OSError as exc:
                if exc.errno == error.errno != errno.ECONNREFUSED:
                    break  # it came again, so it is about this datagram
                self._report_soon(error)
                error = exc
            else:
                self._report_soon(error)
                return done
        raise self._explained(error, data, addr) from None

    def _make_way(self) -> None:
        """Send first what was given to sendto; raise if that cannot be."""
        if self._armed is None and not self._closing:
            self._flush()
        if self._closing:  # since before, or by the protocol, told of an error
            raise EndpointClosedError
        if self._buffer:
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

    def _steer(self, addr: object, options: SendOptions | None) -> Any:
        """Return what the socket takes for a destination with options."""
        known = None if addr is None else self._translate(addr)
        if options is None:
            return known
        if not isinstance(options, SendOptions):
            raise TypeError(f"SendOptions are required, not {options!r}")
        if self._sock.family == sockets.AF_UNIX:
            raise ValueError("a UNIX datagram socket has no options of one send")
        peer = self._peer if known is None else known
        mapped = len(addresses.public_address(peer)) == 2
        ipv6 = self._sock.family == socket.AF_INET6 and not mapped
        return steer(known, options, ipv6=ipv6)

    def _report_soon(self, error: OSError) -> None:
        self._loop.call_soon(self._report, error)

    def _report(self, error: OSError) -> None:
        self._receive_errors += 1
        if not self._closing:
            self._protocol.error_received(error)

    def _explained(self, error: OSError, data: Any, addr: Any) -> OSError:
        self._send_errors += 1
        size = memoryview(data).nbytes
        options = None
        if isinstance(addr, Steered):
            addr, _, options = addr
        peer = self._peer if addr is None else addr
        where = "" if peer is None else f" to {addresses.public_address(peer)!r}"
        how = "" if options is None else f" with {options}"
        advice = sockets.advice_on(self._sock, error, peer)
        advice = advice or path_mtu.advice_on(self._sock, error, size, peer)
        return with_context(error, f"sending {size} bytes{where}{how}{advice}")

    # -- asyncio's sending: buffered, and never raising for the network

    def sendto(self, data: Payload, addr: object = None) -> None:
        """Send a datagram, or keep it until the kernel has room.

        Raises:
            TypeError: If *data* is not bytes-like or *addr* is not an address.
            ValueError: If *addr* cannot be reached from here or is no numeric address.
        """
        if type(data) is not bytes:
            check_payload(data)
            data = bytes(data)  # what is gathered must not change
        if addr is None:
            addr = self._default_addr
        else:
            try:
                known = self._destinations[addr]
            except (TypeError, ValueError):
                if not self._names_port_0(addr):
                    self._only_destination(addr)  # says what is wrong
                if not self._closing:
                    error = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                    self._protocol.error_received(self._explained(error, data, addr))
                return
            addr = known if self._to_anyone else self._only_destination(addr)
        if self._closing:
            return
        buffer = self._buffer
        if not self._gathering:
            # The first of this turn of the loop goes out now. What follows it in the
            # same turn is gathered, to leave in trains and in one system call.
            self._gathering = True
            self._loop.call_soon(self._end_turn)
            if not buffer.size and self._send_or_report(data, addr):
                return
        buffer.append(data, addr)
        if len(buffer.waiting) >= _GATHERED and self._armed is None:
            self._flush()
        if buffer.size > buffer.high:
            self._pause_above_high_water()

    def _only_destination(self, addr: object) -> Any:
        """Return what the socket takes for the only address that may be sent to."""
        known = self._translate(addr)
        if known != self._default_addr:
            raise ValueError(
                f"opened for {self._default_addr!r}, cannot send to {addr!r}"
            )
        return known

    def _names_port_0(self, addr: object) -> bool:
        """Tell whether the system is to refuse *addr*, and not we.

        Peers name ports to each other, so a 0 may come from the network: asyncio's
        transports report it as an error of the network.
        """
        return self._to_anyone and isinstance(addr, tuple) and addr[1:2] == (0,)

    def _pause_above_high_water(self) -> None:
        buffer = self._buffer
        if buffer.size > buffer.high and self._armed is None:
            self._flush()  # so far it was gathered; the kernel may well have room
        if buffer.size > buffer.high and not buffer.paused:
            buffer.paused = True
            self._tell(self._protocol.pause_writing)

    def _end_turn(self) -> None:
        self._gathering = False
        if self._buffer and self._armed is None:
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
        """Send, or tell the protocol why not. Returns whether there was room."""
        try:
            self._send(data, addr)
        except BlockingIOError:
            return False
        except OSError as exc:
            self._protocol.error_received(exc)
        return True

    def _flush(self) -> None:
        """Send what is buffered until there is no room again; then wait for room."""
        buffer = self._buffer
        while buffer:
            try:
                buffer.remove(self._send_batch(buffer.waiting, buffer.done))
            except BlockingIOError:
                self._arm()
                break
            except OSError as exc:
                buffer.remove(1)
                self._tell(self._protocol.error_received, exc)
        if buffer.paused and buffer.size <= buffer.low:
            buffer.paused = False
            self._tell(self._protocol.resume_writing)

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
            return
        if self._closing:
            self.abort()
        else:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- receiving

    def _admit(self, datagrams: list[Received]) -> list[Received]:
        """Make of what was read what the options ask for."""
        if self._packet_info:
            datagrams = [
                one if isinstance(one, Message) else Message(*one) for one in datagrams
            ]
        if self._max_datagram_size is not None:
            datagrams, truncated = cut_off(datagrams, self._max_datagram_size)
            self._cut_off += truncated
        return datagrams

    def _deliver(self, datagrams: list[Received]) -> None:
        """Hand a batch to the protocol, whole if it takes batches."""
        if self._batch_protocol is not None:
            self._batch_protocol.datagrams_received(datagrams)
            return
        received = self._protocol.datagram_received
        self._interrupted = False
        remaining = iter(datagrams)
        try:
            if self._packet_info or self._max_datagram_size is not None:
                for one in remaining:
                    self._hand_over(one)
                    if self._interrupted:
                        return
            for data, addr in remaining:  # type: ignore[misc] # all are datagrams
                received(data, addr)
                if self._interrupted:
                    break
        finally:  # a protocol that raises loses this one datagram, and no other
            if rest := list(remaining):
                self._hold_back(rest)

    def _hand_over(self, one: Received) -> None:
        """Hand what may be a message to a protocol that knows datagrams only."""
        if isinstance(one, Message) and one.truncated:  # it would seem to be whole
            error = OSError(errno.EMSGSIZE, str(TruncatedError(one)))
            self._protocol.error_received(error)
        else:
            self._protocol.datagram_received(one.data, one.addr)

    def _hold_back(self, datagrams: list[Received]) -> None:
        """Keep the rest of a batch whose protocol interrupted it."""
        if self._closing:
            return
        self._held_back = datagrams
        if self.is_reading():
            self._loop.call_soon(self._deliver_held_back)

    def _deliver_held_back(self) -> None:
        """Hand over what had been held back, unless reading is paused again."""
        if self._held_back and self.is_reading():
            datagrams, self._held_back = self._held_back, []
            self._deliver(datagrams)

    def _deliver_backlog(self) -> None:
        """Hand over what the peer had sent before the connect was complete."""
        if self._closing or not self._backlog:
            return
        backlog, self._backlog = list(self._backlog), ()
        self._io.received += len(backlog)
        self._io.received_bytes += sum(len(data) for data, _ in backlog)
        datagrams = self._admit([*backlog])
        if self.is_reading():
            self._tell(self._deliver, datagrams)
        else:
            self._hold_back(datagrams)

    def stats(self) -> Stats:
        io = self._io
        drops = self._kernel_drops
        if drops is None:
            drops = sockets.kernel_drops(self._sock)
        return Stats(
            received=io.received,
            received_bytes=io.received_bytes,
            sent=io.sent,
            sent_bytes=io.sent_bytes,
            dropped_kernel=drops + self._foreign,
            truncated=io.truncated + self._cut_off,
            send_errors=self._send_errors,
            receive_errors=self._receive_errors,
        )
