"""A server as a program of its own, which signals end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import aioudp

from ..output import without_slowness

if sys.platform == "win32":
    pytest.skip("cannot: posix: no such signals", allow_module_level=True)

PROGRAM: Final = """
import asyncio, sys, aioudp

async def slowly(data, addr):
    if data != b"are you there?":
        await asyncio.sleep(float(sys.argv[1]))
    return data

async def main():
    handler = slowly if float(sys.argv[1]) else lambda data, addr: data
    async with aioudp.serve(handler, ("127.0.0.1", 0), concurrency=1000) as server:
        print(server.local_addr[1], flush=True)
        await server.serve_forever()
    print(server.stats().replies, server.stats().aborted)

aioudp.run(main())
"""


def start(seconds: float) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def wait_until_it_serves(sock: socket.socket) -> None:
    """Return when the program is in ``serve_forever``, and so waits for signals."""
    sock.settimeout(10)
    sock.send(b"are you there?")
    assert sock.recv(100) == b"are you there?"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0, 0.2], ids=["sync", "async"])
def test_a_signal_drains(signum: signal.Signals, seconds: float) -> None:
    """Whatever has come is answered, and the program ends well."""
    process, port = start(seconds)
    with process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        wait_until_it_serves(sock)
        for number in range(100):
            sock.send(b"%d" % number)
        process.send_signal(signum)
        answers = {sock.recv(100) for _ in range(100)}
        output, errors = process.communicate(timeout=15)

    assert answers == {b"%d" % number for number in range(100)}
    assert (process.returncode, without_slowness(errors)) == (0, "")
    assert output == "101 0\n"


def test_a_second_signal_ends_at_once() -> None:
    """The handlers that are in hand are not waited for."""
    process, port = start(1000)
    with process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        wait_until_it_serves(sock)
        sock.send(b"never answered")
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == -signal.SIGTERM


ANNOUNCING: Final = """
import asyncio, os, signal, socket, sys, aioudp

async def main():
    async with aioudp.serve(lambda data, addr: data, ("127.0.0.1", 0)) as server:
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"?", server.local_addr)
        os.kill(os.getpid(), signal.SIGTERM)  # as soon as somebody knows the address
        await serving
    print(server.stats().replies)

aioudp.run(main())
"""


def test_a_server_that_serves_before_it_says_so() -> None:
    """A signal drains from the first step of ``serve_forever`` on."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ANNOUNCING],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
    )

    assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    assert done.stdout == "1\n"
