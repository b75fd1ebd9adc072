"""``adopt``: an endpoint over a socket that somebody else has opened."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    AF_UNIX,
    linux_only,
    needs_ipv6,
    outcome,
    plain_socket,
    port_of,
    read,
    refusing_address,
    unix_only,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked


class BrokenSocket(socket.socket):
    """A socket of which one method, *broken*, fails."""

    broken = ""

    def __getattribute__(self, name: str) -> Any:
        if name == BrokenSocket.broken:
            raise OSError(errno.ENOBUFS, "broken on purpose")
        return super().__getattribute__(name)


AS = pytest.mark.parametrize("as_", ["socket", "fd"])


def given(sock: socket.socket, as_: str) -> socket.socket | int:
    """Return the socket, or a descriptor that is the only one to own it."""
    return sock if as_ == "socket" else sock.detach()


@AS
async def test_adopt_bound(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """An adopted socket keeps its address and works (B021)."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        addr = sock.getsockname()

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert endpoint.local_addr == addr
            assert endpoint.remote_addr is None
            peer.sendto(b"question", addr)
            assert await endpoint.recv() == (b"question", peer.getsockname())
            await endpoint.send(b"answer", peer.getsockname())
            assert read(peer) == [b"answer"]


async def test_adopted_socket_does_not_block(
    transport: aioudp.TransportKind, host: str
) -> None:
    """A blocking socket is made non-blocking (B021)."""
    with plain_socket(host) as sock:
        sock.setblocking(True)

        async with aioudp.adopt(sock, transport=transport) as endpoint:
            assert endpoint.get_extra_info("socket").gettimeout() == 0


@AS
async def test_adopt_connected(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """An adopted socket that is connected makes a connected endpoint (B022)."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        sock.connect(peer.getsockname())

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert endpoint.remote_addr == peer.getsockname()
            await endpoint.send(b"hello")
            assert read(peer) == [b"hello"]


@AS
async def test_adopt_unbound(
    transport: aioudp.TransportKind, family: socket.AddressFamily, as_: str
) -> None:
    """An adopted socket without an address is bound to a free port (B003)."""
    sock = socket.socket(family, socket.SOCK_DGRAM)

    async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
        assert port_of(endpoint) > 0


@needs_ipv6
@pytest.mark.parametrize("fields", [2, 4])
async def test_adopted_dual_stack_socket(
    transport: aioudp.TransportKind, fields: int
) -> None:
    """An adopted socket for IPv4 and IPv6 reads and writes plain addresses (B190)."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    host = "127.0.0.1" if fields == 2 else "::1"
    async with aioudp.adopt(sock, transport=transport) as endpoint:
        with plain_socket(host) as peer:
            peer.sendto(b"question", (host, port_of(endpoint)))
            data, addr = await endpoint.recv()
            await endpoint.send(b"answer", addr)

            assert (data, addr) == (b"question", peer.getsockname())
            assert len(addr) == fields
            assert read(peer) == [b"answer"]


@pytest.mark.parametrize(
    "sock_or_fd", [None, "3", b"3", 3.0, object(), True, False], ids=repr
)
def test_adopt_what_is_no_socket(sock_or_fd: Any) -> None:
    """Only a socket or a descriptor is adopted; a bool is neither (B027)."""
    with pytest.raises(TypeError):
        aioudp.adopt(sock_or_fd)


@pytest.mark.parametrize("option", ["family", "reuse_port"])
def test_adopt_with_a_decided_option(option: str) -> None:
    """What the socket has decided is refused, and the option named (B026)."""
    options: dict[str, Any] = {option: True}
    with plain_socket("127.0.0.1") as sock, pytest.raises(ValueError, match=option):
        aioudp.adopt(sock, **options)


@AS
async def test_adopt_stream(
    transport: aioudp.TransportKind, family: int, as_: str
) -> None:
    """A stream socket is refused, and still the caller's (B023)."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()

        with pytest.raises(ValueError, match="datagram"):
            await aioudp.adopt(sock_or_fd, transport=transport)

        os.fstat(sock.fileno())  # still open
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == sock.type


async def test_adopt_another_family(transport: aioudp.TransportKind) -> None:
    """A datagram socket that is neither IP nor UNIX is refused (B027)."""
    if not hasattr(socket, "AF_NETLINK"):
        pytest.skip("cannot: netlink: no other family to try")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError, match="IP or a UNIX socket"):
            await aioudp.adopt(sock, transport=transport)

        os.fstat(sock.fileno())  # still open


async def test_adopt_closed_descriptor(transport: aioudp.TransportKind) -> None:
    """A descriptor that is not open is refused with EBADF (B027)."""
    with plain_socket("127.0.0.1") as sock:
        fd = sock.fileno()

    with pytest.raises(OSError) as caught:
        await aioudp.adopt(fd, transport=transport)

    assert caught.value.errno == errno.EBADF


async def test_adopt_closed_socket(transport: aioudp.TransportKind) -> None:
    """A socket that is closed is refused with EBADF (B027)."""
    with plain_socket("127.0.0.1") as sock:
        pass

    with pytest.raises(OSError) as caught:
        await aioudp.adopt(sock, transport=transport)

    assert caught.value.errno == errno.EBADF


async def test_adopt_what_is_a_file(transport: aioudp.TransportKind) -> None:
    """A descriptor of something else is refused, and still open (B027)."""
    with open(os.devnull, "rb") as file:  # noqa: ASYNC230 - it does not block
        with pytest.raises(OSError) as caught:
            await aioudp.adopt(file.fileno(), transport=transport)

        assert caught.value.errno == errno.ENOTSOCK
        os.fstat(file.fileno())  # still open


async def test_adopt_twice(
    endpoints: Endpoints, transport: aioudp.TransportKind
) -> None:
    """A socket that carries an endpoint is refused, and goes on (B025)."""
    server, client = await endpoints.pair()

    with pytest.raises(ValueError, match="already"):
        await aioudp.adopt(server.fileno(), transport=transport)

    await client.send(b"hello")
    assert await server.recv() == (b"hello", client.local_addr)


async def test_adopt_twice_at_once(transport: aioudp.TransportKind, host: str) -> None:
    """Of two tasks that adopt one socket at once only one gets it (B025)."""
    with plain_socket(host) as sock:
        results = await asyncio.gather(
            aioudp.adopt(sock, transport=transport),
            aioudp.adopt(sock, transport=transport),
            return_exceptions=True,
        )

        opened = [one for one in results if isinstance(one, aioudp.Endpoint)]
        for endpoint in opened:
            await endpoint.aclose()
        assert len(opened) == 1


@AS
async def test_adopt_again_after_close(
    transport: aioudp.TransportKind, host: str, as_: str
) -> None:
    """A descriptor whose endpoint is closed is adopted like any other (B025)."""
    for _ in range(3):  # the system gives the lowest free number again
        sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )

        async with aioudp.adopt(given(sock, as_), transport=transport) as endpoint:
            assert not endpoint.closed


async def test_closing_closes_the_adopted_socket(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Closing the endpoint closes the socket it was made of (B028)."""
    with plain_socket(host) as sock:
        endpoint = await aioudp.adopt(sock, transport=transport)

        await endpoint.aclose()

        assert sock.fileno() == -1


async def test_closing_closes_the_adopted_descriptor(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Closing the endpoint closes the descriptor it was made of (B028)."""
    with plain_socket(host) as sock:
        fd = sock.detach()
    endpoint = await aioudp.adopt(fd, transport=transport)

    await endpoint.aclose()

    with pytest.raises(OSError) as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF


@AS
async def test_failed_adoption(transport: aioudp.TransportKind, as_: str) -> None:
    """After a failed adoption the socket is still the caller's, and open (B017)."""
    with plain_socket("127.0.0.1") as plain:
        sock = BrokenSocket(fileno=plain.detach())
    with sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socket", BrokenSocket)
            patch.setattr(BrokenSocket, "broken", "setsockopt")
            with pytest.raises(OSError) as caught:
                await aioudp.adopt(
                    sock_or_fd, receive_buffer=65536, transport=transport
                )

        assert caught.value.errno == errno.ENOBUFS
        assert sock.fileno() != -1
        os.fstat(sock.fileno())  # still open


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@AS
@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_adoption(
    transport: aioudp.TransportKind, as_: str, turns: int
) -> None:
    """After a cancelled adoption the socket is the caller's, or closed (B019).

    It is closed only if the event loop's own transport had got hold of it.
    """
    with plain_socket("127.0.0.1") as sock:
        sock_or_fd = sock if as_ == "socket" else sock.fileno()
        opening = asyncio.ensure_future(aioudp.adopt(sock_or_fd, transport=transport))
        for _ in range(turns):
            await asyncio.sleep(0)

        opening.cancel()

        endpoint: Any = await outcome(opening)
        if isinstance(endpoint, aioudp.Endpoint):  # it was faster, and owns it
            await endpoint.aclose()
            sock.detach()
        else:
            assert isinstance(endpoint, asyncio.CancelledError)
            for _ in range(4):
                await asyncio.sleep(0)  # the loop's transport closes in a later turn
            if transport == "loop" and not is_open(sock.fileno()):
                sock.detach()
                return
            async with aioudp.adopt(sock.detach(), transport=transport) as endpoint:
                assert not endpoint.closed


@unix_only
async def test_adopt_one_of_a_pair(transport: aioudp.TransportKind) -> None:
    """One end of a socket pair is adopted, and talks to the other (B022)."""
    mine, other = socket.socketpair(AF_UNIX, socket.SOCK_DGRAM)
    with other:
        adopting: aioudp.Opening[aioudp.Endpoint[aioudp.UnixAddress]]
        adopting = aioudp.adopt(mine, transport=transport)
        async with adopting as endpoint:
            await endpoint.send(b"question")
            assert read(other) == [b"question"]
            other.send(b"answer")
            assert await endpoint.recv() == (b"answer", "")


@linux_only
async def test_adopted_socket_has_no_error_queue(
    transport: aioudp.TransportKind, until_blocked: UntilBlocked
) -> None:
    """Adopting switches IP_RECVERR off, which would keep the loop awake (B137)."""
    with plain_socket("127.0.0.1") as sock:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR

        async with aioudp.adopt(sock, transport=transport) as endpoint:
            assert sock.getsockopt(socket.IPPROTO_IP, 11) == 0
            with refusing_address("127.0.0.1") as nobody:
                await endpoint.send(b"hello", nobody)
            receiving = asyncio.ensure_future(endpoint.recv())
            await until_blocked(receiving)

            assert not receiving.done()
            receiving.cancel()


async def test_the_original_is_closed(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Its number goes to the next socket, but not what the endpoint sends."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        addr = sock.getsockname()
        async with aioudp.adopt(sock, transport=transport) as endpoint:
            number = sock.fileno()
            sock.close()
            async with aioudp.bind((host, 0), transport=transport) as later:
                assert later.fileno() == number

                await endpoint.send(b"from the first", peer.getsockname())
                assert peer.recvfrom(100) == (b"from the first", addr)
                peer.sendto(b"to the first", addr)
                async with asyncio.timeout(10):
                    assert (await endpoint.recv()).data == b"to the first"

        with plain_socket(host) as again:  # nothing is left of it
            again.close()


async def test_a_number_that_is_used_again_can_be_adopted(
    transport: aioudp.TransportKind, host: str
) -> None:
    """It is another socket, though the first one's endpoint lives."""
    with plain_socket(host) as first:
        async with aioudp.adopt(first, transport=transport):
            number = first.fileno()
            first.close()
            with plain_socket(host) as second:
                assert second.fileno() == number
                async with aioudp.adopt(second, transport=transport) as endpoint:
                    assert endpoint.local_addr[1] == second.getsockname()[1]


async def test_a_loop_that_watches_no_more(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the socket cannot be watched, it is the caller's, as it was."""
    with plain_socket(host) as sock, plain_socket(host) as peer:
        loop = asyncio.get_running_loop()

        def add_reader(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "no more watches")

        with monkeypatch.context() as patch:
            patch.setattr(loop, "add_reader", add_reader, raising=False)
            with pytest.raises(OSError, match="no more watches"):
                await aioudp.adopt(sock, transport="selector")

        assert sock.gettimeout() == 10
        sock.sendto(b"still open", peer.getsockname())
        assert peer.recv(100) == b"still open"
