"""A batch from the engine: datagrams, with methods to acknowledge and answer them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from .._system.datagram_batch import DatagramBatch
from .._types import Address, Message, Payload
from . import names, wire

_DIFFERENT: Final = -2  # the segment size of a batch whose datagrams have several


class Owner(Protocol):
    """What a batch needs from its subscription."""

    async def answer(self, batch: ForwardedBatch, word: bytes) -> bool: ...
    async def reply(self, front: int, columns: wire.Columns) -> None: ...


class ForwardedBatch(DatagramBatch):
    """A :class:`~aioudp.DatagramBatch` from a subscription, to be acknowledged.

    Unless :meth:`ack` is called in time, it's delivered again, to any worker of the
    group. To count nothing twice, store :attr:`id`.

    ``timestamps_ns`` is never ``None``: it contains the kernel's time if the front's
    endpoint has ``packet_info=True``, else the time at which the front read the
    datagram.
    """

    __slots__ = (
        "_subscription",
        "answer_to",
        "dropped",
        "front",
        "partition",
        "sequence",
    )

    def __init__(
        self, subscription: Owner, packed: wire.PackedBatch, answer_to: str
    ) -> None:
        super().__init__()
        self._subscription = subscription
        self.front: int = packed.front
        """The front that received the datagrams, a random number."""
        self.partition: int = packed.partition
        """The partition; 0 without ``partition="source"``."""
        self.sequence: int = packed.sequence
        """The number of the batch, from 1, for each front and partition."""
        self.dropped: int = packed.dropped
        """How many datagrams the front had dropped before this batch."""
        self.answer_to: str = answer_to
        self._take(packed.columns)

    def _take(self, columns: wire.Columns) -> None:
        count, offsets = len(columns), columns.offsets
        self._count, self._size = count, columns.size
        self._data = bytearray(columns.data)
        self._offsets = _block("i", offsets)
        self._source_index = _block("I", columns.source_index)
        self._sources = list(columns.sources)
        self._info = True
        self._stamps = _block(
            "q", columns.timestamps_ns or array("q", bytes(8 * count))
        )
        self._tos, self._hop_limits = bytearray(count), bytearray(count)
        self._interfaces = bytearray(4 * count)
        self._places = [(addr or None, None) for addr in columns.local_addrs]
        self._place_index = _block("I", columns.local_addr_index)
        if not self._places:
            self._places, self._place_index = [(None, None)], bytearray(4 * count)
        size, rest = divmod(self._size, count) if count else (0, 0)
        equal = not rest and list(offsets) == [size * row for row in range(count + 1)]
        self._segment = size if equal and count else _DIFFERENT

    def messages(self) -> Iterator[Message]:
        """Iterate over the datagrams as messages, with times and local addresses."""
        for row in range(len(self)):
            one = self._row(row)
            assert isinstance(one, Message)
            yield one

    @property
    def id(self) -> str:
        """A unique name for this batch; the same when it's delivered again."""
        return names.message_id(self.front, self.partition, self.sequence)

    @property
    def redelivered(self) -> bool:
        """Whether the engine had delivered it to a worker before."""
        # $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.sequence.time...
        tokens = self.answer_to.split(".")
        return int(tokens[4 if len(tokens) == 9 else 6]) > 1

    async def ack(self) -> bool:
        """Acknowledge the batch: the engine removes it.

        While there is no connection, this waits for one, up to ``ack_wait`` seconds.

        Returns:
            Whether the acknowledgement was sent. If not, or if it gets lost, the batch
            is delivered again.
        """
        return await self._subscription.answer(self, b"+ACK")

    async def nak(self) -> bool:
        """Return the batch: the engine delivers it to a worker again, at once."""
        return await self._subscription.answer(self, b"-NAK")

    async def in_progress(self) -> bool:
        """Request another ``ack_wait`` seconds to handle the batch."""
        return await self._subscription.answer(self, b"+WPI")

    async def reply(self, replies: Iterable[tuple[int, Payload]]) -> None:
        """Reply to datagrams of this batch, through the front that received them.

        If the front's endpoint has ``packet_info=True``, replies are sent from the
        address that received the request. Like any datagram, they may get lost.

        Args:
            replies: Pairs: the index of a datagram in this batch, and a payload for
                its sender.

        Raises:
            ConnectionError: If there is no connection to the engine.
            IndexError: If an index is out of range.
        """
        data, offsets = bytearray(), array("i", [0])
        rows: list[int] = []
        for row, payload in replies:
            data += payload
            offsets.append(len(data))
            rows.append(row)
        sources = self.source_index
        places = self._column(self._place_index, 4 * len(self), "I")
        local: Sequence[Address | None] = [addr for addr, _ in self._places]
        known = any(local)
        columns = wire.Columns(
            data,
            offsets,
            self.sources,
            array("I", [sources[row] for row in rows]),
            array("q"),
            local if known else (),
            array("I", [places[row] for row in rows] if known else ()),
        )
        await self._subscription.reply(self.front, columns)


def _block(code: str, column: Sequence[int]) -> bytearray:
    """Return a copy of a column, as the batch stores it."""
    if isinstance(column, array):
        return bytearray(column.tobytes())
    if isinstance(column, memoryview):
        return bytearray(column)
    return bytearray(array(code, column).tobytes())
