"""Other people's programs: run one to its end, or keep one running meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

HOST: Final = "127.0.0.1"
PATIENCE: Final = 15  # seconds


def path_of(tool: str) -> str:
    """Return where a program is; skip the test if it isn't installed."""
    # Daemons are where only root looks for programs.
    path = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"cannot: {tool}: it is not installed")
    return path


async def output_of(tool: str, *arguments: object, text: str = "") -> str:
    """Run a tool to its end and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(path_of(tool), *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE if text else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, errors = await process.communicate(text.encode() or None)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode() + output.decode()
    return output.decode()


@asynccontextmanager
async def running(tool: str, *arguments: object, log: Path) -> AsyncIterator[None]:
    """Run a daemon, which is killed at the end and writes what it says to *log*."""
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *(path_of(tool), *map(str, arguments)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a port for a program that can't choose one itself."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


async def until_bound(port: int, kind: str = "udp") -> None:
    """Wait until a socket of the machine is bound to *port* of :data:`HOST`.

    Reads proc(5)'s table of the sockets, so that nothing is sent to the program.
    """
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(_is_bound, port, kind):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # another process won't set an event


def _is_bound(port: int, kind: str) -> bool:
    host = int.from_bytes(socket.inet_aton(HOST), sys.byteorder)
    names = f"{host:08X}:{port:04X}", f"{0:08X}:{port:04X}"
    sockets = Path(f"/proc/net/{kind}").read_text()
    return any(name in sockets for name in names)
