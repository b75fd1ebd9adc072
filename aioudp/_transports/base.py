"""The seam: the transport interface that endpoints need, beyond asyncio's own.

asyncio already has a pair of interfaces that fits: a *transport* moves datagrams, and a
*protocol* receives them. This file adds what the transport lacks: sending that succeeds
or raises at once, batches, waiting for room, and counters. Any
:class:`asyncio.DatagramProtocol` can use such a transport, and an endpoint can use any
implementation of it.

The class of a protocol may define additional methods. They are looked up on the type,
as Python's special methods are: a protocol with ``__getattr__`` seems to have any.

``datagrams_received(datagrams)``
    gets each batch as one ``list[Datagram]``, instead of one ``datagram_received`` call
    per datagram. With the option ``packet_info``, it's a ``list[Message]``; with
    ``max_datagram_size``, truncated datagrams are ``Message`` objects. A protocol
    without this method gets ``error_received`` (EMSGSIZE) for those.
``datagram_batch_received(batch)``
    gets each batch as a :class:`~aioudp.DatagramBatch`, without an object per datagram.
    It takes precedence over ``datagrams_received``. The batch is the protocol's to
    keep.
``datagrams_wanted()``
    is called before each batch, and returns how many datagrams the protocol has room
    for. If it returns 0, the transport leaves datagrams in the kernel until
    ``resume_reading``. :data:`READ_ELSEWHERE` means that the protocol has just read
    with ``poll`` or ``poll_batch``, so the transport doesn't.
``network_error_received(error)``
    gets each :class:`~aioudp.NetworkError` with the option ``icmp_errors``, even while
    reading is paused. ``error_received`` doesn't get ICMP errors then.
"""

from __future__ import annotations

import asyncio
import enum
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from .._system.datagram_batch import DatagramBatch
from .._system.send_options import SendOptions
from .._types import Payload, Received, Stats

READ_ELSEWHERE: Final = -1
"""Returned by ``datagrams_wanted`` if the protocol has read the socket by itself."""

Prepared = Sequence[tuple[bytes, Any]]
"""Datagrams with checked payloads and addresses, ready to be sent."""


class State(enum.IntEnum):
    """The life cycle of a transport. It only moves forward."""

    OPEN = 0  # falsy, so that a send can check it at no cost
    CLOSING = 1
    """``close`` was called, but the write buffer isn't empty yet."""
    CLOSED = 2
    """All resources have been released."""


class BatchProtocol(Protocol):
    """A protocol that receives batches of datagrams."""

    def datagrams_received(self, datagrams: list[Any]) -> None:
        """Receive a batch, oldest datagram first. The protocol may keep the list."""


class DatagramTransport(asyncio.DatagramTransport, asyncio.Transport):
    """A datagram transport with exact sending and batches.

    It's also an :class:`asyncio.Transport`, like asyncio's own datagram transports,
    because some programs check for that. ``write`` and other methods for streams raise
    :class:`NotImplementedError`.

    ``sendto`` is asyncio's: fire and forget, with a write buffer and water marks;
    network errors go to ``error_received``. The ``try_`` methods are exact: they send
    now, buffer nothing, and raise an error if that fails.
    """

    __slots__ = ()

    can_pause: bool
    """Whether this transport supports :meth:`pause_reading`."""

    @abstractmethod
    def try_send(self, data: Payload, addr: object = None) -> None:
        """Send one datagram now.

        Raises:
            BlockingIOError: If there is no room; see :meth:`wait_writable`.
            OSError: The error that this datagram caused.
            TypeError: If *data* isn't bytes-like or *addr* isn't an address.
            ValueError: If *addr* can't be reached from this socket, or isn't numeric.
            EndpointClosedError: If the transport is closed.
        """

    @abstractmethod
    def try_send_segments(
        self,
        data: memoryview,
        segment_size: int,
        addr: object = None,
        options: SendOptions | None = None,
    ) -> int:
        """Send *data* now as datagrams of *segment_size* bytes.

        Returns:
            The number of bytes sent, which is at least one whole datagram, possibly
            not all of them.

        Raises:
            OSError: As in :meth:`try_send`, for the first datagram only.
            ValueError: As in :meth:`try_send`, and if *segment_size* is less than 1.
        """

    @abstractmethod
    def prepare(self, datagrams: Sequence[tuple[Any, ...]]) -> Prepared:
        """Check and copy datagrams for :meth:`try_send_many`.

        Each item is a pair of payload and address, or a triple of these and
        :class:`~aioudp.SendOptions` or ``None``.

        Raises:
            TypeError: If a payload isn't bytes-like, or an address or options have the
                wrong type.
            ValueError: If an address can't be reached from this socket, or not with
                these options.
        """

    @abstractmethod
    def try_send_many(self, datagrams: Prepared, start: int = 0) -> int:
        """Send prepared datagrams from index *start* on, until one is refused.

        Returns:
            The number of datagrams sent, at least one.

        Raises:
            OSError: As in :meth:`try_send`, for the datagram at *start* only.
        """

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Return the size of the write buffer in bytes, including headers."""

    @abstractmethod
    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark of the write buffer, in bytes."""

    @abstractmethod
    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks, in bytes, like ``asyncio.WriteTransport``.

        Raises:
            ValueError: If not ``0 <= low <= high``.
        """

    @abstractmethod
    def is_reading(self) -> bool:
        """Return whether datagrams are delivered to the protocol."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop reading, so that datagrams stay in the kernel's receive buffer.

        Does nothing if :attr:`can_pause` is false.
        """

    @abstractmethod
    def resume_reading(self) -> None:
        """Start reading again after :meth:`pause_reading`."""

    def drain(self, done: Callable[[], object]) -> None:
        """Deliver the datagrams that have arrived, call *done*, and stop reading.

        For protocols that take batches. Datagrams that arrive meanwhile may be
        delivered too, but not indefinitely. *done* isn't called if the transport is
        closed first. A transport that doesn't know what has arrived delivers nothing.
        """
        self.pause_reading()
        done()

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until sending may succeed again, or until the transport is closed."""

    @abstractmethod
    def poll(self, max_datagrams: int | None = None) -> list[Received]:
        """Return datagrams that have arrived, without waiting for the event loop.

        They aren't delivered to the protocol, but errors are. Returns nothing if the
        transport doesn't support this, or is paused or closed. Stops reading after
        *max_datagrams*, by default a limit of its own; it may return more, because
        trains are kept whole.
        """

    def poll_batch(self, batch: DatagramBatch, max_datagrams: int) -> int | None:
        """Add datagrams that have arrived to *batch*; otherwise like :meth:`poll`.

        Returns:
            The number of datagrams; ``None`` if the transport doesn't support this.
        """
        return None

    @abstractmethod
    def stats(self) -> Stats:
        """Return the counters; they remain available after close."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """After ``close``, wait until the descriptor has been closed."""
