"""Peers that are not the library's own, and what else several contract tests need.

A test of sending reads with a plain socket, so that a mistake of the one direction
cannot hide behind the same mistake of the other.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import aioudp
from aioudp._endpoint import opening
from aioudp._system.implementation import batch_socket
from aioudp._system.machine import new_socket

AF_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)  # not on Windows

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about Linux alone"
)
unix_only = pytest.mark.skipif(
    AF_UNIX == -1, reason="cannot: unix: there are no UNIX sockets"
)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(
    not _has_ipv6(), reason="cannot: ipv6: ::1 cannot be bound"
)

_PATIENCE: Final = 10  # seconds for what is under way already
_MAX_TURNS: Final = 10_000


@contextmanager
def plain_socket(host: str, **options: Any) -> Iterator[socket.socket]:
    """Give a bound socket that blocks, but not for long."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with new_socket(family) as sock:
        sock.settimeout(_PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((host, 0))
        yield sock


def port_of(endpoint: aioudp.Endpoint) -> int:
    """Return the port that *endpoint* is bound to."""
    return int(endpoint.local_addr[1])


def read(sock: socket.socket, count: int = 1) -> list[bytes]:
    """Return the next *count* datagrams."""
    return [sock.recv(1 << 20) for _ in range(count)]


@contextmanager
def refusing_address(host: str) -> Iterator[Any]:
    """Give an address where nobody listens, and nobody will.

    Its port is taken, by a socket that is connected and so hears its peer alone.
    """
    with plain_socket(host) as sock, plain_socket(host) as peer:
        sock.connect(peer.getsockname())
        yield sock.getsockname()


class FullPeer:
    """A UNIX datagram socket that takes nothing more until it is read.

    The only peer whose fullness suspends a sender without routes or devices.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(self.path)
        self._fillers = 0
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            for _ in range(_MAX_TURNS):
                try:
                    filler.sendto(b"filler", self.path)
                except BlockingIOError:
                    break
                self._fillers += 1

    def make_room(self) -> None:
        """Read all that it was filled with; now it takes as much again."""
        while self._fillers:
            assert self.sock.recv(100) == b"filler"
            self._fillers -= 1

    def read_all(self) -> list[bytes]:
        """Return what is there, and is none of the filling."""
        self.make_room()
        datagrams = []
        for _ in range(_MAX_TURNS):
            try:
                datagrams.append(self.sock.recv(1 << 20))
            except BlockingIOError:
                break
        return datagrams

    async def wait_for(self, count: int) -> list[bytes]:
        """Return the next *count* datagrams, read by a thread as they come."""
        self.make_room()
        self.sock.settimeout(_PATIENCE)
        datagrams = await asyncio.to_thread(read, self.sock, count)
        self.sock.settimeout(0)
        return datagrams


class Gate:
    """A full kernel buffer, of whatever socket, for the endpoints that are opened next.

    It takes *room* datagrams. Each time it has refused one it has room for as many more
    as the next of *grants* says.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 0
        self.grants: list[int] = []
        gate = self

        def gated_socket(sock: socket.socket, **options: Any) -> Any:
            twin: Any = type(batch_socket(sock, **options))

            class GatedSocket(twin):  # type: ignore[misc]
                def send(self, data: Any, addr: Any = None) -> None:
                    gate.pass_one()
                    super().send(data, addr)

                def send_batch(self, datagrams: Any, start: int = 0) -> int:
                    position = start
                    try:
                        for position in range(start, len(datagrams)):
                            self.send(*datagrams[position])
                    except OSError:
                        if position == start:
                            raise
                        return position - start
                    return len(datagrams) - start

            return GatedSocket(sock, **options)

        monkeypatch.setattr(opening, "batch_socket", gated_socket)

    def pass_one(self) -> None:
        if not self.room:
            self.room = self.grants.pop(0) if self.grants else 0
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.room -= 1


def descriptors() -> list[str]:
    """Return the open descriptors of this process."""
    try:
        return sorted(os.listdir("/proc/self/fd"))
    except OSError:
        pytest.skip("cannot: proc: no list of the open descriptors")


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until *condition* holds."""
    for _ in range(_MAX_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail(f"not so after {_MAX_TURNS} turns of the event loop")


async def outcome(task: asyncio.Future[Any]) -> Any:
    """Return what the task returns or raises, a cancellation too."""
    return (await asyncio.gather(task, return_exceptions=True))[0]


async def turns(count: int) -> None:
    """Let the loop turn *count* times."""
    for _ in range(count):
        await asyncio.sleep(0)


# For the fixture ``endpoint_options`` of a module whose tests hold either way.
EITHER_WAY: Final = [
    pytest.param({}, id="plain"),
    pytest.param({"packet_info": True}, id="packet-info"),
]


# -- the ways to receive: each returns the next *count* datagrams


async def _recv(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    return [await endpoint.recv() for _ in range(count)]


async def _recv_many(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    datagrams: list[aioudp.Datagram] = []
    while len(datagrams) < count:
        datagrams += await endpoint.recv_many(count - len(datagrams))
    return datagrams


async def _recv_batch(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    datagrams: list[aioudp.Datagram] = []
    batch = None
    while len(datagrams) < count:
        batch = await endpoint.recv_batch(count - len(datagrams), into=batch)
        datagrams += batch
    return datagrams


async def _recv_nowait(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    datagrams: list[aioudp.Datagram] = []

    def complete() -> bool:
        try:
            while len(datagrams) < count:
                datagrams.append(endpoint.recv_nowait())
        except BlockingIOError:
            return False
        return True

    await turns_until(complete)
    return datagrams


async def _iterate(endpoint: aioudp.Endpoint, count: int) -> list[aioudp.Datagram]:
    return [await anext(endpoint) for _ in range(count)]


WAYS_TO_RECEIVE: Final = {
    "recv": _recv,
    "recv_many": _recv_many,
    "recv_batch": _recv_batch,
    "recv_nowait": _recv_nowait,
    "iteration": _iterate,
}
