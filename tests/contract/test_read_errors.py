"""Errors that no loopback has: the reads of the selector transport are faked."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

import aioudp
from aioudp._endpoint import opening
from aioudp._system.implementation import batch_socket

from .support import turns, turns_until

if TYPE_CHECKING:
    from tests.conftest import UntilBlocked


class Faults:
    """What the reads of the endpoints that are opened next meet, one after another.

    An error is raised; ``None`` is a socket that was readable and has nothing after
    all. When there are none left, the sockets are read.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: list[OSError | None] = []
        self.reads = 0
        faults = self

        def faulty_socket(sock: socket.socket, **options: Any) -> Any:
            twin: Any = type(batch_socket(sock, **options))

            class FaultySocket(twin):  # type: ignore[misc]
                def receive(self, *args: Any, **kwargs: Any) -> list[aioudp.Datagram]:
                    if faults.meet():
                        return []
                    datagrams: list[aioudp.Datagram] = super().receive(*args, **kwargs)
                    return datagrams

            return FaultySocket(sock, **options)

        monkeypatch.setattr(opening, "batch_socket", faulty_socket)

    def meet(self) -> bool:
        self.reads += 1
        if not self.next:
            return False
        fault = self.next.pop(0)
        if fault is not None:
            raise fault
        return True


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Return the faults of the endpoints that are opened next: none so far."""
    return Faults(monkeypatch)


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


ERRORS = pytest.mark.parametrize(
    "number",
    [errno.ENOBUFS, errno.ENOMEM, errno.EHOSTUNREACH, errno.EPERM, errno.EIO],
    ids=errno.errorcode.get,
)


@ERRORS
async def test_error_of_a_read(
    host: str, peer: socket.socket, faults: Faults, number: int
) -> None:
    """An error of the system is raised by recv, and reading goes on (B106) (B118)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        faults.next = [error(number)]
        peer.sendto(b"hello", endpoint.local_addr)

        with pytest.raises(OSError) as caught:
            await endpoint.recv()

        assert caught.value.errno == number
        assert await endpoint.recv() == (b"hello", peer.getsockname())
        assert endpoint.stats().receive_errors == 1
        assert not endpoint.closed


async def test_a_newer_error_replaces_an_older_one(
    host: str, peer: socket.socket, faults: Faults
) -> None:
    """Errors do not pile up while nobody receives; the last is raised (B106)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        faults.next = [error(errno.EIO), error(errno.EIO), error(errno.ENOMEM)]
        peer.sendto(b"hello", endpoint.local_addr)
        await turns_until(lambda: endpoint.stats().received == 1)

        with pytest.raises(OSError) as caught:
            await endpoint.recv()

        assert caught.value.errno == errno.ENOMEM
        assert await endpoint.recv() == (b"hello", peer.getsockname())
        assert endpoint.stats().receive_errors == 3


async def test_an_error_without_end_does_not_spin(
    host: str, peer: socket.socket, faults: Faults
) -> None:
    """An error that comes back at once, for ever, does not occupy the loop (B137)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        faults.next = [error(errno.EIO)] * 10_000
        peer.sendto(b"readable, always", endpoint.local_addr)

        await turns(5000)

        assert 0 < faults.reads < 100
        assert endpoint.stats().receive_errors == faults.reads
        with pytest.raises(OSError):
            await endpoint.recv()


async def test_after_errors_without_end(
    host: str, peer: socket.socket, faults: Faults
) -> None:
    """Once the errors end, what arrived meanwhile is received (B106) (B137)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        faults.next = [error(errno.EIO)] * 20
        peer.sendto(b"hello", endpoint.local_addr)

        while isinstance(received := await received_or_error(endpoint), OSError):
            assert received.errno == errno.EIO

        assert received == (b"hello", peer.getsockname())
        assert endpoint.stats().receive_errors == 20


async def received_or_error(endpoint: aioudp.Endpoint) -> aioudp.Datagram | OSError:
    try:
        return await endpoint.recv()
    except OSError as exc:
        return exc


async def test_readable_but_nothing_there(
    host: str, peer: socket.socket, faults: Faults, until_blocked: UntilBlocked
) -> None:
    """A socket that is readable and has nothing after all is waited on (B105)."""
    async with aioudp.bind((host, 0), transport="selector") as endpoint:
        receiving = asyncio.create_task(endpoint.recv())
        await until_blocked(receiving)
        faults.next = [None] * 5
        peer.sendto(b"hello", endpoint.local_addr)

        assert await receiving == (b"hello", peer.getsockname())
        assert faults.reads >= 6
        assert endpoint.stats().receive_errors == 0
