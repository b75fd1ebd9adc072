"""Exact sending: the kernel accepts the datagram, or the call raises its error.

The middle layer of the transports. The difficulty is *stale errors*. The kernel reports
an ICMP error about an earlier datagram on the next call, which is often a send, and
doesn't execute that call. Such an error has nothing to do with the datagram at hand: it
goes to ``error_received``, and the datagram is sent again. If the datagram itself
caused the error, because there's no route for example, the error comes again.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from .._errors import with_context
from .._system import addresses, sockets
from .._system.batchio import BatchSocket, check_payload
from .._system.send_options import SendOptions, Steered, steer
from .._types import Payload
from .base import Prepared, State
from .delivery import DeliveringTransport
from .write_buffer import WriteBuffer

# The maximum number of stale errors for one send.
MAX_STALE_ERRORS: Final = 8

# Errors that the next call on a connected socket may get because of ICMP:
# icmp_err_convert in net/ipv4/icmp.c, tab_unreach and icmpv6_err_convert in
# net/ipv6/icmp.c. Except for ECONNREFUSED, they may have other causes too.
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


class ExactTransport(DeliveringTransport):
    """A transport whose ``try_`` methods send now, or raise.

    *family* and *dual_stack* determine the valid destinations; *loose* accepts all
    forms that asyncio accepts; *peer* is the peer of a connected socket, in the
    socket's form.
    """

    __slots__ = (
        "_buffer",
        "_destinations",
        "_family",
        "_gets_icmp",
        "_peer",
        "_send_errors",
        "_unreported",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        io: BatchSocket,
        protocol: asyncio.BaseProtocol,
        extra: dict[str, Any],
        *,
        family: int,
        dual_stack: bool = False,
        peer: Any = None,
        loose: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(loop, io, protocol, extra, **options)
        self._family = family
        self._peer = peer
        self._destinations = addresses.destinations(
            family, dual_stack=dual_stack, loose=loose
        )
        # On a UNIX socket, a refusal is always about the datagram at hand.
        self._gets_icmp = family != sockets.AF_UNIX
        self._send_errors = 0
        self._unreported: dict[int | None, OSError] = {}  # by number
        self._buffer = WriteBuffer()  # filled by sendto; sends don't overtake it

    @abstractmethod
    def _make_way(self) -> None:
        """Send the write buffer; raise if there's no room, or if closed."""

    def _advice(self, error: OSError, size: int, peer: Any) -> str:
        """Return advice about a refused datagram, or ``""``."""
        return ""

    def try_send(self, data: Payload, addr: object = None) -> None:
        if self._state or self._buffer.size:
            self._make_way()
        if addr is not None:
            try:  # the same as _translate, inlined
                known = self._destinations[addr]
            except TypeError:
                known = self._destination(addr)
            addr = known if self._peer is None else self._translate(addr)
        try:  # the same as _send, inlined
            self._io.send(data, addr)
        except BlockingIOError:
            raise
        except (OSError, BufferError) as exc:
            self._send_after(exc, data, addr)
        except TypeError:
            check_payload(data)  # says what to do about it
            raise

    def try_send_segments(
        self,
        data: memoryview,
        segment_size: int,
        addr: object = None,
        options: SendOptions | None = None,
    ) -> int:
        if self._state or self._buffer.size:
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
        if self._state or self._buffer.size:
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
        """Send one datagram to an address in the socket's form."""
        try:
            self._io.send(data, addr)
        except BlockingIOError:
            raise
        except (OSError, BufferError) as exc:
            self._send_after(exc, data, addr)

    def _send_after(self, error: Exception, data: Payload, addr: Any) -> None:
        """Retry a send that met an error, if that may help; otherwise raise it."""
        if isinstance(error, OSError):
            self._send_again(error, partial(self._io.send, data, addr), data, addr)
        else:  # a non-contiguous memoryview: the kernel needs contiguous memory
            self._send(bytes(data), addr)

    def _send_again(
        self, error: OSError, send: Callable[[], _T], data: Payload, addr: Any
    ) -> _T:
        """Repeat a send that met a stale error; raise the datagram's own error."""
        for _ in range(MAX_STALE_ERRORS if self._gets_icmp else 0):
            if error.errno not in FROM_ICMP:
                break
            try:
                done = send()
            except BlockingIOError:
                self._report_soon(error)
                raise
            except OSError as exc:
                if exc.errno == error.errno != errno.ECONNREFUSED:
                    break  # it came again, so this datagram caused it
                self._report_soon(error)
                error = exc
            else:
                self._report_soon(error)
                return done
        raise self._explained(error, data, addr) from None

    def _destination(self, addr: object) -> Any:
        """Return *addr* in the socket's form, or raise an error if it's invalid."""
        try:
            return self._destinations[addr]
        except TypeError:  # not hashable
            return self._destinations.__missing__(addr)

    def _translate(self, addr: object) -> Any:
        """Return *addr* in the socket's form; ``None`` for the connected peer."""
        known = self._destination(addr)
        if self._peer is None:
            return known
        if known != self._peer:
            raise ValueError(f"connected to {self._peer!r}, cannot send to {addr!r}")
        return None

    def _steer(self, addr: object, options: SendOptions | None) -> Any:
        """Return a destination with options in the socket's form."""
        known = None if addr is None else self._translate(addr)
        if options is None:
            return known
        if not isinstance(options, SendOptions):
            raise TypeError(f"SendOptions are required, not {options!r}")
        if self._family == sockets.AF_UNIX:
            raise ValueError("per-send options aren't supported on UNIX sockets")
        peer = self._peer if known is None else known
        mapped = len(addresses.public_address(peer)) == 2
        ipv6 = self._family == socket.AF_INET6 and not mapped
        return steer(known, options, ipv6=ipv6)

    def _report_soon(self, error: OSError) -> None:
        """Report an error in the next iteration of the loop.

        Nearly every send to a peer that refuses gets such an error. Only one of equal
        errors is reported, but all are counted.
        """
        if not self._unreported:
            self._loop.call_soon(self._report_all)
        self._unreported[error.errno] = error
        self._receive_errors += 1

    def _report_all(self) -> None:
        unreported, self._unreported = self._unreported, {}
        for error in unreported.values():
            if self._state is State.OPEN:
                self._call_protocol(self._protocol.error_received, error)

    def _explained(self, error: OSError, data: Any, addr: Any) -> OSError:
        self._send_errors += 1
        size = memoryview(data).nbytes
        options = None
        if isinstance(addr, Steered):
            addr, _, options = addr
        peer = self._peer if addr is None else addr
        where = "" if peer is None else f" to {addresses.public_address(peer)!r}"
        how = "" if options is None else f" with {options}"
        advice = self._advice(error, size, peer)
        return with_context(error, f"sending {size} bytes{where}{how}{advice}")
