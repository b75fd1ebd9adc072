"""Delivery: passes received datagrams to the protocol, in batches or one by one.

The lowest layer of the transports. Reading is in one of these states, for every
transport; the columns are the attributes that determine it:

=========  ==============  ==============  =========================================
state      ``_taker``      ``_held_back``  what happens
=========  ==============  ==============  =========================================
idle       ``None``        empty           before ``start``: nothing is read
reading    the protocol    empty           datagrams are read and delivered
catching   the protocol    some            the remainder of an interrupted batch is
up                                         delivered in the next iteration of the
                                           loop; until then, nothing is read
paused     ``None``        any             by ``pause_reading``: new datagrams stay in
                                           the kernel, the remainder of a batch here
ended      ``None``        empty           by ``close``: the remainder is dropped
=========  ==============  ==============  =========================================

A batch is interrupted if the protocol, while it handles one of the datagrams, pauses
reading, closes the transport, sets another protocol, or raises an exception. Then the
remainder of the batch is held back. If the protocol raises, it loses that one datagram.
"""

from __future__ import annotations

import asyncio
import errno
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

from .._errors import TruncatedError
from .._system.addresses import public_address
from .._system.batchio import BatchSocket
from .._system.datagram_batch import DatagramBatch
from .._system.segments import cut_off
from .._types import Message, Received
from .base import BatchProtocol, DatagramTransport, State

MAX_BATCH: Final = 1024
"""Maximum datagrams per readiness event, for protocols without ``datagrams_wanted``."""


def _a_batch() -> int:
    return MAX_BATCH


class DeliveringTransport(DatagramTransport):
    """A transport that delivers datagrams to a protocol; subclasses read them.

    *io* reads, sends and counts: a :class:`BatchSocket`, or an object that behaves like
    one.
    """

    __slots__ = (
        "__dict__",  # libraries set attributes on transports; asyncio's allow that
        "__weakref__",
        "_admits",
        "_backlog",
        "_batch_protocol",
        "_cut_off",
        "_held_back",
        "_io",
        "_loop",
        "_makes_messages",
        "_max_datagram_size",
        "_packet_info",
        "_protocol",
        "_receive_errors",
        "_state",
        "_taker",
        "_takes_batches",
        "_wanted",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        io: BatchSocket,
        protocol: asyncio.BaseProtocol,
        extra: dict[str, Any],
        *,
        backlog: Sequence[Received] = (),
        packet_info: bool = False,
        max_datagram_size: int | None = None,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._io = io
        self._state = State.OPEN
        self._taker: asyncio.BaseProtocol | None = None
        self._held_back: list[Received] = []
        self._backlog = backlog
        self._packet_info = packet_info
        self._max_datagram_size = max_datagram_size
        self._makes_messages = packet_info or max_datagram_size is not None
        # Whether datagrams must be converted before delivery.
        self._admits = max_datagram_size is not None or (
            packet_info and not io.packet_info
        )
        self._cut_off = 0  # datagrams that were longer
        self._receive_errors = 0
        self.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name != "offload":
            return super().get_extra_info(name, default)
        peer = super().get_extra_info("peername")
        return {
            "gso_segments": self._io.gso_segments,
            "gso_refused_for": [
                public_address(peer if one is None else one)
                for one in self._io.refusals.destinations()
            ],
            "gro": self._io.gro,
            "batchio": self._io.implementation,
        }

    # -- the protocol

    @abstractmethod
    async def start(self) -> None:
        """Call ``connection_made`` and start reading."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        taker: Any = protocol
        self._protocol = taker
        self._takes_batches = hasattr(type(protocol), "datagram_batch_received")
        self._batch_protocol: BatchProtocol | None = None
        if hasattr(type(protocol), "datagrams_received"):
            self._batch_protocol = taker
        self._wanted: Callable[[], int] = _a_batch
        if hasattr(type(protocol), "datagrams_wanted"):
            self._wanted = taker.datagrams_wanted
        if self._taker is not None:
            self._taker = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._state is not State.OPEN

    def _call_protocol(self, what: Callable[..., object], *arguments: object) -> None:
        """Call the protocol from a place where the event loop doesn't catch exceptions.

        Exceptions go to the exception handler, as for any callback.
        """
        try:
            what(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            self._complain(what, exc)

    def _complain(self, what: Callable[..., object], exc: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"Exception in {what!r}",
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def _report(self, error: OSError) -> None:
        self._receive_errors += 1
        if self._state is State.OPEN:
            self._protocol.error_received(error)

    # -- delivering

    def is_reading(self) -> bool:
        return self._taker is not None

    def _stop_reading(self) -> None:
        """Stop reading for good."""
        self._taker = None
        self._held_back = []

    def _admit(self, datagrams: list[Received]) -> list[Received]:
        """Apply the options to received datagrams."""
        if self._packet_info:
            datagrams = [
                one if isinstance(one, Message) else Message(*one) for one in datagrams
            ]
        if self._max_datagram_size is not None:
            datagrams, truncated = cut_off(datagrams, self._max_datagram_size)
            self._cut_off += truncated
        return datagrams

    def _deliver(self, datagrams: list[Received]) -> None:
        """Deliver a batch to the protocol, as a whole if it takes batches."""
        if self._takes_batches:
            self._protocol.datagram_batch_received(DatagramBatch._of(datagrams))
            return
        if self._batch_protocol is not None:
            self._batch_protocol.datagrams_received(datagrams)
            return
        protocol = self._protocol
        received = protocol.datagram_received
        remaining = iter(datagrams)
        try:
            if self._makes_messages:
                for one in remaining:
                    self._hand_over(one)
                    if self._taker is not protocol:
                        return
            for data, addr in remaining:  # type: ignore[misc] # all are datagrams
                received(data, addr)
                if self._taker is not protocol:
                    return
        finally:  # a protocol that raises loses only the current datagram
            if remainder := list(remaining):
                self._hold_back(remainder)

    def _hand_over(self, one: Received) -> None:
        """Deliver an item that may be a message to a protocol without batches."""
        if isinstance(one, Message) and one.truncated:  # it would seem complete
            error = OSError(errno.EMSGSIZE, str(TruncatedError(one)))
            self._protocol.error_received(error)
        else:
            self._protocol.datagram_received(one.data, one.addr)

    def _hold_back(self, datagrams: list[Received]) -> None:
        """Keep the remainder of an interrupted batch."""
        if self._state is not State.OPEN:
            return
        self._held_back = datagrams
        if self._taker is not None:
            self._loop.call_soon(self._deliver_held_back)

    def _deliver_held_back(self) -> None:
        """Deliver the remainder of a batch, unless reading is paused again."""
        if self._held_back and self._taker is not None:
            datagrams, self._held_back = self._held_back, []
            self._deliver(datagrams)

    def _deliver_backlog(self) -> None:
        """Deliver datagrams that the peer sent before connect() was complete."""
        if self._state is not State.OPEN or not self._backlog:
            return
        backlog, self._backlog = list(self._backlog), ()
        self._io.received += len(backlog)
        self._io.received_bytes += sum(len(one[0]) for one in backlog)
        datagrams = self._admit(backlog)
        if self._taker is not None:
            self._call_protocol(self._deliver, datagrams)
        else:
            self._hold_back(datagrams)
