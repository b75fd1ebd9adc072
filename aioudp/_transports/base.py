"""The seam: what an endpoint asks of a transport, beyond asyncio's own interface.

asyncio already has a pair that fits: a *transport* moves datagrams, a *protocol*
receives them. This file adds to the transport what that pair lacks: sending that
answers at once, batches, a way to wait for room, and counts. Any
:class:`asyncio.DatagramProtocol` can sit on such a transport, and an endpoint can sit
on anything that implements it.

A protocol may add methods of its own:

``datagrams_received(datagrams)``
    gets every batch as one ``list[Datagram]``, instead of one ``datagram_received``
    call for each. With the option ``packet_info`` it is a ``list[Message]``; with
    ``max_datagram_size``, what was truncated is a ``Message``. A protocol without the
    method gets ``error_received`` in its place, EMSGSIZE.
``datagrams_wanted()``
    is asked before each batch and returns how many datagrams it has room for. After
    a 0 the transport leaves what arrives in the kernel until ``resume_reading``.
``network_error_received(error)``
    gets each :class:`~aioudp.NetworkError` where ``icmp_errors`` asks for them, also
    while reading is paused. Then ``error_received`` does not hear of ICMP.
"""

from __future__ import annotations

import asyncio
import enum
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from .._system.send_options import SendOptions
from .._types import Payload, Received, Stats

Prepared = Sequence[tuple[bytes, Any]]
"""Datagrams whose payloads and addresses were checked, ready to be sent."""


class State(enum.IntEnum):
    """How far a transport is from its end. It only ever moves down this list."""

    OPEN = 0  # false, so that a send can ask for it at no cost
    CLOSING = 1
    """``close`` was called, and what ``sendto`` has buffered is still going out."""
    CLOSED = 2
    """Nothing is held any more."""


@runtime_checkable
class BatchProtocol(Protocol):
    """A protocol that takes its datagrams in batches."""

    def datagrams_received(self, datagrams: list[Any]) -> None:
        """Take what arrived, oldest first. The list is the protocol's to keep."""


class DatagramTransport(asyncio.DatagramTransport, asyncio.Transport):
    """A transport for datagrams that also sends exactly, and in batches.

    It is an :class:`asyncio.Transport` as well, as asyncio's own datagram transports
    are and some programs check. What is for streams raises
    :class:`NotImplementedError`: ``write`` and its relatives.

    ``sendto`` is asyncio's: fire and forget, with a buffer and its water marks, and
    with the network's errors given to ``error_received``. The ``try_`` methods are
    exact: each attempts the send now, keeps nothing, and raises what happened.
    """

    __slots__ = ()

    can_pause: bool
    """Whether :meth:`pause_reading` works here."""

    @abstractmethod
    def try_send(self, data: Payload, addr: object = None) -> None:
        """Send one datagram now.

        Raises:
            BlockingIOError: If there is no room; see :meth:`wait_writable`.
            OSError: The error of this very datagram.
            TypeError: If *data* is not bytes-like or *addr* is not an address.
            ValueError: If *addr* cannot be reached from here or is no numeric address.
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
            The number of bytes that went out. They are whole datagrams, at least one,
            maybe not all.

        Raises:
            OSError: As :meth:`try_send`, about the first datagram only.
            ValueError: As :meth:`try_send`, and if *segment_size* is less than 1.
        """

    @abstractmethod
    def prepare(self, datagrams: Sequence[tuple[Any, ...]]) -> Prepared:
        """Check and copy datagrams for :meth:`try_send_many`.

        Each is a pair of payload and address, or a triple: with
        :class:`~aioudp.SendOptions` or ``None``.

        Raises:
            TypeError: If a payload is not bytes-like, an address not an address or
                options not options.
            ValueError: If an address cannot be reached from here, or not so.
        """

    @abstractmethod
    def try_send_many(self, datagrams: Prepared, start: int = 0) -> int:
        """Send prepared datagrams from index *start* on, until one is refused.

        Returns:
            How many went out, at least one.

        Raises:
            OSError: As :meth:`try_send`, about the datagram at *start* only.
        """

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Return how many bytes ``sendto`` has buffered, headers included."""

    @abstractmethod
    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark of that buffer, in bytes."""

    @abstractmethod
    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks, in bytes, as ``asyncio.WriteTransport`` does.

        Raises:
            ValueError: If not ``0 <= low <= high``.
        """

    @abstractmethod
    def is_reading(self) -> bool:
        """Tell whether datagrams are being handed to the protocol."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Leave what arrives in the kernel, where :attr:`can_pause` says so."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""

    def drain(self, done: Callable[[], object]) -> None:
        """Hand over what has arrived by now, call *done*, and read no more.

        For protocols that take batches. What arrives while the rest is being read may
        be handed over too, but only so much that this ends. *done* isn't called if the
        transport is closed first. A transport that can't tell what has arrived hands
        over nothing.
        """
        self.pause_reading()
        done()

    @abstractmethod
    async def wait_writable(self) -> None:
        """Return when another attempt to send makes sense, or at close."""

    @abstractmethod
    def poll(self, max_datagrams: int | None = None) -> list[Received]:
        """Return what has arrived by now, without waiting for the loop's next turn.

        It does not reach the protocol; an error that is met instead does. A transport
        that cannot do so, or is paused or closed, returns nothing. After
        *max_datagrams*, by default a number of its own, it reads no more; the last
        train is kept whole, so it may return more.
        """

    @abstractmethod
    def stats(self) -> Stats:
        """Return the counts so far; they stay readable after close."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """After ``close``, return when the descriptor is gone."""
