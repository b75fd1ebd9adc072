"""The client of ``aioudp bench``: sends and receives, probes, requests the result.

Each flow has its own endpoint for data; requests and probes share another one. A
request is repeated until it's answered, up to a limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import aioudp

from . import wire
from .arrivals import Arrivals
from .histogram import Histogram
from .report import Received, Report
from .sending import Flow, Plan, send_all
from .server import machine
from .wire import Kind

ANSWER_WITHIN: Final = 0.25  # seconds before a request is repeated
ATTEMPTS: Final = 12
PROBE_INTERVAL: Final = 0.01  # seconds
_UNDER_WAY: Final = 0.2  # seconds that a datagram may take


class Client:
    """One run against one server. Use it as a context manager."""

    def __init__(self, server: aioudp.IPAddress, plan: Plan) -> None:
        self._server = server
        self._plan = plan
        self._sends = plan.direction != "to-client"
        self._receives = plan.direction != "to-server"
        self._run = int.from_bytes(os.urandom(8))
        self._answers: asyncio.Queue[tuple[wire.Header, bytes]] = asyncio.Queue(100)
        self._token = b""
        self._seconds = 0.0
        self._probes = 0
        self._polls = 0
        self.round_trips: Histogram = Histogram()
        self.new_round_trips: Histogram = Histogram()
        """Those since an interval's display has replaced it."""
        self._flows: list[Flow] = []
        self._arrivals: Arrivals | None = None
        self._stack = AsyncExitStack()
        self._unanswered: OSError | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._control = await stack.enter_async_context(
                aioudp.connect(self._server)
            )
            # Without receiving, only ICMP errors are of interest.
            options: aioudp.Options = {} if self._receives else {"queue_size": 1}
            for flow in range(self._plan.flows):
                opening = aioudp.connect(self._server, **options)
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
        """Register the run with the server, and each flow that it's to send.

        Raises:
            TimeoutError: If the server doesn't answer.
            ConnectionRefusedError: If nobody listens there.
        """
        hello = wire.pack(Kind.HELLO, self._run) + bytes(wire.TOKEN_SIZE)
        welcome = await self._ask(hello, Kind.WELCOME)
        self._token = welcome[wire.HEADER_SIZE :][: wire.TOKEN_SIZE]
        header = wire.pack(Kind.START, self._run, flow=self._plan.flows)
        plan = json.dumps(self._plan.as_json()).encode()
        await self._ask(header + self._token + machine() + plan, Kind.STARTED)
        if self._receives:
            for flow, sender in enumerate(self._flows):
                await self._join(sender.endpoint, flow)
            result = await self._result(Kind.POLL)
            same_clock = result.get("one_way") is not None
            self._arrivals = Arrivals(self._plan.flows, same_clock=same_clock)
            for sender in self._flows:
                receiving = asyncio.create_task(self._receive(sender.endpoint))
                self._stack.callback(receiving.cancel)

    async def send(self) -> None:
        """Send, or let the server send, as planned; send probes meanwhile."""
        probing = asyncio.create_task(self._probe())
        begin = time.monotonic()
        try:
            if self._receives:
                await self._ask(wire.pack(Kind.GO, self._run) + self._token, Kind.GOING)
            if self._sends:
                await send_all(self._flows, self._plan)
            else:
                await asyncio.sleep(self._plan.seconds)
        finally:
            self._seconds = time.monotonic() - begin
            probing.cancel()

    async def finish(self) -> None:
        """Wait until datagrams in flight should have arrived."""
        await asyncio.sleep(_UNDER_WAY)

    async def reports(self) -> list[Report]:
        """Request the server's counts; return the result of each direction.

        Without an answer, the results are what is known here.
        """
        return self._reports(await self._result(Kind.FINISH))

    async def poll(self) -> list[Report]:
        """Return the results so far; ask the server only once."""
        return self._reports(await self._result(Kind.POLL, attempts=1))

    def _reports(self, result: dict[str, Any]) -> list[Report]:
        reports = []
        if self._sends:
            try:
                received = Received.from_json(result)
            except ValueError:
                received = None  # no answer, or an invalid one
            errors = sum(flow.send_errors for flow in self._flows)
            reports.append(
                self._report("to-server", self._seconds, self.sent, errors, received)
            )
        if self._receives:
            sent = result.get("sent")
            sent = sent if isinstance(sent, int) else None
            arrived = None
            if self._arrivals is not None:
                stats = [flow.endpoint.stats() for flow in self._flows]
                arrived = self._arrivals.result(sum(stats[1:], stats[0]))
            refused = result.get("send_errors")
            seconds = result.get("sending_seconds")
            reports.append(
                self._report(
                    "to-client",
                    seconds if isinstance(seconds, float) else self._seconds,
                    sent,
                    refused if isinstance(refused, int) else 0,
                    arrived,
                )
            )
        return reports

    def _report(
        self,
        direction: str,
        seconds: float,
        sent: int | None,
        send_errors: int,
        received: Received | None,
    ) -> Report:
        return Report(
            direction=direction,
            payload=self._plan.payload,
            flows=self._plan.flows,
            seconds=seconds,
            sent=sent,
            send_errors=send_errors,
            probes=self._probes,
            round_trips=self.round_trips,
            received=received,
        )

    async def _result(self, kind: Kind, attempts: int | None = None) -> dict[str, Any]:
        """Return the server's counts; nothing if it doesn't answer."""
        self._polls += 1
        request = wire.pack(kind, self._run, number=self._polls) + self._token
        try:
            answer = await self._ask(
                request, Kind.RESULT, number=self._polls, attempts=attempts
            )
            result: dict[str, Any] = json.loads(answer[wire.HEADER_SIZE :])
        except (OSError, ValueError):
            return {}
        return result if isinstance(result, dict) else {}

    async def _ask(
        self,
        request: bytes,
        kind: Kind,
        *,
        number: int = 0,
        attempts: int | None = None,
    ) -> bytes:
        """Send a request until an answer of *kind* comes; return the answer."""
        for _ in range(ATTEMPTS if attempts is None else attempts):
            try:
                await self._control.send(request)
                async with asyncio.timeout(ANSWER_WITHIN):
                    while True:
                        header, answer = await self._answers.get()
                        if header.kind == kind and header.number == number:
                            return answer
            except TimeoutError:
                # Trust a refusal only if the server has never answered.
                if self._unanswered is not None and not self._token:
                    raise self._unanswered from None
        raise TimeoutError(f"{self._server[0]} does not answer")

    async def _join(self, endpoint: aioudp.Endpoint[Any], flow: int) -> None:
        """Prove that a flow's address receives, and register it."""
        token = b""
        hello = wire.pack(Kind.HELLO, self._run) + bytes(wire.TOKEN_SIZE)
        for _ in range(ATTEMPTS):
            join = wire.pack(Kind.JOIN, self._run, flow=flow) + token
            try:
                await endpoint.send(join if token else hello)
                async with asyncio.timeout(ANSWER_WITHIN):
                    while True:
                        data, _ = await endpoint.recv()
                        header = wire.parse(data)
                        if header is None or header.run != self._run:
                            continue
                        if header.kind == Kind.JOINED and header.flow == flow:
                            return
                        if header.kind == Kind.WELCOME and not token:
                            token = data[wire.HEADER_SIZE :][: wire.TOKEN_SIZE]
                            join = wire.pack(Kind.JOIN, self._run, flow=flow) + token
                            await endpoint.send(join)
            except TimeoutError:
                continue
        raise TimeoutError(f"{self._server[0]} does not answer")

    async def _receive(self, endpoint: aioudp.Endpoint[Any]) -> None:
        """Count what the server sends to one flow."""
        assert self._arrivals is not None
        while True:
            try:
                datagrams = await endpoint.recv_many()
            except aioudp.EndpointClosedError:
                return
            except OSError:
                continue  # the server has gone, perhaps for a moment
            now_ns = time.monotonic_ns()
            for data, _ in datagrams:
                if (
                    data.startswith(wire.DATA)
                    and len(data) >= wire.HEADER_SIZE
                    and wire.unpack_data(data)[1] == self._run
                ):
                    self._arrivals.add(data, now_ns)

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
                self.round_trips.add(now - header.time)
                self.new_round_trips.add(now - header.time)
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
