"""The server of ``aioudp bench``: counts datagrams and answers requests.

A run is kept from its START, whose token proves the client's address, until it has
been silent for :data:`FORGET_AFTER` seconds. There are at most :data:`MAX_RUNS` runs.
Invalid datagrams are counted and ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final, NoReturn

import aioudp

from . import wire
from .histogram import Histogram
from .report import Received
from .tracker import MAX_NUMBER, Tracker
from .wire import Header, Kind

FORGET_AFTER: Final = 30.0  # seconds
MAX_RUNS: Final = 64
MAX_FLOWS: Final = 1024  # of one run; each costs a window of 64 KiB


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
    """The datagrams received from one client so far."""

    def __init__(self, flows: int, *, same_clock: bool, before: aioudp.Stats) -> None:
        self.trackers: list[Tracker] = [Tracker() for _ in range(flows)]
        self.one_way: Histogram | None = Histogram() if same_clock else None
        self.bytes: int = 0
        self.first_ns: int = 0
        self.last_ns: int = 0
        self.heard_ns: int = time.monotonic_ns()
        self._before = before

    def add(self, flow: int, number: int, sent_ns: int, size: int, now_ns: int) -> None:
        """Count a DATA datagram."""
        self.bytes += size
        if not self.first_ns:
            self.first_ns = now_ns
        self.last_ns = self.heard_ns = now_ns
        self.trackers[flow].add(number, sent_ns, now_ns)
        if self.one_way is not None:
            self.one_way.add(now_ns - sent_ns)

    def result(self, now: aioudp.Stats) -> Received:
        """Return the counts so far; *now* are those of the endpoint."""
        since = now - self._before
        flows = self.trackers
        active = [flow.jitter for flow in flows if flow.received]
        return Received(
            received=sum(flow.received for flow in flows),
            received_bytes=self.bytes,
            duplicated=sum(flow.duplicated for flow in flows),
            reordered=sum(flow.reordered for flow in flows),
            late=sum(flow.late for flow in flows),
            kernel_drops=since.dropped_kernel,
            kernel_drops_max=since.dropped_kernel_max,
            seconds=(self.last_ns - self.first_ns) / 1e9,
            jitter=sum(active) / len(active) if active else 0.0,
            one_way=None if self.one_way is None else self.one_way.buckets(),
        )


class Server:
    """Serves benchmark runs on an endpoint."""

    def __init__(self, endpoint: aioudp.Endpoint) -> None:
        self._endpoint = endpoint
        self._secret = os.urandom(32)
        self._machine = machine()
        self._runs: dict[int, Run] = {}
        self.ignored: int = 0
        """Invalid datagrams, and those of unknown runs."""

    async def serve(self) -> NoReturn:
        """Serve until cancelled."""
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

    def _count(self, data: bytes, now_ns: int) -> None:
        flow, number_of_run, number, sent_ns = wire.unpack_data(data)
        run = self._runs.get(number_of_run)
        if run is None or flow >= len(run.trackers) or number >= MAX_NUMBER:
            self.ignored += 1
        else:
            run.add(flow, number, sent_ns, len(data), now_ns)

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
        if header.kind == Kind.HELLO and len(data) >= wire.HELLO_SIZE:
            return wire.pack(Kind.WELCOME, header.run) + token
        if header.kind == Kind.PROBE:
            return data
        body = data[wire.HEADER_SIZE :]
        proof, name = body[: wire.TOKEN_SIZE], body[wire.TOKEN_SIZE :]
        if not hmac.compare_digest(proof, token):
            return None
        if header.kind == Kind.START:
            return self._start(header, same_clock=name == self._machine)
        if header.kind == Kind.FINISH and header.run in self._runs:
            result = self._runs[header.run].result(self._endpoint.stats())
            body = json.dumps(asdict(result), separators=(",", ":")).encode()
            return wire.pack(Kind.RESULT, header.run) + body
        return None

    def _start(self, header: Header, *, same_clock: bool) -> bytes | None:
        if header.run not in self._runs:
            if not 1 <= header.flow <= MAX_FLOWS or not self._make_room():
                return None
            self._runs[header.run] = Run(
                header.flow, same_clock=same_clock, before=self._endpoint.stats()
            )
        return wire.pack(Kind.STARTED, header.run)

    def _make_room(self) -> bool:
        """Delete silent runs; return whether there's room for another one."""
        limit = time.monotonic_ns() - FORGET_AFTER * 1e9
        silent = [number for number, run in self._runs.items() if run.heard_ns < limit]
        for number in silent:
            del self._runs[number]
        return len(self._runs) < MAX_RUNS

    def _token(self, addr: aioudp.Address, run: int) -> bytes:
        claim = repr((addr, run)).encode()
        return hmac.digest(self._secret, claim, "sha256")[: wire.TOKEN_SIZE]
