"""The commands and the examples, as the programs that they are."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import aioudp
from aioudp._forwarding import wire

from .conftest import NatsServer, until
from .test_forwarding import HOST, front, worker

# The programs run on loops of their own.
pytestmark = [pytest.mark.timeout(90), pytest.mark.no_matrix]

ROOT = Path(aioudp.__file__).parents[1]
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20  # seconds


@asynccontextmanager
async def program(*arguments: object) -> AsyncIterator[Any]:
    """Run a Python program; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Any) -> str:
    async with asyncio.timeout(PATIENCE):
        return str((await process.stdout.readline()).decode().strip())


async def end(process: Any) -> str:
    """Wait for the end of a program, and return what it printed."""
    async with asyncio.timeout(PATIENCE):
        printed = (await process.stdout.read()).decode()
        assert await process.wait() == 0, printed
    return str(printed)


async def test_the_commands(engine: NatsServer) -> None:
    """forward and subscribe pass on what is sent; --status shows the counts."""
    pytest.importorskip("click", reason="cannot: cli: click is not installed")
    cli = ("-m", "aioudp")
    stream = ("--stream", "s")
    async with (
        program(*cli, "forward", f"{HOST}:0", engine.url, *stream) as forwarding,
        program(*cli, "subscribe", engine.url, *stream, "--count", 2) as printing,
    ):
        port = int((await line(forwarding)).partition(f"{HOST}:")[2].split()[0])
        assert "subscribed" in await line(printing)
        async with aioudp.connect((HOST, port)) as client:
            await client.send_many([(b"one", None), (b"two", None)])
            printed = await end(printing)
            sender = f"{HOST}:{client.local_addr[1]}"
        asked = ("forward", "--status", "--json", engine.url, *stream)
        async with program(*cli, *asked) as status:
            counts = json.loads(await end(status))
        forwarding.send_signal(signal.SIGTERM)
        summary = await end(forwarding)

    assert printed.splitlines() == [f"{sender} one", f"{sender} two"]
    (counted,) = counts["fronts"].values()
    assert counted["received"] == counted["acknowledged"] == 2
    assert "2 received, 2 acknowledged, 0 dropped" in summary


async def test_the_command_serve(engine: NatsServer, tmp_path: Path) -> None:
    """A function answers what was forwarded."""
    pytest.importorskip("click", reason="cannot: cli: click is not installed")
    module = tmp_path / "shouting.py"
    module.write_text("def shout(data, addr):\n    return data.upper()\n")
    serve = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from aioudp.__main__ import main; main()"
    )
    stream = ("--stream", "s", "--group", "g")
    async with (
        front(engine) as (receiver, _),
        program("-c", serve, "serve", "shouting:shout", engine.url, *stream) as serving,
        aioudp.connect(receiver.local_addr) as client,
    ):
        assert await line(serving) == "subscribed to s as g"
        await client.send(b"hello")
        async with asyncio.timeout(PATIENCE):
            assert (await client.recv()).data == b"HELLO"
        serving.send_signal(signal.SIGTERM)
        assert await end(serving) == "1 requests, 1 replies, 0 dropped, 0 failed\n"


async def test_forward_needs_two_arguments() -> None:
    """A wrong call is status 2, and says what is missing."""
    pytest.importorskip("click", reason="cannot: cli: click is not installed")
    async with program("-m", "aioudp", "forward", ":0", "--stream", "s") as process:
        printed = (await process.stdout.read()).decode()

        assert await process.wait() == 2
        assert "the URL of a server" in " ".join(printed.split())


async def test_the_statsd_example_is_exact(engine: NatsServer, tmp_path: Path) -> None:
    """Two fronts and two workers, one of them killed: the sums are exact."""
    database = tmp_path / "sums.sqlite"
    example = EXAMPLES / "statsd_worker.py"
    async with (
        program(EXAMPLES / "statsd_front.py", engine.url, 0) as one,
        program(EXAMPLES / "statsd_front.py", engine.url, 0) as two,
        program(example, engine.url, database) as first,
        program(example, engine.url, database) as second,
    ):
        ports = [int((await line(front)).rsplit(maxsplit=1)[1]) for front in (one, two)]
        assert [await line(first), await line(second)] == ["ready", "ready"]
        async with aioudp.bind((HOST, 0)) as client:
            for number in range(400):
                await client.send(b"hits:%d|c" % number, (HOST, ports[number % 2]))
                if number == 200:
                    first.kill()
        for front_program in (one, two):
            front_program.send_signal(signal.SIGTERM)
            assert "200 of 200 acknowledged" in await end(front_program)

        def total() -> int:
            with sqlite3.connect(database) as found:
                rows = list(found.execute("SELECT value FROM sums WHERE name = 'hits'"))
            found.close()
            return int(rows[0][0]) if rows else 0

        # What the killed worker had comes again after its ack_wait: 5 seconds.
        await until(lambda: total() == sum(range(400)))


async def test_the_reader_reads_what_the_engine_stores(
    engine: NatsServer, tmp_path: Path
) -> None:
    """Thirty lines of plain Python read a message as it is stored."""
    stored: list[bytes] = []
    async with (
        front(engine) as (receiver, forwarder),
        aioudp.connect(receiver.local_addr) as client,
        worker(engine) as batches,
    ):
        await until(lambda: forwarder._engine.client is not None)

        async def keep(message: Any) -> None:
            stored.append(message.data)

        await forwarder._engine.client.subscribe("aioudp.s.in.0", cb=keep)
        await client.send_many([(b"hello", None), (b"", None)])
        await (await anext(batches)).ack()
        await until(lambda: stored)
        source = client.local_addr
    file = tmp_path / "message"
    file.write_bytes(stored[0])
    async with program(EXAMPLES / "read_packed_batch.py", file) as process:
        printed = await end(process)

    times = wire.unpack(stored[0]).columns.timestamps_ns
    assert printed.splitlines() == [
        f"{times[0]} {source!r} b'hello'",
        f"{times[1]} {source!r} b''",
    ]
