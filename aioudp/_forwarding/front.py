"""The front: publishes the datagrams of an endpoint in packed batches.

Three tasks share a ledger. One receives and packs datagrams. One publishes batches
while there is a connection and not too many are unanswered. One handles timeouts. The
engine's answers arrive in callbacks. No task waits for a single answer, so only the
ledger bounds the number of unanswered batches, and each has its own deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import struct
import time
from array import array
from collections.abc import Generator
from typing import Any, Final

from .._endpoint.endpoint import Endpoint
from .._errors import EndpointClosedError, SendManyError, UDPError
from .._system.datagram_batch import DatagramBatch
from .._system.send_options import SendOptions
from . import names, wire
from .engine import ApiError, Engine, ask
from .ledger import Batch, Ledger
from .settings import ForwardSettings
from .stats import ForwardStats
from .status import publish_regularly

logger = logging.getLogger("aioudp")

_SEQUENCE: Final = struct.Struct("<Q")
_SEQUENCE_AT: Final = 16  # bytes from the beginning of a message; see ``wire``
_DROPPED_AT: Final = 56
_RETRY_PAUSE: Final = 0.2  # seconds until a refused batch is tried again
_HEADERS: Final = 128  # bytes for NATS' own headers, which its limit includes
_FIXED: Final = wire.HEADER.size + 4  # bytes of a message without datagrams
_LOOK: Final = 0.2  # seconds; how often a full front looks whether its endpoint ended
_REPLY_LIMIT: Final = 8 * 1024 * 1024  # bytes of replies that wait to be sent
_STREAM_EXISTS: Final = 10058  # with another configuration, which then applies


class Forwarder:
    """Publishes what an endpoint receives. Returned by :func:`aioudp.forward`.

    Await it to run it. It ends when the endpoint has ended and the engine has answered,
    and returns :class:`ForwardStats`.
    """

    def __init__(
        self, endpoint: Endpoint[Any], url: Any, stream: str, settings: ForwardSettings
    ) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._settings = settings
        self._front: Final = secrets.randbits(63)
        overflow = settings.overflow or endpoint._protocol.inbox.overflow
        self._ledger = Ledger(
            settings.buffer, settings.unanswered, overflow, ordered=settings.ordered
        )
        self._engine = Engine(
            url,
            name=f"aioudp front {self._front:016x}",
            tls=settings.tls,
            credentials=settings.credentials,
            connected=self._connected,
            disconnected=self._disconnected,
        )
        self._open: dict[int, _Open] = {}
        self._wake = asyncio.Event()  # something to publish, or room to receive
        self._room = asyncio.Event()
        self._received = self._too_large = 0
        self._replies = self._replies_failed = 0
        self._inbox = ""
        self._max_payload = settings.batch_bytes
        self._resting: asyncio.TimerHandle | None = None
        self._last_answer = 0.0
        self._running = False

    def __await__(self) -> Generator[Any, Any, ForwardStats]:
        return self._run().__await__()

    def __repr__(self) -> str:
        return f"<Forwarder {self._front:016x} stream={self._stream!r}>"

    def stats(self) -> ForwardStats:
        """Return the counters, also after the end."""
        ledger = self._ledger
        open_ = sum(len(part) for one in self._open.values() for part in one.parts)
        return ForwardStats(
            received=self._received,
            waiting=ledger.waiting + open_,
            dropped=ledger.dropped + self._too_large,
            published=ledger.published,
            acknowledged=ledger.acknowledged,
            refused=ledger.refused,
            republished=ledger.republished,
            reconnects=self._engine.reconnects,
            replies=self._replies,
            replies_failed=self._replies_failed,
            buffered_bytes=ledger.size,
        )

    async def _run(self) -> ForwardStats:
        if self._running:
            raise RuntimeError("this forwarder was awaited already")
        self._running = True
        await self._engine.start()
        others = [
            asyncio.create_task(self._publish()),
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._report()),
        ]
        receiving = asyncio.create_task(self._receive())
        try:
            # None of the other tasks ends by itself; if one fails, the forwarder fails.
            await asyncio.wait([receiving, *others], return_when="FIRST_COMPLETED")
            for task in (receiving, *others):
                if task.done():
                    task.result()
            await self._finish()
        finally:
            for task in (receiving, *others):
                task.cancel()
            await asyncio.gather(receiving, *others, return_exceptions=True)
            for partition in list(self._open):
                self._close_batch(partition)  # or its timer would, after the end
            if self._resting is not None:
                self._resting.cancel()
            await self._engine.aclose()
        return self.stats()

    async def _finish(self) -> None:
        """Wait until the engine has answered everything, for a limited time."""
        for partition in list(self._open):
            self._close_batch(partition)
        try:
            async with asyncio.timeout(self._settings.drain):
                while len(self._ledger):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            logger.warning("%r ends without all answers: %s", self, self.stats())

    # -- receiving and packing

    async def _receive(self) -> None:
        endpoint, ledger = self._endpoint, self._ledger
        while True:
            if ledger.pauses and ledger.full and not await self._has_room():
                return
            try:
                batch = await endpoint.recv_batch()
            except EndpointClosedError:
                return
            except (OSError, UDPError) as exc:  # counted in the endpoint's stats
                logger.debug("%r: %s", self, exc)
                continue
            if len(batch):
                self._received += len(batch)
                self._take(_columns(batch))

    async def _has_room(self) -> bool:
        """Wait for room; return whether there is some before the endpoint's end.

        A drained endpoint is given *drain* seconds. What it still has then stays there.
        """
        loop, deadline = asyncio.get_running_loop(), None
        while self._ledger.full:
            protocol = self._endpoint._protocol
            if protocol.closed:
                return False
            if protocol._draining:
                deadline = deadline or loop.time() + self._settings.drain
                if loop.time() >= deadline:
                    return False
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._room.wait()
        return True

    def _take(self, columns: wire.Columns) -> None:
        partitions = self._settings.partitions
        if partitions == 1:
            self._add(0, columns)
        else:
            for partition, part in wire.split(columns, partitions).items():
                self._add(partition, part)

    def _add(self, partition: int, columns: wire.Columns) -> None:
        limit = min(self._settings.batch_bytes, self._max_payload) - _FIXED
        for part in wire.cut(columns, limit):
            size = part.packed_size
            open_ = self._open.get(partition)
            if open_ is not None and open_.size + size > limit:
                self._close_batch(partition)
                open_ = None
            if open_ is None:
                loop = asyncio.get_running_loop()
                timer = loop.call_later(
                    self._settings.linger, self._close_batch, partition
                )
                open_ = self._open[partition] = _Open(timer)
            open_.parts.append(part)
            open_.size += size
            if open_.size >= limit - _NEARLY:
                self._close_batch(partition)

    def _close_batch(self, partition: int) -> None:
        """Pack the next batch of a partition, and add it to the ledger."""
        open_ = self._open.pop(partition, None)
        if open_ is None:
            return
        open_.timer.cancel()
        datagrams = sum(map(len, open_.parts))
        message = bytearray(
            wire.pack(
                open_.parts,
                front=self._front,
                sequence=0,  # set when it's published
                began_ns=open_.began_ns,
                partition=partition,
            )
        )
        if len(message) > self._max_payload:
            # One datagram that is longer than the engine takes; see ``wire.cut``.
            self._too_large += datagrams
            return
        self._ledger.add(Batch(message, datagrams, partition))
        self._wake.set()

    # -- publishing

    async def _connected(self, client: Any) -> None:
        await self._make_stream(client)
        self._max_payload = client.max_payload - _HEADERS
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*.*", cb=self._on_answer)
        await client.subscribe(
            names.reply_subject(self._stream, self._front),
            cb=self._on_reply,
            pending_bytes_limit=_REPLY_LIMIT,
        )
        self._last_answer = asyncio.get_running_loop().time()
        self._wake.set()

    def _disconnected(self) -> None:
        self._ledger.disconnect()

    async def _make_stream(self, client: Any) -> None:
        """Create the stream if it doesn't exist."""
        if not self._settings.create:
            return
        config = {
            "name": self._stream,
            "subjects": [names.input_subject(self._stream, "*")],
            "retention": "workqueue",
            "discard": "new",
            "max_bytes": self._settings.stream_bytes,
            "storage": "file",
            "num_replicas": self._settings.replicas,
            "duplicate_window": 120_000_000_000,
        }
        try:
            await ask(client, f"STREAM.CREATE.{self._stream}", config)
        except ApiError as exc:
            if exc.number != _STREAM_EXISTS:
                raise

    async def _publish(self) -> None:
        loop, ledger = asyncio.get_running_loop(), self._ledger
        while True:
            client = self._engine.client
            now = loop.time()
            batch = None
            if client is not None and self._resting is None:
                batch = ledger.next(now + self._settings.answer_timeout)
            if batch is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            _SEQUENCE.pack_into(batch.message, _SEQUENCE_AT, batch.sequence)
            dropped = ledger.dropped + self._too_large
            _SEQUENCE.pack_into(batch.message, _DROPPED_AT, dropped)
            identity = names.message_id(self._front, batch.partition, batch.sequence)
            if len(batch.message) > self._max_payload:
                # Another server than the one for which it was packed.
                logger.warning("%r: a batch is too long for this server", self)
                ledger.answer(batch.partition, batch.sequence, stored=False)
                self._room.set()
                continue
            try:
                await client.publish(
                    names.input_subject(self._stream, batch.partition),
                    batch.message,
                    reply=f"{self._inbox}.{batch.partition}.{batch.sequence}",
                    headers={"Nats-Msg-Id": identity},
                )
            except Exception as exc:  # connection lost: it's published again later
                logger.debug("%r: publishing failed: %s", self, exc)
                await asyncio.sleep(0)
            # Publishing rarely waits, and receiving must run in between.
            await asyncio.sleep(0)

    async def _on_answer(self, message: Any) -> None:
        loop = asyncio.get_running_loop()
        self._last_answer = loop.time()
        _, partition, sequence = message.subject.rsplit(".", 2)
        key = int(partition), int(sequence)
        error: dict[str, Any] = {"code": 503, "description": "nobody answers"}
        if message.data:  # else: no responders, while the engine is starting
            error = json.loads(message.data).get("error", {})
        if error.get("code") == 503:  # no room, or not ready yet
            logger.debug("%r: %s", self, error)
            self._ledger.retry(*key)
            if self._resting is None:
                self._resting = loop.call_later(_RETRY_PAUSE, self._go_on)
            return
        if error:
            logger.warning("%r: a batch was refused: %s", self, error)
        self._ledger.answer(*key, stored=not error)
        self._wake.set()
        self._room.set()

    def _go_on(self) -> None:
        self._resting = None
        self._wake.set()

    async def _watch(self) -> None:
        """Publish unanswered batches again; replace a connection that is silent."""
        loop, timeout = asyncio.get_running_loop(), self._settings.answer_timeout
        while True:
            await asyncio.sleep(timeout / 4)
            now = loop.time()
            if self._ledger.expire(now):
                self._wake.set()
                if (
                    self._engine.client is not None
                    and now - self._last_answer > 2 * timeout
                ):
                    self._engine.reconnect()

    def _status(self) -> dict[str, Any]:
        kernel = self._endpoint.stats()
        return {
            **self.stats().as_dict(),
            "published_batches": self._ledger.batches,
            "dropped_kernel": kernel.dropped_kernel,
            "dropped_queue": kernel.dropped_queue,
        }

    async def _report(self) -> None:
        about = {"kind": "front", "id": f"{self._front:016x}"}
        await publish_regularly(self._engine, self._stream, about, self._status)

    # -- replies

    async def _on_reply(self, message: Any) -> None:
        """Send a worker's replies from the socket that received the requests."""
        try:
            columns = wire.unpack(message.data).columns
        except ValueError as exc:
            logger.warning("%r: replies that cannot be read: %s", self, exc)
            return
        count = len(columns)
        try:
            await self._endpoint.send_many(_replies(columns))
        except SendManyError as exc:
            self._replies_failed += len(exc.errors)
            count -= len(exc.errors)
        except EndpointClosedError:
            self._replies_failed += count
            return
        except (OSError, ValueError, TypeError, UDPError) as exc:
            self._replies_failed += count
            logger.warning("%r: replies were not sent: %s", self, exc)
            return
        self._replies += count


_NEARLY: Final = 2048  # bytes: a batch with less room than a datagram needs is full


class _Open:
    """The next batch of a partition, while it's being filled."""

    __slots__ = ("began_ns", "parts", "size", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.parts: list[wire.Columns] = []
        self.size = 0
        self.began_ns = time.time_ns()


def _columns(batch: DatagramBatch) -> wire.Columns:
    """Return the columns of a batch; without timestamps, it arrived now."""
    times: Any = batch.timestamps_ns
    if times is None:
        times = array("q", [time.time_ns()]) * len(batch)
    return wire.Columns(
        batch.data,
        batch.offsets,
        batch.sources,
        batch.source_index,
        times,
        batch.local_addrs or (),
        batch.local_addr_index or (),
    )


def _replies(columns: wire.Columns) -> list[tuple[Any, ...]]:
    """Return items for ``send_many``, with the address to send from if it's known."""
    view, offsets = memoryview(columns.data), columns.offsets
    options = [
        None if not addr else SendOptions(local_addr=addr)
        for addr in columns.local_addrs
    ]
    return [
        (
            view[offsets[i] : offsets[i + 1]],
            columns.sources[columns.source_index[i]],
            options[columns.local_addr_index[i]] if options else None,
        )
        for i in range(len(columns))
    ]
