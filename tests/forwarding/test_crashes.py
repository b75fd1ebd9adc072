"""kill -9 of the engine, a worker, a front, under load: nothing acknowledged is lost.

The front writes down each batch that the engine acknowledged, the workers each batch
that they consumed, before they acknowledge it. The socket is this process's, as it is a
service manager's, so a new front goes on where the old one was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .conftest import NatsServer, until

# The programs run on loops of their own.
pytestmark = [pytest.mark.timeout(180), pytest.mark.no_matrix]

FRONT = """
import asyncio, os, sys
import aioudp
from aioudp._forwarding.ledger import Ledger

log = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
answer = Ledger.answer

def noted(self, partition, sequence, *, stored):
    batch = self._published.get((partition, sequence))
    if batch is not None and stored:
        front = int.from_bytes(batch.message[8:16], "little")
        line = f"{front:016x}.{partition}.{sequence} {batch.datagrams}\\n"
        os.write(log, line.encode())
    return answer(self, partition, sequence, stored=stored)

Ledger.answer = noted

async def main():
    async with aioudp.adopt(int(sys.argv[2])) as endpoint:
        forwarder = aioudp.forward(
            endpoint, sys.argv[1], stream="s", answer_timeout=1.0, batch_bytes=4096
        )
        print("ready", flush=True)
        await forwarder

asyncio.run(main())
"""

WORKER = """
import asyncio, os, sys
import aioudp

log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def main():
    async with aioudp.subscribe(
        sys.argv[1], stream="s", group="g", ack_wait=1.0
    ) as batches:
        print("ready", flush=True)
        async for batch in batches:
            os.write(log, f"{batch.id} {len(batch)}\\n".encode())
            await batch.ack()

asyncio.run(main())
"""


class Program:
    """A Python program in a process of its own."""

    def __init__(
        self, script: str, *arguments: object, fds: tuple[int, ...] = ()
    ) -> None:
        self._arguments = [sys.executable, "-c", script, *map(str, arguments)]
        self._fds = fds
        self._process: Any = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments, stdout=asyncio.subprocess.PIPE, pass_fds=self._fds
        )
        async with asyncio.timeout(20):
            line = await self._process.stdout.readline()
        assert line == b"ready\n"

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def read(log: Path) -> list[tuple[str, int]]:
    if not log.exists():
        return []
    lines = log.read_text().splitlines()
    return [(batch, int(count)) for batch, count in (line.split() for line in lines)]


async def test_kill_9_under_load(
    engine: NatsServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each acknowledged batch is consumed at least once; their sums are exact."""
    rounds = int(os.environ.get("AIOUDP_KILLS", "2"))
    acknowledged, consumed = tmp_path / "acknowledged", tmp_path / "consumed"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as shared:
        shared.bind(("127.0.0.1", 0))
        number = shared.fileno()
        front = Program(FRONT, engine.url, number, acknowledged, fds=(number,))
        workers = [Program(WORKER, engine.url, consumed) for _ in range(2)]
        await front.start()
        for program in workers:
            await program.start()

        async def load() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(shared.getsockname())
                while True:
                    for _ in range(20):
                        sender.send(bytes(64))
                    await asyncio.sleep(0.005)

        loading = asyncio.create_task(load())

        async def progress(log: Path) -> None:
            """Wait until something new stands in a log."""
            before = len(read(log))
            await until(lambda: len(read(log)) > before)

        for _ in range(rounds):
            await progress(consumed)
            engine.kill()
            await engine.start()
            await progress(acknowledged)
            await workers[0].kill()
            await workers[0].start()
            await progress(consumed)
            await front.kill()
            await front.start()
            await progress(acknowledged)
        loading.cancel()

        def missing() -> set[tuple[str, int]]:
            return set(read(acknowledged)) - set(read(consumed))

        await until(lambda: not missing())
        for program in (front, *workers):
            await program.kill()

    stored, counted = dict(read(acknowledged)), dict(read(consumed))
    assert len(stored) > 3 * rounds
    assert {batch: counted[batch] for batch in stored} == stored
    # An id names one batch, however often it comes.
    assert max(Counter(batch for batch, _ in set(read(consumed))).values()) == 1
