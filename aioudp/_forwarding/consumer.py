"""The worker's side: batches come from a durable consumer, to be acknowledged.

The workers of a group share one consumer in the engine. It delivers each batch to one
of them, and to another if it isn't acknowledged in time. Workers pull batches: each
requests as many as it has room for, so a slow one doesn't hold up the others.

Each request expires after a few seconds, and the engine reports that it has. So the
worker knows how many batches are still on request. If the report gets lost, the worker
requests the batches again after twice that time without any answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter, OrderedDict, deque
from typing import Any, Final, Self

from .._endpoint.closing import ClosedAtTheEnd
from .._errors import EndpointClosedError
from . import names, wire
from .batch import ForwardedBatch
from .engine import ApiError, Engine, ask, client_library
from .ranges import Ranges
from .settings import SubscribeSettings
from .stats import SubscribeStats
from .status import publish_regularly

logger = logging.getLogger("aioudp")

_EXPIRES: Final = 3.0  # seconds of one request for batches
_NO_STREAM: Final = 10059
_CONSUMER_EXISTS: Final = 10148  # with another configuration, which then holds
_MAX_FRONTS: Final = 1024  # whose batches are remembered
_MAX_RANGES: Final = 32  # of one front, in a status
_MAX_KNOWN: Final = 2048  # ranges of one front; the older half is forgotten then


class Subscription(ClosedAtTheEnd):
    """An asynchronous iterator over batches, opened by :func:`aioudp.subscribe`.

    Several tasks may iterate; each batch goes to one of them.
    """

    def __init__(
        self, url: Any, stream: str, group: str, settings: SubscribeSettings
    ) -> None:
        self._stream = stream
        self._group = group
        self._settings = settings
        self._id: Final = secrets.randbits(63)
        self._engine = Engine(
            url,
            name=f"aioudp worker {self._id:016x}",
            tls=settings.tls,
            credentials=settings.credentials,
            connected=self._connected,
            disconnected=self._disconnected,
        )
        count = settings.partitions
        suffixes = [""] if count == 1 else [f"-{index}" for index in range(count)]
        self._consumers = [_Consumer(f"{group}{suffix}") for suffix in suffixes]
        self._batches: deque[ForwardedBatch] = deque()
        self._arrived = asyncio.Condition()
        self._ready = asyncio.Event()
        self._closing = asyncio.Lock()
        self._inbox: Any = None  # the client's subscription
        self._places = asyncio.Event()  # set when there may be something to request
        self._tasks: list[asyncio.Task[None]] = []
        self._known: OrderedDict[tuple[int, int], Ranges] = OrderedDict()
        self._forgotten: Counter[tuple[int, int]] = Counter()  # numbers not in it
        self._consumed = self._repeated = self._acknowledged = self._damaged = 0
        self.ack_wait: float = settings.ack_wait
        """Seconds until a batch goes to another worker, as its group has it."""
        self.closed: bool = False
        """Whether it was closed."""

    async def start(self) -> Self:
        """Connect; called by :func:`aioudp.subscribe`."""
        await self._engine.start()
        self._tasks = [
            asyncio.create_task(self._keep_asking()),
            asyncio.create_task(self._report()),
        ]
        return self

    async def aclose(self) -> None:
        """Stop, and close the connection. Idempotent.

        Unacknowledged batches are delivered again, to another worker.
        """
        async with self._closing:  # who closes it meanwhile waits for it
            await self._close()

    async def _close(self) -> None:
        self.closed = True
        self._ready.set()  # who waits to answer gets an error
        async with self._arrived:
            self._arrived.notify_all()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._engine.client is not None:
            await self._give_back()
        await self._engine.aclose()

    async def _give_back(self) -> None:
        """Return batches that no task took, so that other workers get them now."""
        # First take no more, or the engine would give them to this worker again.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self._inbox.drain()
        batches, self._batches = list(self._batches), deque()
        for batch in batches:
            await self._say(batch, b"-NAK")
        try:
            await self._engine.client.flush(timeout=1)
        except Exception as exc:
            logger.debug("%r: %s", self, exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ForwardedBatch:
        """Wait for the next batch. Cancelling is safe: no batch is lost."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._batches or self.closed)
            if self.closed:
                raise StopAsyncIteration
            batch = self._batches.popleft()
            self._note(batch)
            self._places.set()
            return batch

    def stats(self) -> SubscribeStats:
        """Return the counters."""
        return SubscribeStats(
            consumed=self._consumed,
            repeated=self._repeated,
            acknowledged=self._acknowledged,
            damaged=self._damaged,
            reconnects=self._engine.reconnects,
        )

    def __repr__(self) -> str:
        return f"<Subscription stream={self._stream!r} group={self._group!r}>"

    # -- called by batches

    async def answer(self, batch: ForwardedBatch, word: bytes) -> bool:
        """Send the engine an answer about a batch; return whether it was sent."""
        try:
            async with asyncio.timeout(self._settings.ack_wait):
                await self._ready.wait()
        except TimeoutError:
            return False
        if self.closed:
            raise EndpointClosedError
        return await self._say(batch, word)

    async def _say(self, batch: ForwardedBatch, word: bytes) -> bool:
        try:
            await self._engine.client.publish(batch.answer_to, word)
        except Exception as exc:
            logger.debug("%r: %s", self, exc)
            return False
        if word == b"+ACK":
            self._acknowledged += len(batch)
        return True

    async def reply(self, front: int, columns: wire.Columns) -> None:
        """Send replies to a front, which sends them to the peers."""
        client = self._engine.client
        if client is None:
            raise ConnectionError("there is no connection to the engine: no replies")
        subject = names.reply_subject(self._stream, front)
        for part in wire.cut(columns, client.max_payload // 2):
            message = wire.pack([part], front=front, sequence=0, began_ns=0)
            try:
                await client.publish(subject, message)
            except client_library().errors.Error as exc:
                raise ConnectionError(f"replies were not sent: {exc}") from exc

    # -- called by the engine

    async def _connected(self, client: Any) -> None:
        inbox = client.new_inbox()
        for index, consumer in enumerate(self._consumers):
            await self._make_consumer(client, consumer.name, index)
            consumer.inbox = f"{inbox}.{index}"
            consumer.asked = 0
        self._inbox = await client.subscribe(
            f"{inbox}.*", cb=self._on_message, pending_bytes_limit=0
        )
        self._ready.set()
        self._places.set()

    def _disconnected(self) -> None:
        if not self.closed:
            self._ready.clear()

    async def _make_consumer(self, client: Any, name: str, index: int) -> None:
        """Create the group's consumer if it doesn't exist."""
        one = len(self._consumers) == 1
        ordered = self._settings.ordered
        config: dict[str, Any] = {
            "durable_name": name,
            "filter_subject": names.input_subject(self._stream, "*" if one else index),
            "ack_policy": "explicit",
            "ack_wait": int(self._settings.ack_wait * 1e9),
            "max_ack_pending": 1 if ordered else 1000,
            "max_deliver": -1,
        }
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.patience
        while True:
            try:
                found = await ask(
                    client, f"CONSUMER.DURABLE.CREATE.{self._stream}.{name}", request
                )
            except ApiError as exc:
                if exc.number == _CONSUMER_EXISTS:
                    about = f"CONSUMER.INFO.{self._stream}.{name}"
                    found = await ask(client, about, {})
                    self.ack_wait = found["config"]["ack_wait"] / 1e9
                    return
                if exc.number != _NO_STREAM or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.2)  # its front hasn't started yet
            else:
                self.ack_wait = found["config"]["ack_wait"] / 1e9
                return

    async def _pull(self) -> None:
        """Request as many batches as there is room for."""
        client = self._engine.client
        if client is None or self.closed:
            return
        places = self._settings.prefetch - len(self._batches)
        for consumer in self._consumers:
            ordered = self._settings.ordered
            wanted = min(places, 1 if ordered else places) - consumer.asked
            if wanted <= 0:
                continue
            consumer.asked += wanted
            consumer.deadline = asyncio.get_running_loop().time() + 2 * _EXPIRES
            request = {"batch": wanted, "expires": int(_EXPIRES * 1e9)}
            try:
                await client.publish(
                    f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer.name}",
                    json.dumps(request).encode(),
                    reply=consumer.inbox,
                )
            except Exception as exc:
                logger.debug("%r: %s", self, exc)

    async def _on_message(self, message: Any) -> None:
        index = int(message.subject.rpartition(".")[2])
        consumer = self._consumers[index]
        headers = message.headers or {}
        if "Status" in headers and not message.data:
            left = int(headers.get("Nats-Pending-Messages", 0) or consumer.asked)
            consumer.asked = max(0, consumer.asked - left)
            if headers["Status"] not in ("404", "408"):
                await asyncio.sleep(0.1)  # 409 and 503 come back at once
            self._places.set()
            return
        consumer.asked = max(0, consumer.asked - 1)
        try:
            packed = wire.unpack(message.data)
        except ValueError as exc:
            logger.warning("%r: a message was discarded: %s", self, exc)
            self._damaged += 1
            await self._engine.client.publish(message.reply, b"+TERM")
            self._places.set()
            return
        batch = ForwardedBatch(self, packed, message.reply)
        async with self._arrived:
            self._batches.append(batch)
            self._arrived.notify_all()  # one may be cancelled just now

    async def _keep_asking(self) -> None:
        """Request batches when there is room, or when answers are overdue."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXPIRES):
                    await self._places.wait()
            self._places.clear()
            for consumer in self._consumers:
                if consumer.asked and consumer.deadline < loop.time():
                    consumer.asked = 0
            await self._pull()

    # -- counting

    def _note(self, batch: ForwardedBatch) -> None:
        key = batch.front, batch.partition
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_FRONTS:
                oldest, _ = self._known.popitem(last=False)
                del self._forgotten[oldest]
            known = self._known[key] = Ranges()
        self._known.move_to_end(key)
        if known.add(batch.sequence):
            self._consumed += len(batch)
            if known.count > _MAX_KNOWN:
                self._forgotten[key] += known.forget(_MAX_KNOWN // 2)
        else:
            self._repeated += len(batch)

    def _status(self) -> dict[str, Any]:
        stats = self.stats()
        return {
            "consumed": stats.consumed,
            "repeated": stats.repeated,
            "acknowledged": stats.acknowledged,
            "damaged": stats.damaged,
            "batches": {
                f"{front:016x}.{partition}": known.pairs()[-_MAX_RANGES:]
                for (front, partition), known in self._known.items()
            },
            "had": {
                f"{front:016x}.{partition}": len(known)
                + self._forgotten[front, partition]
                for (front, partition), known in self._known.items()
            },
        }

    async def _report(self) -> None:
        about = {"kind": "worker", "id": f"{self._id:016x}", "group": self._group}
        await publish_regularly(self._engine, self._stream, about, self._status)


class _Consumer:
    """A durable consumer, and the requests to it."""

    __slots__ = ("asked", "deadline", "inbox", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.inbox = ""
        self.asked = 0
        self.deadline = 0.0
