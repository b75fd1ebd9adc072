"""A NATS server of each test's own, which can be killed and started again."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "nats", reason="cannot: nats: nats-py is not installed", exc_type=ImportError
)

_PATIENCE = 20  # seconds for what another process is about to do


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds; another process makes it so."""
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing here is there to await
            await asyncio.sleep(0.01)


def _executable() -> str | None:
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


class NatsServer:
    """One server with JetStream, on a loopback port and a folder that it keeps."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options or ("-js", "-sd", str(folder))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:  # the next one to bind gets another port
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server, and return when it takes connections."""
        executable = _executable()
        if executable is None:
            pytest.skip("cannot: nats-server: it is not installed")
        address = ("-a", "127.0.0.1", "-p", str(self.port))
        self._process = subprocess.Popen(  # noqa: ASYNC220 - forking takes no time
            [executable, *address, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    # Nothing says when it listens but that it does.
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore the end of nats-py's reader, which may raise when its server is killed."""
    if "Client._read_loop" not in repr(context.get("future")):
        loop.default_exception_handler(context)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Give a server that runs."""
    asyncio.get_running_loop().set_exception_handler(_report)
    server = NatsServer(tmp_path / "jetstream")
    await server.start()
    try:
        yield server
    finally:
        server.kill()
