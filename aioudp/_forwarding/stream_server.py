"""A server that receives datagrams from the engine, and replies through it.

A batch is acknowledged when all its datagrams have been handled. Until then, the server
keeps requesting more time, so that the engine delivers the batch to no other worker. If
this process dies, it does. So handlers see each datagram at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable, iscoroutine
from typing import Any, Final

from .._endpoint.closing import ClosedAtTheEnd
from .._serving.failures import Failures
from .._serving.service import Handler, replies_in
from .._types import Datagram, Message
from ..server import ServerStats
from .batch import ForwardedBatch
from .consumer import Subscription

_IN_HAND: Final = 8  # batches; each may be a quarter of a megabyte


class StreamServer(ClosedAtTheEnd):
    """Answers datagrams that fronts received. Opened by :func:`aioudp.serve`.

    Leaving ``async with`` closes it at once; :meth:`drain` finishes the batches in hand
    first.
    """

    def __init__(
        self,
        subscription: Subscription,
        handler: Handler,
        *,
        concurrency: int,
        accept: Callable[[bytes, Any], object] | None,
        packet_info: bool,
    ) -> None:
        self._subscription = subscription
        self._handler: Any = handler
        self._accept = accept
        self._packet_info = packet_info
        self._places = asyncio.Semaphore(concurrency)
        self._failures = Failures()
        self._requests = self._replies = self._rejected = self._unsent = 0
        self._aborted = 0
        self._draining = False
        self._ended = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    # -- running

    async def serve_forever(self) -> None:
        """Return when the server has ended, and close it.

        Raises:
            BaseException: What ended the server, if it wasn't closed.
        """
        try:
            await asyncio.wait([self._task])
            if self._draining:
                await self._ended.wait()
        finally:
            await self.aclose()
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        async for batch in self._subscription:
            task = asyncio.create_task(self._handle(batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            while len(self._batches) >= _IN_HAND:
                await asyncio.wait(self._batches, return_when="FIRST_COMPLETED")
            async with self._places:  # while no task is free, take no further batch
                pass

    async def _handle(self, batch: ForwardedBatch) -> None:
        keeping = asyncio.create_task(self._keep(batch))
        replies: list[tuple[int, bytes]] = []
        running = []
        try:
            for index, one in enumerate(self._asked(batch)):
                if self._accept is not None and not self._accepts(one):
                    continue
                self._requests += 1
                reply = self._call(one)
                if isawaitable(reply):
                    await self._place_for(reply)
                    task = asyncio.ensure_future(self._finish(index, one, reply))
                    task.add_done_callback(lambda _: self._places.release())
                    running.append(task)
                else:
                    replies += self._read(index, one, reply)
            for finished in await asyncio.gather(*running):
                replies += finished
            if replies:
                await self._send(batch, replies)
            await batch.ack()
        except BaseException:
            self._aborted += sum(not task.done() for task in running)
            for task in running:
                task.cancel()
            raise
        finally:
            keeping.cancel()

    async def _place_for(self, awaitable: Any) -> None:
        try:
            await self._places.acquire()
        except BaseException:
            self._aborted += 1
            if iscoroutine(awaitable):
                awaitable.close()
            raise

    async def _keep(self, batch: ForwardedBatch) -> None:
        """Request more time, repeatedly."""
        while True:
            await asyncio.sleep(self._subscription.ack_wait / 3)
            await batch.in_progress()

    def _asked(self, batch: ForwardedBatch) -> Any:
        """Return the handler's arguments for each datagram."""
        return batch.messages() if self._packet_info else batch

    def _accepts(self, one: Datagram | Message) -> bool:
        assert self._accept is not None
        try:
            accepted = bool(self._accept(one.data, one.addr))
        except Exception as exc:
            self._failures.note("the accept function", exc, one.addr)
            return False
        self._rejected += not accepted
        return accepted

    def _call(self, one: Any) -> Any:
        try:
            return self._handler(one) if self._packet_info else self._handler(*one)
        except Exception as exc:
            self._failures.note("the handler", exc, one.addr)
            return None

    async def _finish(
        self, index: int, one: Any, awaitable: Any
    ) -> list[tuple[int, bytes]]:
        try:
            reply = await awaitable
        except Exception as exc:
            self._failures.note("the handler", exc, one.addr)
            return []
        return self._read(index, one, reply)

    def _read(self, index: int, one: Any, reply: Any) -> list[tuple[int, bytes]]:
        try:
            return [(index, each) for each in replies_in(reply)]
        except Exception as exc:
            self._failures.note("the handler", exc, one.addr)
            return []

    async def _send(
        self, batch: ForwardedBatch, replies: list[tuple[int, bytes]]
    ) -> None:
        try:
            await batch.reply(replies)
        except ConnectionError:
            self._unsent += len(replies)
        else:
            self._replies += len(replies)

    # -- ending

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Finish the batches in hand, then close the server.

        Batches that were fetched but not started go to another worker of the group.

        Args:
            timeout: In seconds. Handlers that are still running then are cancelled, and
                their batches go to other workers. ``None`` sets no limit.

        Returns:
            Whether everything in hand was finished.
        """
        self._draining = True
        self._task.cancel()
        try:
            async with asyncio.timeout(timeout):
                while self._batches:
                    await asyncio.wait(self._batches)
        except TimeoutError:
            return False
        finally:
            await self.aclose()
        return True

    async def aclose(self) -> None:
        """Close the server at once, and return when that's done. Idempotent.

        Its handlers are cancelled; their batches go to other workers.
        """
        tasks = [self._task, *self._batches]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._subscription.aclose()
        finally:
            self._ended.set()

    # -- looking

    @property
    def closed(self) -> bool:
        """Whether the server was closed."""
        return self._subscription.closed

    @property
    def in_hand(self) -> int:
        """How many batches are being handled."""
        return len(self._batches)

    def stats(self) -> ServerStats:
        """Return the counters, without those of an endpoint: it has none."""
        return ServerStats(
            requests=self._requests,
            replies=self._replies,
            rejected=self._rejected,
            failed=self._failures.count,
            aborted=self._aborted,
            unsent=self._unsent,
        )
