"""Which twin does the batch I/O: the compiled one where it is built and wanted."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from aioudp._system import sockets
from aioudp._system.implementation import batch_socket

BUILT: Final = importlib.util.find_spec("aioudp._system.speedups") is not None

SCRIPT: Final = """if True:
    import asyncio, sys

    for name in sys.argv[1:]:
        sys.modules[name] = None  # as if it were not there

    import aioudp

    async def main():
        async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
            print(endpoint.get_extra_info("offload")["batchio"])

    asyncio.run(main())
"""


def chosen(setting: str | None, *missing: str) -> str:
    """Return the name of the twin that an endpoint uses in a new interpreter."""
    environment = os.environ.copy()
    environment.pop("AIOUDP_SPEEDUPS", None)
    if setting is not None:
        environment["AIOUDP_SPEEDUPS"] = setting
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *missing],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.parametrize("setting", [None, "", "1"])
def test_the_compiled_twin_is_used_where_there_is_one(setting: str | None) -> None:
    """Nothing has to be switched on."""
    assert chosen(setting) == ("compiled" if BUILT else "python")


def test_the_readable_twin_can_be_asked_for() -> None:
    """For comparison, and to see whether a fault is in the other."""
    assert chosen("0") == "python"


@pytest.mark.parametrize("setting", [None, "1"])
def test_without_the_compiled_twin_everything_works(setting: str | None) -> None:
    """It is an accelerator, and not needed."""
    assert chosen(setting, "aioudp._system.speedups") == "python"


@pytest.fixture(params=["ipv4", "ipv6", "unix"])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Return a socket of each family that this system has."""
    family = {
        "ipv4": socket.AF_INET,
        "ipv6": socket.AF_INET6,
        "unix": sockets.AF_UNIX,
    }[request.param]
    if family is None:
        pytest.skip("cannot: unix: no UNIX datagram sockets")
    try:
        sock = sockets.open_bound(None, family)
    except OSError:
        pytest.skip("cannot: ipv6: there are no such sockets")
    with sock:
        yield sock


def test_a_unix_socket_always_has_the_readable_twin(sock: socket.socket) -> None:
    """Its datagrams are of any length, and come one by one: nothing to gain there."""
    wanted = os.environ.get("AIOUDP_SPEEDUPS") != "0"
    fast = BUILT and wanted and sock.family != sockets.AF_UNIX

    batch = batch_socket(sock, gso_segments=1, gro=False)

    assert batch.implementation == ("compiled" if fast else "python")


@pytest.mark.parametrize("gro", [False, True])
@pytest.mark.parametrize("gso_segments", [1, 64])
def test_what_was_found_out_is_passed_on(
    sock: socket.socket, gso_segments: int, gro: bool
) -> None:
    """Either twin starts with what the kernel can do."""
    batch = batch_socket(sock, gso_segments=gso_segments, gro=gro)

    assert (batch.gso_segments, bool(batch.gro)) == (gso_segments, gro)
    assert (batch.received, batch.sent, batch.truncated) == (0, 0, 0)
