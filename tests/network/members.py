"""Plain sockets that are in multicast groups, in namespaces."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import ExitStack
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, Final

import aioudp

from .links import DEVICE, HAS_IPV6
from .namespaces import Namespace

_GROUP: Final = {AF_INET: "239.1.2.3", AF_INET6: "ff15::1234"}
_OTHER_GROUP: Final = {AF_INET: "239.1.2.4", AF_INET6: "ff15::4321"}

_PATIENCE: Final = 5  # seconds


class Member:
    """A plain socket in a namespace, in a group on one device."""

    def __init__(
        self, where: Namespace, family: AddressFamily, port: int, device: str = DEVICE
    ) -> None:
        self.index = where.index(device)
        with where.entered():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("", port))
        self.family = family
        self.send_through(self.socket)

    def send_through(self, sock: socket.socket) -> None:
        """Have a socket send what goes to groups over this member's link."""
        if self.family == AF_INET6:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF
            request = struct.pack("@i", self.index)
        else:
            level, option = socket.IPPROTO_IP, socket.IP_MULTICAST_IF
            request = struct.pack("@4s4si", bytes(4), bytes(4), self.index)
        sock.setsockopt(level, option, request)

    def join(self, group: str) -> None:
        packed = socket.inet_pton(self.family, group)
        if self.family == AF_INET6:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP
            request = packed + struct.pack("@i", self.index)
        else:
            level, option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP
            request = packed + bytes(4) + struct.pack("@i", self.index)
        self.socket.setsockopt(level, option, request)

    async def recvfrom(self) -> tuple[bytes, Any]:
        async with asyncio.timeout(_PATIENCE):
            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(self.socket, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self.socket)
            return self.socket.recvfrom(2048)

    async def recv(self) -> bytes:
        return (await self.recvfrom())[0]


class Members:
    """Makes members, and closes them all."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self,
        where: Namespace,
        family: AddressFamily,
        port: int,
        *groups: str,
        device: str = DEVICE,
    ) -> Member:
        member = Member(where, family, port, device)
        self._stack.callback(member.socket.close)
        for group in groups:
            member.join(group)
        return member


def port_of(endpoint: aioudp.MulticastEndpoint) -> int:
    return int(endpoint.local_addr[1])


async def take(endpoint: aioudp.MulticastEndpoint) -> aioudp.Datagram:
    async with asyncio.timeout(_PATIENCE):
        return await endpoint.recv()


def errno_by(outcomes: list[aioudp.SendOutcome]) -> dict[str, int | None]:
    """Return the number of each interface's error, ``None`` where there is none."""
    return {
        one.interface: None if one.error is None else one.error.errno
        for one in outcomes
    }


def joined(where: Namespace) -> set[str]:
    """Return the groups that the kernel lists, of both families."""
    found = set()
    with where.entered():
        for line in Path("/proc/thread-self/net/igmp").read_text().splitlines():
            number = line.split()[0]
            if line.startswith("\t\t\t\t"):
                packed = int(number, 16).to_bytes(4, sys.byteorder)
                found.add(socket.inet_ntop(AF_INET, packed))
        if HAS_IPV6:
            for line in Path("/proc/thread-self/net/igmp6").read_text().splitlines():
                packed = bytes.fromhex(line.split()[2])
                found.add(socket.inet_ntop(AF_INET6, packed))
    return found
