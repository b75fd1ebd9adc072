"""The server of ``aioudp bench``: counts datagrams, sends some, answers requests.

A run is kept from its START, whose token proves the client's address, until it has
been silent for :data:`FORGET_AFTER` seconds. There are at most :data:`MAX_RUNS` runs.
Invalid datagrams are counted and ignored.

It sends datagrams only to addresses that have proved themselves with a token of their
own, and only while the client is heard.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

import aioudp

from . import wire
from .arrivals import Arrivals
from .sending import MAX_FLOWS, Flow, Plan, send_all
from .wire import Header, Kind

FORGET_AFTER: Final = 30.0  # seconds
MAX_RUNS: Final = 64

SILENCE: Final = 1.0
"""Seconds without a probe after which the server stops sending: a hundred probes."""


def machine() -> bytes:
    """Return an identifier of this machine's boot; a random one if there's none.

    Two ends with the same identifier use the same monotonic clock.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        clock = os.readlink("/proc/self/ns/time").encode()  # time_namespaces(7)
    except OSError:
        return os.urandom(wire.MACHINE_SIZE)
    return hashlib.sha256(boot + clock).digest()[: wire.MACHINE_SIZE]


class Run:
    """One client: what it has sent, and what it's sent."""

    def __init__(self, plan: Plan, *, same_clock: bool, before: aioudp.Stats) -> None:
        self.plan: Plan = plan
        self.arrivals: Arrivals = Arrivals(plan.flows, same_clock=same_clock)
        self.heard_ns: int = time.monotonic_ns()
        self.peers: dict[int, aioudp.Address] = {}
        """Where the client receives each flow."""
        self._before = before
        self._flows: list[Flow] = []
        self._sending: asyncio.Task[None] | None = None
        self._began = self._ended = 0.0

    @property
    def bytes(self) -> int:
        """Bytes received."""
        return self.arrivals.bytes

    def go(self, endpoint: aioudp.Endpoint[Any], number: int) -> bool:
        """Begin to send, once; return whether there's an address for each flow."""
        if self.plan.direction == "to-server" or len(self.peers) < self.plan.flows:
            return False
        if self._sending is None:
            self._flows = [
                Flow(endpoint, number, flow, self.plan, self.peers[flow])
                for flow in range(self.plan.flows)
            ]
            self._began = time.monotonic()
            self._sending = asyncio.create_task(self._send())
        return True

    def stop(self) -> None:
        """Stop sending."""
        if self._sending is not None:
            self._sending.cancel()

    def result(self, now: aioudp.Stats) -> dict[str, Any]:
        """Return the counts so far; *now* are those of the endpoint."""
        ended = self._ended or time.monotonic()
        return {
            **asdict(self.arrivals.result(now - self._before)),
            "sent": sum(flow.sent for flow in self._flows),
            "send_errors": sum(flow.send_errors for flow in self._flows),
            "sending_seconds": ended - self._began if self._flows else 0.0,
        }

    async def _send(self) -> None:
        sending = asyncio.create_task(send_all(self._flows, self.plan))
        try:
            while not sending.done():
                await asyncio.wait([sending], timeout=SILENCE / 4)
                if time.monotonic_ns() - self.heard_ns > SILENCE * 1e9:
                    return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._ended = time.monotonic()


class Server:
    """Serves benchmark runs on an endpoint."""

    def __init__(self, endpoint: aioudp.Endpoint[Any]) -> None:
        self._endpoint = endpoint
        self._secret = os.urandom(32)
        self._machine = machine()
        self._runs: dict[int, Run] = {}
        self.ignored: int = 0
        """Invalid datagrams, and those of unknown runs."""

    async def serve(self) -> NoReturn:
        """Serve until cancelled."""
        try:
            while True:
                try:
                    datagrams = await self._endpoint.recv_many()
                except OSError:
                    continue  # an earlier answer couldn't be delivered
                now_ns = time.monotonic_ns()
                for data, addr in datagrams:
                    if data.startswith(wire.DATA) and len(data) >= wire.HEADER_SIZE:
                        self._count(data, now_ns)
                    else:
                        await self._answer(data, addr)
        finally:
            for run in self._runs.values():
                run.stop()

    def _count(self, data: bytes, now_ns: int) -> None:
        run = self._runs.get(wire.unpack_data(data)[1])
        if run is None or not run.arrivals.add(data, now_ns):
            self.ignored += 1
        else:
            run.heard_ns = now_ns

    async def _answer(self, data: bytes, addr: aioudp.Address) -> None:
        header = wire.parse(data)
        answer = None if header is None else self.answer_to(header, data, addr)
        if answer is None:
            self.ignored += 1
            return
        try:
            await self._endpoint.send(answer, addr)
        except (OSError, ValueError):  # port 0, for example, can't be answered
            self.ignored += 1

    def answer_to(
        self, header: Header, data: bytes, addr: aioudp.Address
    ) -> bytes | None:
        """Return the answer to a request, or ``None``.

        The answer is longer than the request only if the request proves that *addr*
        can receive.
        """
        token = self._token(addr, header.run)
        run = self._runs.get(header.run)
        if run is not None:
            run.heard_ns = time.monotonic_ns()
        if header.kind == Kind.HELLO and len(data) >= wire.HELLO_SIZE:
            return wire.pack(Kind.WELCOME, header.run) + token
        if header.kind == Kind.PROBE:
            return data
        body = data[wire.HEADER_SIZE :]
        proof, rest = body[: wire.TOKEN_SIZE], body[wire.TOKEN_SIZE :]
        if not hmac.compare_digest(proof, token):
            return None
        if header.kind == Kind.START:
            return self._start(header, rest)
        return None if run is None else self._go_on(run, header, addr)

    def _go_on(self, run: Run, header: Header, addr: aioudp.Address) -> bytes | None:
        """Answer a request of a known run, with a valid token."""
        if header.kind == Kind.JOIN and header.flow < run.plan.flows:
            run.peers[header.flow] = addr
            return wire.pack(Kind.JOINED, header.run, flow=header.flow)
        if header.kind == Kind.GO and run.go(self._endpoint, header.run):
            return wire.pack(Kind.GOING, header.run)
        if header.kind in (Kind.POLL, Kind.FINISH):
            if header.kind == Kind.FINISH:
                run.stop()
            result = run.result(self._endpoint.stats())
            body = json.dumps(result, separators=(",", ":")).encode()
            return wire.pack(Kind.RESULT, header.run, number=header.number) + body
        return None

    def _start(self, header: Header, body: bytes) -> bytes | None:
        if header.run not in self._runs:
            name, wanted = body[: wire.MACHINE_SIZE], body[wire.MACHINE_SIZE :]
            try:
                plan = Plan.from_json(json.loads(wanted), header.flow)
            except ValueError:
                return None
            if not 1 <= plan.flows <= MAX_FLOWS or not self._make_room():
                return None
            self._runs[header.run] = Run(
                plan,
                same_clock=name == self._machine,
                before=self._endpoint.stats(),
            )
        return wire.pack(Kind.STARTED, header.run)

    def _make_room(self) -> bool:
        """Delete silent runs; return whether there's room for another one."""
        limit = time.monotonic_ns() - FORGET_AFTER * 1e9
        silent = [number for number, run in self._runs.items() if run.heard_ns < limit]
        for number in silent:
            self._runs.pop(number).stop()
        return len(self._runs) < MAX_RUNS

    def _token(self, addr: aioudp.Address, run: int) -> bytes:
        claim = repr((addr, run)).encode()
        return hmac.digest(self._secret, claim, "sha256")[: wire.TOKEN_SIZE]
