"""Batches at the endpoint: received into columns, and sent from them.

A task that receives a batch waits in line like any other. If it waits alone, datagrams
needn't be queued one by one: when the socket becomes readable, the transport reads
directly into the task's batch. Like a datagram, that batch is in the queue until the
task's step that returns it. If the task is cancelled instead, the batch is split up,
and its datagrams stay queued.

Between two calls, one batch is read ahead in the same way, for example while the task
sends what it received. It's in the queue until the next ``recv_batch``. If another
receiving call comes instead, the batch is split up, and reading ahead stops.

A batch is made from queued datagrams if other tasks wait in line, if the transport
can't read into a batch, or if datagrams are to be truncated.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from .._errors import EndpointClosedError, SendManyError, TruncatedError
from .._system.addresses import check_number
from .._system.datagram_batch import MAX_BATCH_BYTES, DatagramBatch
from .._system.prepared_batch import PreparedBatch
from .._system.send_options import SendOptions
from .._transports.base import DatagramTransport
from .._types import Address, Message, Received
from .protocol import BATCHED, CHECKED, PAUSED, EndpointProtocol
from .sending import Sender

_CHUNK: Final = 2048  # datagrams between two iterations of the event loop
_NO_LIMIT: Final = 2**31 - 1


async def recv_batch(
    protocol: EndpointProtocol,
    transport: DatagramTransport,
    max_datagrams: int | None,
    into: DatagramBatch[Any] | None,
) -> DatagramBatch[Any]:
    """Wait for a datagram, and return all that have arrived; see ``Endpoint``."""
    if max_datagrams is not None:
        check_number("max_datagrams", max_datagrams, 1, sys.maxsize)
    limit = min(_NO_LIMIT, max_datagrams or _NO_LIMIT)
    if into is None:
        batch: DatagramBatch[Any] = DatagramBatch()
    elif isinstance(into, DatagramBatch):
        batch = into
        batch._recycle()
    else:
        raise TypeError(f"into must be a DatagramBatch, not {type(into).__name__!r}")
    items: Any = protocol.items
    protocol.check_loop()
    ahead = protocol.detour & ~(CHECKED | PAUSED) == BATCHED
    queued = bool(items) and not protocol.detour
    if not (queued or ahead):
        await _turn(protocol, transport, batch, limit)
    if ahead:
        protocol.detour &= ~BATCHED
        batch._swap(items.popleft())
    elif items and items[0] is batch:
        items.popleft()
    else:
        if len(batch):  # the overflow policy took it from the queue, as one item
            protocol.inbox.dropped -= 1
        batch._extend(_take(items, limit))
        if not queued and not items and len(batch) < limit:
            transport.poll_batch(batch, limit - len(batch))
    if len(batch) > limit:
        items.extendleft(reversed(batch._cut(limit)))
    protocol.resume_if_empty()
    if protocol.read_elsewhere is None and protocol.inbox.overflow == "pause":
        protocol.read_elsewhere = partial(_read_ahead, protocol, transport, [])
    if into is None:
        batch._trim()
    return batch


async def _turn(
    protocol: EndpointProtocol,
    transport: DatagramTransport,
    batch: DatagramBatch[Any],
    limit: int,
) -> None:
    """Wait in line; if no other task waits, read what arrives into *batch*."""
    items: Any = protocol.items

    def read() -> bool:
        """Read into the batch if possible; return whether it was."""
        if items:  # a task was woken, and takes these in its next step
            return items[0] is batch
        if protocol.waiting() != 1 or transport.poll_batch(batch, limit) is None:
            return False
        if len(batch):
            received: list[Any] = [batch]
            protocol.datagrams_received(received)
        return True

    alone = not protocol.waiting()
    before = protocol.read_elsewhere
    if alone:
        protocol.read_elsewhere = read
    try:
        await protocol.turn()
    except BaseException:
        if items and items[0] is batch:
            items.popleft()
            protocol.put_back(batch._cut(0))
        elif len(batch):  # it was in the queue at close(), as one item
            protocol.dropped_close += len(batch) - 1
        raise
    finally:
        if alone:
            protocol.read_elsewhere = before


def _read_ahead(
    protocol: EndpointProtocol,
    transport: DatagramTransport,
    spare: list[DatagramBatch[Any]],
) -> bool:
    """Read while no task waits; return whether the transport shouldn't read itself."""
    if protocol.items or protocol.waiting():
        return False
    if not spare:
        spare.append(DatagramBatch())
    batch: Any = spare[0]
    if transport.poll_batch(batch, protocol.inbox.room()) is None:
        return False
    if len(batch):
        protocol.items.append(batch)
        protocol.detour |= BATCHED
    return True


def _take(items: Any, limit: int) -> list[Received]:
    """Take queued datagrams, up to a truncated one.

    Raises:
        TruncatedError: If the oldest one is truncated.
    """
    taken: list[Received] = []
    size = 0
    while items and len(taken) < limit:
        one = items[0]
        if isinstance(one, Message) and one.truncated:
            if taken:
                break
            raise TruncatedError(items.popleft())
        size += len(one.data)
        if size > MAX_BATCH_BYTES:
            break
        taken.append(items.popleft())
    return taken


def prepare_batch(
    transport: DatagramTransport,
    batch: DatagramBatch[Any],
    addr: Address | None,
    addrs: Sequence[Address] | None,
    options: SendOptions | None,
) -> PreparedBatch:
    """Check the destinations of a batch: its sources, *addr*, or one for each."""
    distinct: Iterable[Address]
    numbers: memoryview | None = None
    if addr is not None and addrs is not None:
        raise ValueError("addr and addrs exclude each other")
    if addr is not None:
        distinct = [addr]
    elif addrs is not None:
        if len(addrs) != len(batch):
            raise ValueError(
                f"addrs must be as many as the datagrams, {len(batch)}, "
                f"got {len(addrs)}"
            )
        table: dict[Address, int] = {}
        column = array("I", [table.setdefault(one, len(table)) for one in addrs])
        distinct, numbers = table, memoryview(column)
    else:
        distinct, numbers = batch.sources, batch.source_index
    checked = transport.prepare([(b"", one, options) for one in distinct])
    return PreparedBatch(batch, [target for _, target in checked], numbers)


async def send_batch(
    sender: Sender, transport: DatagramTransport, prepared: PreparedBatch
) -> None:
    """Send a batch in order, and let the event loop run now and then.

    Raises:
        SendManyError: If the system refused some datagrams; all others were sent.
    """
    errors: dict[int, OSError] = {}
    for start in range(0, len(prepared), _CHUNK):
        if start:
            await asyncio.sleep(0)
        stop = min(start + _CHUNK, len(prepared))
        await sender.send_prepared(prepared.part(start, stop), start, errors)
    if transport.is_closing():
        raise EndpointClosedError
    if errors:
        raise SendManyError(errors)
