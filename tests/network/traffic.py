"""What crosses a link, and a plain socket to see it arrive without the library."""

from __future__ import annotations

import asyncio
import socket
from socket import AF_INET6, AddressFamily
from typing import Any, Final, Self

from .namespaces import Namespace

END: Final = b"end"
"""Sent last, so that what has not arrived before it never will."""

_PATIENCE: Final = 10  # seconds, after which something that should arrive is lost
_SIZE: Final = 1000  # bytes
_ROOM: Final = 8 * 1024 * 1024  # bytes, so that the far end loses nothing itself

_SO_RCVBUFFORCE: Final = 33  # include/uapi/asm-generic/socket.h; beyond net.core limits


def numbered(number: int, size: int = _SIZE) -> bytes:
    """Return a datagram that differs from the others."""
    return b"%08d" % number + bytes(size - 8)


def number_of(datagram: bytes) -> int:
    """Return the number in a datagram."""
    return int(datagram[:8])


class Sink:
    """A plain socket at the far end, bound to every address there."""

    def __init__(self, far: Namespace, family: AddressFamily, port: int = 0) -> None:
        self.socket = far.socket(family, "::" if family == AF_INET6 else "", port)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self.port: int = self.socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    async def recv(self) -> bytes:
        """Return the next datagram that arrives."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_PATIENCE):
            return await loop.sock_recv(self.socket, 65536)

    async def recv_until_end(self) -> list[bytes]:
        """Return what arrives before :data:`END`, which goes the same way."""
        datagrams = []
        while (datagram := await self.recv()) != END:
            datagrams.append(datagram)
        return datagrams

    async def numbers_until_end(self) -> list[int]:
        """Return the numbers of what arrives before :data:`END`."""
        return [number_of(datagram) for datagram in await self.recv_until_end()]

    def send(self, data: bytes, addr: Any) -> None:
        """Send a datagram from here, at once."""
        self.socket.sendto(data, addr)
