"""Options: what is asked for is set, what is not asked for is left alone."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import descriptors, linux_only, needs_ipv6, plain_socket, port_of, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints

OPENINGS = pytest.mark.parametrize(
    "open_",
    [aioudp.bind, aioudp.connect, aioudp.adopt],
    ids=["bind", "connect", "adopt"],
)


def arguments(open_: Callable[..., Any], sock: socket.socket) -> tuple[Any]:
    """Return what the opening call is given, besides options."""
    if open_ is aioudp.adopt:
        return (sock,)
    return (sock.getsockname() if open_ is aioudp.connect else ("127.0.0.1", 0),)


def option(endpoint: aioudp.Endpoint, name: str) -> int:
    """Return the value of a socket option."""
    sock: socket.socket = endpoint.get_extra_info("socket")
    return sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name))


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """Return a bound socket."""
    with plain_socket("127.0.0.1") as bound:
        yield bound


# -- nothing wrong gets far


@OPENINGS
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue_size", 0),
        ("queue_size", -1),
        ("receive_buffer", 0),
        ("receive_buffer", -1),
        ("receive_buffer", 2**31),
        ("send_buffer", 0),
        ("send_buffer", 2**64),
        ("overflow", "explode"),
        ("transport", "carrier pigeon"),
    ],
)
def test_value_out_of_range(
    open_: Callable[..., Any], name: str, value: Any, sock: socket.socket
) -> None:
    """A value out of range is refused at the call, and the option named (B211)."""
    with pytest.raises(ValueError, match=name):
        open_(*arguments(open_, sock), **{name: value})


@OPENINGS
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue_size", None),
        ("queue_size", True),
        ("queue_size", 10.0),
        ("receive_buffer", "65536"),
        ("receive_buffer", float("inf")),
        ("send_buffer", b"1"),
        ("reuse_addr", True),
        ("reuse_address", True),
        ("ttl", 1),
    ],
)
def test_value_of_a_wrong_type(
    open_: Callable[..., Any], name: str, value: Any, sock: socket.socket
) -> None:
    """What is no number, or no option, is refused at the call (B199) (B211)."""
    with pytest.raises(TypeError, match=name):
        open_(*arguments(open_, sock), **{name: value})


@pytest.mark.parametrize(
    "open_", [aioudp.bind, aioudp.connect], ids=["bind", "connect"]
)
@pytest.mark.parametrize("family", [-1, 1, 12345, "inet", None], ids=repr)
def test_family_that_is_none(open_: Callable[..., Any], family: Any) -> None:
    """A family is IPv4, IPv6 or 0; others are refused at the call (B010)."""
    with pytest.raises(ValueError, match="family"):
        open_(("127.0.0.1", 9), family=family)


# -- sharing


@OPENINGS
@pytest.mark.parametrize("name", ["SO_REUSEADDR", "SO_REUSEPORT", "SO_BROADCAST"])
async def test_nothing_is_shared_unless_asked_for(
    transport: aioudp.TransportKind,
    open_: Callable[..., Any],
    name: str,
    sock: socket.socket,
) -> None:
    """Options that nobody asked for are off (B198)."""
    async with open_(*arguments(open_, sock), transport=transport) as endpoint:
        assert option(endpoint, name) == 0


@linux_only
@OPENINGS
async def test_port_cannot_be_taken(
    transport: aioudp.TransportKind, open_: Callable[..., Any], sock: socket.socket
) -> None:
    """Nobody else can bind the port, with whatever option (B198)."""
    async with open_(*arguments(open_, sock), transport=transport) as endpoint:
        for name in ("SO_REUSEADDR", "SO_REUSEPORT"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
                thief.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)

                with pytest.raises(OSError) as caught:
                    thief.bind(endpoint.local_addr)

                assert caught.value.errno == errno.EADDRINUSE


async def test_option_of_an_adopted_socket(transport: aioudp.TransportKind) -> None:
    """An option that was on when a socket was adopted stays on (B198)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    async with aioudp.adopt(sock, transport=transport) as endpoint:
        assert option(endpoint, "SO_REUSEADDR") != 0
        assert option(endpoint, "SO_BROADCAST") != 0


@linux_only
async def test_reuse_port(endpoints: Endpoints, host: str) -> None:
    """Two endpoints share a port, and each datagram goes to one of them (B201)."""
    first = await endpoints.bind(reuse_port=True)
    second = await endpoints.bind(reuse_port=True, port=port_of(first))
    counts = {first: 0, second: 0}
    enough = asyncio.Event()

    async def count(endpoint: aioudp.Endpoint) -> None:
        async for _ in endpoint:
            counts[endpoint] += 1
            if sum(counts.values()) == 40:
                enough.set()

    counting = [asyncio.create_task(count(endpoint)) for endpoint in counts]
    for _ in range(40):  # the kernel chooses by the sender's port
        with plain_socket(host) as sender:
            sender.sendto(b"hello", first.local_addr)

    await enough.wait()

    assert min(counts.values()) > 0
    assert sum(counts.values()) == 40
    for endpoint in counts:
        endpoint.close()
    await asyncio.gather(*counting)


async def test_connect_with_reuse_port(endpoints: Endpoints, host: str) -> None:
    """Connected endpoints share their local port too, one for each peer (B201)."""
    with plain_socket(host) as one, plain_socket(host) as other:
        first = await endpoints.connect(
            one.getsockname(), local_addr=(host, 0), reuse_port=True
        )
        second = await endpoints.connect(
            other.getsockname(), local_addr=first.local_addr, reuse_port=True
        )

        one.sendto(b"one", first.local_addr)
        other.sendto(b"other", first.local_addr)

        assert await first.recv() == (b"one", one.getsockname())
        assert await second.recv() == (b"other", other.getsockname())


@pytest.mark.parametrize("shared", ["first", "second"])
async def test_reuse_port_of_one_alone(endpoints: Endpoints, shared: str) -> None:
    """Unless both ask for it a port is not shared (B202)."""
    first = await endpoints.bind(reuse_port=shared == "first")

    with pytest.raises(OSError) as caught:
        await endpoints.bind(port=port_of(first), reuse_port=shared == "second")

    assert caught.value.errno == errno.EADDRINUSE


def test_reuse_port_that_the_system_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ports cannot be shared asking for it is refused (B200)."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")

    with pytest.raises(ValueError, match="reuse_port"):
        aioudp.bind(("127.0.0.1", 0), reuse_port=True)


# -- broadcast


@OPENINGS
async def test_broadcast_option(
    transport: aioudp.TransportKind, open_: Callable[..., Any], sock: socket.socket
) -> None:
    """The option broadcast switches SO_BROADCAST on (B196)."""
    opening = open_(*arguments(open_, sock), broadcast=True, transport=transport)

    async with opening as endpoint:
        assert option(endpoint, "SO_BROADCAST") != 0


@linux_only
@pytest.mark.parametrize("host", ["0.0.0.0", "127.255.255.255"])
async def test_broadcast(transport: aioudp.TransportKind, host: str) -> None:
    """A broadcast reaches who is bound to every or to the broadcast address (B196)."""
    async with (
        aioudp.bind((host, 0), transport=transport) as receiver,
        aioudp.bind(("127.0.0.1", 0), broadcast=True, transport=transport) as sender,
    ):
        await sender.send(b"to all", ("127.255.255.255", port_of(receiver)))

        assert await receiver.recv() == (b"to all", sender.local_addr)


@linux_only
async def test_broadcast_from_dual_stack(transport: aioudp.TransportKind) -> None:
    """An endpoint bound to IPv4 and IPv6 broadcasts too (B193)."""
    with plain_socket("127.255.255.255") as receiver:
        async with aioudp.bind(broadcast=True, transport=transport) as sender:
            await sender.send(b"to all", receiver.getsockname())

            assert read(receiver) == [b"to all"]


@linux_only
@pytest.mark.parametrize("host", ["127.255.255.255", "255.255.255.255", "<broadcast>"])
async def test_broadcast_without_the_option(
    transport: aioudp.TransportKind, host: str
) -> None:
    """Without the option a broadcast is refused by the system (B050) (B197).

    The message gives both ways to allow it.
    """
    advice = r"255\.255\.255.*broadcast=True.*open_broadcast"
    async with aioudp.bind(("127.0.0.1", 0), transport=transport) as endpoint:
        with pytest.raises(PermissionError, match=advice):
            await endpoint.send(b"refused", (host, 9))
        with pytest.raises(PermissionError, match="broadcast=True"):
            await aioudp.connect(("255.255.255.255", 9), transport=transport)

        await endpoint.send(b"usable", endpoint.local_addr)
        assert await endpoint.recv() == (b"usable", endpoint.local_addr)


# -- families


async def test_dual_stack(transport: aioudp.TransportKind, host: str) -> None:
    """Bound to every address, IPv4 and IPv6 peers are read and written plain (B190)."""
    with plain_socket(host) as peer:
        async with aioudp.bind(("", 0), transport=transport) as endpoint:
            peer.sendto(b"question", (host, port_of(endpoint)))
            data, addr = await endpoint.recv()
            await endpoint.send(b"answer", addr)

            assert (data, addr) == (b"question", peer.getsockname())
            assert read(peer) == [b"answer"]


@needs_ipv6
async def test_only_ipv6(transport: aioudp.TransportKind) -> None:
    """With family=AF_INET6 the port stays free for IPv4 (B191)."""
    async with aioudp.bind(family=socket.AF_INET6, transport=transport) as endpoint:
        port = port_of(endpoint)

        async with aioudp.bind(("0.0.0.0", port), transport=transport) as other:
            with plain_socket("127.0.0.1") as peer:
                peer.sendto(b"hello", ("127.0.0.1", port))

                assert await other.recv() == (b"hello", peer.getsockname())
                with pytest.raises(BlockingIOError):
                    endpoint.recv_nowait()


@needs_ipv6
async def test_only_ipv6_sends_to_ipv6_alone(transport: aioudp.TransportKind) -> None:
    """With family=AF_INET6 an IPv4 destination is refused (B191) (B085)."""
    async with aioudp.bind(family=socket.AF_INET6, transport=transport) as endpoint:
        for host in ("127.0.0.1", "::ffff:127.0.0.1"):
            with pytest.raises(ValueError, match="family mismatch"):
                await endpoint.send(b"refused", (host, 9))


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("", "127.0.0.1"),
        ("", "::ffff:127.0.0.1"),
        pytest.param("", "::1", marks=needs_ipv6),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        pytest.param("::1", "::1", marks=needs_ipv6),
    ],
)
@pytest.mark.parametrize("fields", [2, 4])
async def test_destinations(
    transport: aioudp.TransportKind, local: str, remote: str, fields: int
) -> None:
    """Every address goes everywhere, IPv4 to IPv4 in both notations (B192)."""
    plain = "127.0.0.1" if "127" in remote else "::1"
    with plain_socket(plain) as peer:
        async with aioudp.bind((local, 0), transport=transport) as endpoint:
            addr: Any = (remote, peer.getsockname()[1], 0, 0)[:fields]

            await endpoint.send(b"hello", addr)

            assert read(peer) == [b"hello"]


async def test_ipv4_rejects_ipv6(transport: aioudp.TransportKind) -> None:
    """An IPv4 endpoint does not send to IPv6 addresses (B192) (B085)."""
    async with aioudp.bind(("0.0.0.0", 0), transport=transport) as endpoint:
        with pytest.raises(ValueError, match="family mismatch"):
            await endpoint.send(b"refused", ("::1", 9))


# -- buffers


@linux_only
@pytest.mark.parametrize("size", [8192, 65536, 150_000])
async def test_buffer_sizes(transport: aioudp.TransportKind, size: int) -> None:
    """The buffers get the sizes asked for, which Linux doubles (B211)."""
    opening = aioudp.bind(
        ("127.0.0.1", 0), receive_buffer=size, send_buffer=size, transport=transport
    )
    async with opening as endpoint:
        assert option(endpoint, "SO_RCVBUF") == 2 * size
        assert option(endpoint, "SO_SNDBUF") == 2 * size


@linux_only
async def test_buffer_sizes_beyond_the_limit(transport: aioudp.TransportKind) -> None:
    """Of a size that is too much the system grants what it grants (B211)."""
    opening = aioudp.bind(
        ("127.0.0.1", 0), receive_buffer=2**31 - 1, transport=transport
    )
    async with opening as endpoint:
        assert 0 < option(endpoint, "SO_RCVBUF") < 2**31


@pytest.mark.parametrize("name", ["SO_RCVBUF", "SO_SNDBUF"])
async def test_buffers_by_default(
    transport: aioudp.TransportKind, name: str, sock: socket.socket
) -> None:
    """By default the buffers are no smaller than the system's own, or 4 MiB (B211)."""
    optname = getattr(socket, name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        system = plain.getsockopt(socket.SOL_SOCKET, optname)
        plain.setsockopt(socket.SOL_SOCKET, optname, 4 * 1024 * 1024)
        granted = plain.getsockopt(socket.SOL_SOCKET, optname)

    async with aioudp.bind(("127.0.0.1", 0), transport=transport) as endpoint:
        assert option(endpoint, name) == max(system, granted)


async def test_larger_buffer_of_an_adopted_socket(
    transport: aioudp.TransportKind,
) -> None:
    """Without being asked nobody makes the buffer of an adopted socket smaller."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    async with aioudp.adopt(sock, transport=transport) as endpoint:
        assert option(endpoint, "SO_RCVBUF") >= before


# -- transports and offload


@pytest.mark.parametrize(
    ("transport", "name"),
    [
        ("auto", "SelectorTransport"),
        ("selector", "SelectorTransport"),
        ("loop", "LoopTransport"),
    ],
)
@OPENINGS
async def test_transport(
    open_: Callable[..., Any],
    transport: aioudp.TransportKind,
    name: str,
    sock: socket.socket,
) -> None:
    """The transport is the one asked for; by default one that watches the socket."""
    async with open_(*arguments(open_, sock), transport=transport) as endpoint:
        assert type(endpoint.transport).__name__ == name
        assert isinstance(endpoint.transport, asyncio.DatagramTransport)


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, like Windows' Proactor."""

    add_reader = asyncio.AbstractEventLoop.add_reader


def test_transport_on_a_loop_without_add_reader() -> None:
    """On a loop without add_reader the loop's own transport is taken."""

    async def main() -> None:
        async with aioudp.bind(("127.0.0.1", 0)) as endpoint:
            assert type(endpoint.transport).__name__ == "LoopTransport"

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    "option",
    [
        {"transport": "selector"},
        pytest.param({"icmp_errors": True}, marks=linux_only),
    ],
)
def test_selector_on_a_loop_without_add_reader(option: Any) -> None:
    """On a loop without add_reader what needs one is refused, nothing left."""

    async def main() -> None:
        before = descriptors()
        with pytest.raises(ValueError, match="add_reader"):
            await aioudp.bind(("127.0.0.1", 0), **option)
        assert descriptors() == before

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        runner.run(main())


def test_adopt_with_selector_on_a_loop_without_add_reader() -> None:
    """There an adopted socket is refused, too, and still the caller's."""

    async def main() -> None:
        with plain_socket("127.0.0.1") as sock:
            with pytest.raises(ValueError, match="add_reader"):
                await aioudp.adopt(sock, transport="selector")

            assert sock.fileno() != -1

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        runner.run(main())


async def test_offload_is_off(transport: aioudp.TransportKind) -> None:
    """Without offload every datagram goes in and out singly."""
    opening = aioudp.bind(("127.0.0.1", 0), offload=False, transport=transport)
    async with opening as endpoint:
        offload = endpoint.get_extra_info("offload")

        assert offload["gso_segments"] == 1
        assert offload["gro"] is False
