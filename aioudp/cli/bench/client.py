"""The client of ``aioudp bench``: sends datagrams and probes, requests the result.

Each flow has its own endpoint for data; requests and probes share another one. A
request is repeated until it's answered, up to a limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

import aioudp

from . import wire
from .histogram import Histogram
from .report import Received, Report
from .server import machine
from .wire import Kind

ANSWER_WITHIN: Final = 0.25  # seconds before a request is repeated
ATTEMPTS: Final = 12
PROBE_INTERVAL: Final = 0.01  # seconds
BATCH: Final = 64  # datagrams per iteration of the event loop
_UNDER_WAY: Final = 0.2  # seconds that a datagram may take
_TICK: Final = 0.002  # seconds between two batches at a given rate
_TRAIN: Final = 65_000  # maximum bytes per send with a segment size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The datagrams to send."""

    payload: int = 1200
    """Bytes per datagram."""
    seconds: float = 5.0
    rate: float | None = None
    """Datagrams per second over all flows; ``None``: as fast as possible."""
    flows: int = 1
    trains: bool = False
    """Whether to send trains, with a segment size."""


class Flow:
    """Builds and sends the numbered datagrams of one flow."""

    def __init__(
        self, endpoint: aioudp.Endpoint, run: int, flow: int, plan: Plan
    ) -> None:
        self._endpoint = endpoint
        self._run = run
        self._flow = flow
        self._payload = plan.payload
        self._trains = plan.trains
        self.number: int = 0
        self.sent: int = 0
        self.send_errors: int = 0

    @property
    def largest(self) -> int:
        """The maximum number of datagrams per :meth:`send`."""
        return max(1, _TRAIN // self._payload) if self._trains else BATCH

    async def send(self, count: int) -> None:
        """Send the next *count* datagrams."""
        before = self._endpoint.stats()
        try:
            if self._trains:
                train = self._compose(count)
                await self._endpoint.send(train, segment_size=self._payload)
            else:
                await self._endpoint.send_many(self._singles(count))
        except (OSError, aioudp.SendManyError):
            pass  # counted in the statistics
        after = self._endpoint.stats()
        self.sent += after.sent - before.sent
        self.send_errors += after.send_errors - before.send_errors
        self.number += count

    def _compose(self, count: int) -> bytearray:
        buffer = bytearray(count * self._payload)
        now = time.monotonic_ns()
        for index in range(count):
            offset, number = index * self._payload, self.number + index
            wire.pack_into(buffer, offset, self._run, self._flow, number, now)
        return buffer

    def _singles(self, count: int) -> Iterator[tuple[bytes, None]]:
        padding = bytes(self._payload - wire.HEADER_SIZE)
        for number in range(self.number, self.number + count):
            header = wire.pack(
                Kind.DATA,
                self._run,
                flow=self._flow,
                number=number,
                time=time.monotonic_ns(),
            )
            yield header + padding, None


class Client:
    """One run against one server. Use it as a context manager."""

    def __init__(self, server: aioudp.IPAddress, plan: Plan) -> None:
        self._server = server
        self._plan = plan
        self._run = int.from_bytes(os.urandom(8))
        self._answers: asyncio.Queue[tuple[wire.Header, bytes]] = asyncio.Queue(100)
        self._token = b""
        self._seconds = 0.0
        self._probes = 0
        self._round_trips = Histogram()
        self._flows: list[Flow] = []
        self._stack = AsyncExitStack()
        self._unanswered: OSError | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._control = await stack.enter_async_context(
                aioudp.connect(self._server)
            )
            for flow in range(self._plan.flows):
                opening = aioudp.connect(self._server, queue_size=1)
                endpoint = await stack.enter_async_context(opening)
                self._flows.append(Flow(endpoint, self._run, flow, self._plan))
            hearing = asyncio.create_task(self._hear())
            stack.callback(hearing.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def sent(self) -> int:
        """Datagrams sent so far."""
        return sum(flow.sent for flow in self._flows)

    async def start(self) -> None:
        """Register the run with the server.

        Raises:
            TimeoutError: If the server doesn't answer.
            ConnectionRefusedError: If nobody listens there.
        """
        hello = wire.pack(Kind.HELLO, self._run) + bytes(wire.TOKEN_SIZE)
        welcome = await self._ask(hello, Kind.WELCOME)
        self._token = welcome[wire.HEADER_SIZE :][: wire.TOKEN_SIZE]
        header = wire.pack(Kind.START, self._run, flow=self._plan.flows)
        await self._ask(header + self._token + machine(), Kind.STARTED)

    async def send(self) -> None:
        """Send for the duration of the plan, and send probes meanwhile."""
        probing = asyncio.create_task(self._probe())
        begin = time.monotonic()
        try:
            if self._plan.rate is None:
                await self._send_all_the_time(begin)
            else:
                await self._send_at(self._plan.rate, begin)
        finally:
            self._seconds = time.monotonic() - begin
            probing.cancel()

    async def finish(self) -> None:
        """Wait until datagrams in flight should have arrived."""
        await asyncio.sleep(_UNDER_WAY)

    async def report(self) -> Report:
        """Request the server's counts, and return the result, with or without them."""
        received = None
        try:
            finish = wire.pack(Kind.FINISH, self._run) + self._token
            answer = await self._ask(finish, Kind.RESULT)
            received = Received.from_json(json.loads(answer[wire.HEADER_SIZE :]))
        except (OSError, ValueError):
            pass  # no answer, or an invalid one
        return Report(
            payload=self._plan.payload,
            flows=self._plan.flows,
            seconds=self._seconds,
            sent=self.sent,
            send_errors=sum(flow.send_errors for flow in self._flows),
            probes=self._probes,
            round_trips=self._round_trips,
            received=received,
        )

    async def _send_all_the_time(self, begin: float) -> None:
        while True:
            for flow in self._flows:
                await flow.send(flow.largest)
                await asyncio.sleep(0)
                if time.monotonic() - begin >= self._plan.seconds:
                    return

    async def _send_at(self, rate: float, begin: float) -> None:
        """Send the datagrams that are due, one flow after the other."""
        total = round(rate * self._plan.seconds)
        done = sends = 0
        while done < total:
            due = min(total, int((time.monotonic() - begin) * rate) + 1)
            while done < due:
                flow = self._flows[sends % len(self._flows)]
                count = min(due - done, flow.largest)
                await flow.send(count)
                done += count
                sends += 1
                await asyncio.sleep(0)
            wait = begin + done / rate - time.monotonic()
            await asyncio.sleep(max(wait, _TICK) if done < total else 0)

    async def _ask(self, request: bytes, kind: Kind) -> bytes:
        """Send a request until an answer of *kind* comes; return the answer."""
        for _ in range(ATTEMPTS):
            try:
                await self._control.send(request)
                async with asyncio.timeout(ANSWER_WITHIN):
                    while True:
                        header, answer = await self._answers.get()
                        if header.kind == kind:
                            return answer
            except TimeoutError:
                # Trust a refusal only if the server has never answered.
                if self._unanswered is not None and not self._token:
                    raise self._unanswered from None
        raise TimeoutError(f"{self._server[0]} does not answer")

    async def _hear(self) -> None:
        """Receive probes and answers from the server."""
        while True:
            try:
                data, _ = await self._control.recv()
            except aioudp.EndpointClosedError:
                return
            except OSError as exc:
                self._unanswered = exc
                continue
            now = time.monotonic_ns()
            header = wire.parse(data)
            if header is None or header.run != self._run:
                continue
            if header.kind == Kind.PROBE:
                self._round_trips.add(now - header.time)
            elif not self._answers.full():
                self._answers.put_nowait((header, data))

    async def _probe(self) -> None:
        """Send probes periodically; the server sends them back."""
        while True:
            probe = wire.pack(
                Kind.PROBE,
                self._run,
                number=self._probes,
                time=time.monotonic_ns(),
            )
            try:
                await self._control.send(probe)
                self._probes += 1
            except OSError:
                pass  # skip this probe
            await asyncio.sleep(PROBE_INTERVAL)
