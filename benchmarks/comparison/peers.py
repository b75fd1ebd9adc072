"""One class per library, with the few lines that its users write.

A peer opens sockets; a socket receives, sends and closes. What a library can't do is
``Missing``, with the reason. Protocols have no ``recv``: their users get callbacks.
Imports the library that it is about when it is opened, not before.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final

HOST: Final = "127.0.0.1"
AF_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)  # not in Python for Windows


class Missing(Exception):
    """The library has nothing for this; the message says what it has instead."""


class Socket:
    """An open socket of a peer."""

    addr: Any
    raw: Any = None
    """The socket below, if the library lets its users have it."""

    async def recv(self) -> bytes:
        raise Missing("callbacks only")

    async def send(self, data: bytes, addr: Any = None) -> None:
        raise NotImplementedError

    async def recv_from(self) -> tuple[bytes, Any]:
        """Receive a datagram with its sender."""
        raise NotImplementedError

    async def arrived(self) -> bytes:
        """Receive a datagram, by a callback if there is nothing to await."""
        return await self.recv()

    async def arrived_from(self) -> tuple[bytes, Any]:
        """Receive a datagram with its sender, in either way."""
        return await self.recv_from()

    async def close(self) -> None:
        raise NotImplementedError

    def iterate(self) -> Any:
        raise Missing("no asynchronous iteration")

    async def recv_several(self) -> list[bytes]:
        raise Missing("one datagram at a time")

    async def destination(self) -> str:
        """Receive a datagram, and return the address that it was sent to."""
        raise Missing("not available")

    def dropped(self) -> int:
        """Return how many datagrams the library and the kernel have dropped."""
        raise Missing("no counter")

    async def refusal(self, addr: Any) -> str:
        """Send to a port that nobody has, and return how that is reported."""
        await self.send(b"anybody there?", addr)
        try:
            await self.recv()
        except ConnectionRefusedError:
            return "ConnectionRefusedError"
        return "nothing"


class Peer:
    """A library on an event loop."""

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    """Its name on PyPI; ``None``: part of Python."""
    module: ClassVar[str]
    """What to import, to look for names in it."""
    backend: ClassVar[str] = "asyncio"
    uvloop: ClassVar[bool] = False
    cancels_scopes: ClassVar[bool] = False
    """Whether its users cancel scopes rather than tasks."""

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        raise NotImplementedError

    async def connect(self, addr: Any) -> Socket:
        raise NotImplementedError

    async def bind_path(self, path: Path) -> Socket:
        raise Missing("not available")

    async def adopt(self, sock: socket.socket) -> Socket:
        raise Missing("not available")

    async def bind_any_ipv4(self) -> Socket:
        """Open a socket on 0.0.0.0 whose ``destination`` is going to be asked."""
        return await self.bind("0.0.0.0")

    async def bind_dual_stack(self) -> Socket:
        """Open a socket on every address of both IP versions."""
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        sock.setblocking(False)
        return await self.adopt(sock)

    async def bind_broadcast(self) -> Socket:
        """Open a socket that may send to a broadcast address."""
        raise Missing("not available")

    async def bind_group(self, group: str) -> Socket:
        """Open a socket that is a member of *group* on the loopback interface."""
        raise Missing("not available")

    async def request(self, addr: Any) -> bytes:
        """Send a request until it is answered."""
        raise Missing("not available")

    async def serve(self, handler: Callable[[bytes], bytes]) -> tuple[Any, Any]:
        """Answer datagrams with a function; return the address and what to close."""
        raise Missing("not available")

    async def simulate(self) -> bytes:
        """Send a datagram through a network that isn't there."""
        raise Missing("not available")

    def has_hints(self) -> bool:
        """Return whether the distribution has the marker of PEP 561."""
        assert self.distribution is not None
        files = metadata.files(self.distribution) or []
        return any(file.name == "py.typed" for file in files)


# -- protocols


class Callbacks(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.put_nowait(exc)


class ProtocolSocket(Socket):
    def __init__(self, transport: Any, protocol: Callbacks) -> None:
        self.transport = transport
        self.protocol = protocol
        self.addr = transport.get_extra_info("sockname")
        self.raw = transport.get_extra_info("socket")

    async def recv_from(self) -> tuple[bytes, Any]:
        raise Missing("callbacks only")

    async def arrived(self) -> bytes:
        return (await self.arrived_from())[0]

    async def arrived_from(self) -> tuple[bytes, Any]:
        """Wait for the callback. Its users would write this queue themselves."""
        return await self.protocol.received.get()

    async def send(self, data: bytes, addr: Any = None) -> None:
        self.transport.sendto(data, addr)

    async def close(self) -> None:
        self.transport.close()

    async def refusal(self, addr: Any) -> str:
        await self.send(b"anybody there?", addr)
        return type(await self.protocol.errors.get()).__name__


class Protocol(Peer):
    """``DatagramProtocol``, with the event loop's own transport."""

    name = "asyncio"
    module = "asyncio"

    async def create(self, **options: Any) -> Socket:
        loop = asyncio.get_running_loop()
        return ProtocolSocket(
            *await loop.create_datagram_endpoint(Callbacks, **options)
        )

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        return await self.create(local_addr=(host, 0), **options)

    async def connect(self, addr: Any) -> Socket:
        return await self.create(remote_addr=addr)

    async def bind_path(self, path: Path) -> Socket:
        return await self.create(local_addr=str(path), family=AF_UNIX)

    async def adopt(self, sock: socket.socket) -> Socket:
        return await self.create(sock=sock)

    async def bind_broadcast(self) -> Socket:
        return await self.bind(allow_broadcast=True)


class UvloopProtocol(Protocol):
    """The same on uvloop, which has its own transport."""

    name = "uvloop"
    distribution = "uvloop"
    module = "uvloop"
    uvloop = True


class Aiofastnet(Protocol):
    """A faster transport for the same protocols."""

    name = "aiofastnet"
    distribution = "aiofastnet"
    module = "aiofastnet"

    async def create(self, **options: Any) -> Socket:
        import aiofastnet

        loop = asyncio.get_running_loop()
        pair = await aiofastnet.create_datagram_endpoint(loop, Callbacks, **options)
        return ProtocolSocket(*pair)


class LoopSocket(Socket):
    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.raw = sock
        self.addr = sock.getsockname()

    async def recv_from(self) -> tuple[bytes, Any]:
        return await asyncio.get_running_loop().sock_recvfrom(self.raw, 65535)

    async def recv(self) -> bytes:
        return (await self.recv_from())[0]

    async def send(self, data: bytes, addr: Any = None) -> None:
        loop = asyncio.get_running_loop()
        if addr is None:
            await loop.sock_sendall(self.raw, data)
        else:
            await loop.sock_sendto(self.raw, data, addr)

    async def close(self) -> None:
        self.raw.close()


class LoopMethods(Peer):
    """``loop.sock_recvfrom`` and ``loop.sock_sendto``, on a socket of one's own."""

    name = "asyncio sock_*"
    module = "asyncio"

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        sock = socket.socket(_family(host), socket.SOCK_DGRAM)
        sock.bind((host, 0))
        return LoopSocket(sock)

    async def connect(self, addr: Any) -> Socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(addr)
        return LoopSocket(sock)

    async def bind_path(self, path: Path) -> Socket:
        sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(path))
        return LoopSocket(sock)

    async def adopt(self, sock: socket.socket) -> Socket:
        return LoopSocket(sock)


# -- awaitable layers over them


class DgramSocket(Socket):
    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.addr = stream.sockname
        self.raw = stream.socket

    async def recv(self) -> bytes:
        data: bytes = (await self.stream.recv())[0]
        return data

    async def recv_from(self) -> tuple[bytes, Any]:
        data, addr = await self.stream.recv()
        return data, addr

    async def send(self, data: bytes, addr: Any = None) -> None:
        await (self.stream.send(data) if addr is None else self.stream.send(data, addr))

    async def close(self) -> None:
        self.stream.close()


class AsyncioDgram(Peer):
    name = "asyncio-dgram"
    distribution = "asyncio-dgram"
    module = "asyncio_dgram"

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        import asyncio_dgram

        return DgramSocket(await asyncio_dgram.bind((host, 0)))

    async def connect(self, addr: Any) -> Socket:
        import asyncio_dgram

        return DgramSocket(await asyncio_dgram.connect(addr))

    async def bind_path(self, path: Path) -> Socket:
        import asyncio_dgram

        return DgramSocket(await asyncio_dgram.bind(str(path)))

    async def adopt(self, sock: socket.socket) -> Socket:
        import asyncio_dgram

        return DgramSocket(await asyncio_dgram.from_socket(sock))


class AsyncudpSocket(Socket):
    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.addr = sock.getsockname()

    async def recv(self) -> bytes:
        data: bytes = (await self.sock.recvfrom())[0]
        return data

    async def recv_from(self) -> tuple[bytes, Any]:
        data, addr = await self.sock.recvfrom()
        return data, addr

    async def send(self, data: bytes, addr: Any = None) -> None:
        self.sock.sendto(data, addr)

    async def close(self) -> None:
        self.sock.close()


class Asyncudp(Peer):
    name = "asyncudp"
    distribution = "asyncudp"
    module = "asyncudp"

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        import asyncudp

        return AsyncudpSocket(await asyncudp.create_socket(local_addr=(host, 0)))

    async def connect(self, addr: Any) -> Socket:
        import asyncudp

        return AsyncudpSocket(await asyncudp.create_socket(remote_addr=addr))


class AnyioSocket(Socket):
    def __init__(self, sock: Any) -> None:
        import anyio.abc

        self.sock = sock
        self.addr = sock.extra(anyio.abc.SocketAttribute.local_address)
        self.raw = sock.extra(anyio.abc.SocketAttribute.raw_socket)

    async def recv(self) -> bytes:
        item = await self.sock.receive()
        data: bytes = item if isinstance(item, bytes) else item[0]
        return data

    async def recv_from(self) -> tuple[bytes, Any]:
        data, addr = await self.sock.receive()
        return data, addr

    async def send(self, data: bytes, addr: Any = None) -> None:
        if addr is None:
            await self.sock.send(data)
        elif isinstance(addr, str):
            await self.sock.sendto(data, addr)
        else:
            await self.sock.sendto(data, *addr[:2])

    async def close(self) -> None:
        await self.sock.aclose()

    def iterate(self) -> Any:
        return aiter(self.sock)


class Anyio(Peer):
    name = "anyio"
    distribution = "anyio"
    module = "anyio"
    cancels_scopes = True

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        import anyio

        return AnyioSocket(await anyio.create_udp_socket(local_host=host))

    async def connect(self, addr: Any) -> Socket:
        import anyio

        return AnyioSocket(await anyio.create_connected_udp_socket(*addr[:2]))

    async def bind_path(self, path: Path) -> Socket:
        import anyio

        return AnyioSocket(await anyio.create_unix_datagram_socket(local_path=path))

    async def adopt(self, sock: socket.socket) -> Socket:
        from anyio.abc import UDPSocket

        return AnyioSocket(await UDPSocket.from_socket(sock))


class TrioSocket(Socket):
    def __init__(self, sock: Any) -> None:
        self.raw = sock
        self.addr = sock.getsockname()

    async def recv(self) -> bytes:
        return (await self.recv_from())[0]

    async def recv_from(self) -> tuple[bytes, Any]:
        data, addr = await self.raw.recvfrom(65535)
        return data, addr

    async def send(self, data: bytes, addr: Any = None) -> None:
        await (self.raw.send(data) if addr is None else self.raw.sendto(data, addr))

    async def close(self) -> None:
        self.raw.close()

    async def destination(self) -> str:
        _, ((_, _, info), *_), _, _ = await self.raw.recvmsg(2048, 256)
        return socket.inet_ntoa(info[8:12]) + ", by hand"


class Trio(Peer):
    name = "trio"
    distribution = "trio"
    module = "trio"
    backend = "trio"
    cancels_scopes = True

    async def bind_any_ipv4(self) -> Socket:
        one = await self.bind("0.0.0.0")
        one.raw.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO, ip(7)
        return one

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        import trio

        sock = trio.socket.socket(_family(host), socket.SOCK_DGRAM)
        await sock.bind((host, 0))
        return TrioSocket(sock)

    async def connect(self, addr: Any) -> Socket:
        import trio

        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await sock.connect(addr)
        return TrioSocket(sock)

    async def bind_path(self, path: Path) -> Socket:
        import trio

        sock = trio.socket.socket(AF_UNIX, socket.SOCK_DGRAM)
        await sock.bind(str(path))
        return TrioSocket(sock)

    async def adopt(self, sock: socket.socket) -> Socket:
        import trio

        return TrioSocket(trio.socket.from_stdlib_socket(sock))


# -- the other package named aioudp


class OtherSocket(Socket):
    """One side of it: a client's connection, or a server that queues what it gets."""

    def __init__(self, connection: Any, close: Callable[..., Any]) -> None:
        self.connection = connection
        self.addr = connection.local_address
        self._close = close

    async def recv(self) -> bytes:
        data: bytes = await self.connection.recv()
        return data

    async def send(self, data: bytes, addr: Any = None) -> None:
        await self.connection.send(data)

    async def close(self) -> None:
        await self._close(None, None, None)

    def iterate(self) -> Any:
        return aiter(self.connection)


class Other(Peer):
    """It has connections only: a server calls a handler with one for each sender."""

    name = "PyPI's aioudp"
    distribution = "aioudp"
    module = "aioudp"

    async def bind(self, host: str = HOST, **options: Any) -> Socket:
        raise Missing("servers call a handler for each sender")

    async def connect(self, addr: Any) -> Socket:
        aioudp: Any = importlib.import_module("aioudp")  # theirs, not ours
        entered = aioudp.connect(*addr[:2])
        return OtherSocket(await entered.__aenter__(), entered.__aexit__)

    async def serve(self, handler: Callable[[bytes], bytes]) -> tuple[Any, Any]:
        aioudp: Any = importlib.import_module("aioudp")  # theirs, not ours

        async def answer(connection: Any) -> None:
            async for data in connection:
                await connection.send(handler(data))

        # It doesn't say which port it was given.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HOST, 0))
            addr = sock.getsockname()
        entered = aioudp.serve(*addr, answer)
        await entered.__aenter__()

        async def close() -> None:
            await entered.__aexit__(None, None, None)

        return addr, close


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
