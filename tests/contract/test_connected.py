"""Connected endpoints: one peer, no third party, and what ICMP says of the peer."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import (
    EITHER_WAY,
    descriptors,
    linux_only,
    needs_ipv6,
    plain_socket,
    port_of,
    read,
    refusing_address,
)

if TYPE_CHECKING:
    from tests.conftest import Endpoints, UntilBlocked


@pytest.fixture(params=EITHER_WAY)
def endpoint_options(request: pytest.FixtureRequest) -> Any:
    """Return the options of every endpoint here."""
    return request.param


@pytest.fixture
def stranger(host: str) -> Iterator[socket.socket]:
    """Return a plain socket that is not the peer."""
    with plain_socket(host) as sock:
        yield sock


@pytest.fixture
def dead_addr(host: str) -> Iterator[Any]:
    """Return an address where nobody listens."""
    with refusing_address(host) as addr:
        yield addr


def before_connecting(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Any], None]
) -> None:
    """Have *act* called with the address of a bound socket just before it connects."""
    connect = socket.socket.connect

    def act_and_connect(sock: socket.socket, peer: Any) -> None:
        act(sock.getsockname())
        connect(sock, peer)

    monkeypatch.setattr(socket.socket, "connect", act_and_connect)


# -- the peer and its address


async def test_send_needs_no_address(endpoints: Endpoints, peer: socket.socket) -> None:
    """A connected endpoint sends to its peer without an address (B040)."""
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send(b"hello")

    assert peer.recvfrom(100) == (b"hello", endpoint.local_addr)


async def test_addresses(endpoints: Endpoints, peer: socket.socket, host: str) -> None:
    """Once it is open an endpoint knows its own address and its peer's (B033)."""
    endpoint = await endpoints.connect(peer.getsockname())

    assert endpoint.remote_addr == peer.getsockname()
    assert endpoint.local_addr[0] == host
    assert port_of(endpoint) > 0


async def test_no_peer(endpoints: Endpoints) -> None:
    """An endpoint that is not connected has no remote address (B046)."""
    endpoint = await endpoints.bind()

    assert endpoint.remote_addr is None
    assert endpoint.get_extra_info("peername") is None


async def test_local_addr(endpoints: Endpoints, peer: socket.socket, host: str) -> None:
    """A connected endpoint sends from the local address asked for."""
    endpoint = await endpoints.connect(peer.getsockname(), local_addr=(host, 0))

    await endpoint.send(b"hello")

    assert endpoint.local_addr[0] == host
    assert peer.recvfrom(100) == (b"hello", endpoint.local_addr)


@pytest.mark.parametrize("local_host", ["", None], ids=repr)
async def test_local_addr_of_the_peers_family(
    endpoints: Endpoints, peer: socket.socket, local_host: str | None
) -> None:
    """Connecting from every address takes the one of the peer's family."""
    local_addr: Any = (local_host, 0)

    endpoint = await endpoints.connect(peer.getsockname(), local_addr=local_addr)

    assert endpoint.family == peer.family
    assert endpoint.remote_addr == peer.getsockname()


async def test_taken_local_addr(
    endpoints: Endpoints, peer: socket.socket, stranger: socket.socket
) -> None:
    """A local address that is taken is refused, and named (B005)."""
    before = descriptors()

    with pytest.raises(OSError) as caught:
        await endpoints.connect(peer.getsockname(), local_addr=stranger.getsockname())

    assert caught.value.errno == errno.EADDRINUSE
    assert str(stranger.getsockname()[1]) in str(caught.value)
    assert descriptors() == before


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("remote", "local"),
    [("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("::1", "0.0.0.0")],
)
async def test_addresses_of_different_families(
    transport: aioudp.TransportKind, remote: str, local: str
) -> None:
    """A local and a remote address of different families are refused (B013)."""
    before = descriptors()

    with pytest.raises(ValueError, match="family mismatch"):
        await aioudp.connect((remote, 9), local_addr=(local, 0), transport=transport)

    assert descriptors() == before


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET)]
)
async def test_peer_of_another_family(
    transport: aioudp.TransportKind, host: str, family: int
) -> None:
    """A peer that is not of the family asked for is refused (B032)."""
    with pytest.raises(ValueError, match="family mismatch"):
        await aioudp.connect((host, 9), family=family, transport=transport)


async def test_peer_as_a_mapped_address(transport: aioudp.TransportKind) -> None:
    """A peer given as ::ffff:127.0.0.1 is the IPv4 peer 127.0.0.1 (B192)."""
    with plain_socket("127.0.0.1") as peer:
        port = peer.getsockname()[1]

        async with aioudp.connect(
            ("::ffff:127.0.0.1", port), transport=transport
        ) as endpoint:
            assert endpoint.remote_addr == ("127.0.0.1", port)
            await endpoint.send(b"hello")

            assert read(peer) == [b"hello"]


@linux_only
async def test_unspecified_peer(endpoints: Endpoints, peer: socket.socket) -> None:
    """Connecting to 0.0.0.0 or :: reaches this machine (B048)."""
    every = "0.0.0.0" if peer.family == socket.AF_INET else "::"

    endpoint = await endpoints.connect((every, peer.getsockname()[1]))
    await endpoint.send(b"hello")

    assert endpoint.remote_addr == peer.getsockname()
    assert read(peer) == [b"hello"]


@pytest.mark.no_matrix
@pytest.mark.parametrize("port", [0, -1, 65536, 70000, 2**31, 2**64])
def test_port_of_the_peer_out_of_range(port: int, host: str) -> None:
    """A peer's port is from 1 to 65535, which the call checks (B049)."""
    with pytest.raises(ValueError, match="port"):
        aioudp.connect((host, port))


@pytest.mark.parametrize("host", ["", None], ids=repr)
def test_peer_without_a_host(host: Any) -> None:
    """A peer has a host, which the call checks (B049)."""
    with pytest.raises(ValueError, match="host"):
        aioudp.connect((host, 9))


@pytest.mark.parametrize("local", [5, ("127.0.0.1",), ("127.0.0.1", "0")], ids=repr)
def test_local_addr_that_is_no_address(local: Any) -> None:
    """What has not the shape of a local address is refused at the call (B011)."""
    with pytest.raises(TypeError):
        aioudp.connect(("127.0.0.1", 9), local_addr=local)


@linux_only
@pytest.mark.parametrize("addr", [("127.255.255.255", 9), ("255.255.255.255", 9)])
async def test_error_of_connecting(
    transport: aioudp.TransportKind, addr: tuple[str, int]
) -> None:
    """What the system refuses to connect to is named, nothing is left (B050) (B054)."""
    before = descriptors()

    with pytest.raises(PermissionError, match=addr[0].replace(".", r"\.")):
        await aioudp.connect(addr, transport=transport)

    assert descriptors() == before


@linux_only
async def test_broadcast_peer(transport: aioudp.TransportKind) -> None:
    """With the option broadcast an endpoint connects to a broadcast address (B050)."""
    with plain_socket("127.255.255.255") as peer:
        addr = peer.getsockname()
        async with aioudp.connect(
            addr, broadcast=True, transport=transport
        ) as endpoint:
            await endpoint.send(b"hello")

            assert read(peer) == [b"hello"]


# -- an address given all the same


async def test_the_peers_address_is_allowed(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """A connected endpoint accepts the address of its peer (B041)."""
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send(b"one", peer.getsockname())
    await endpoint.send(b"two", peer.getsockname()[:2])
    await endpoint.send(b"three", endpoint.remote_addr)
    await endpoint.send(b"four", peer.getsockname(), segment_size=2)
    await endpoint.send_many([(b"five", peer.getsockname())])

    assert read(peer, 6) == [b"one", b"two", b"three", b"fo", b"ur", b"five"]


async def test_another_address_is_refused(
    endpoints: Endpoints, peer: socket.socket, stranger: socket.socket
) -> None:
    """A connected endpoint sends to nobody but its peer (B042)."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(ValueError, match="connected"):
        await endpoint.send(b"refused", stranger.getsockname())
    with pytest.raises(ValueError, match="connected"):
        await endpoint.send(b"refused", stranger.getsockname(), segment_size=2)
    with pytest.raises(ValueError, match="connected"):
        await endpoint.send_many([(b"refused", stranger.getsockname())])

    await endpoint.send(b"sent")
    assert read(peer) == [b"sent"]
    stranger.sendto(b"nothing was sent", stranger.getsockname())
    assert read(stranger) == [b"nothing was sent"]


@needs_ipv6
@pytest.mark.parametrize(
    ("flowinfo", "scope_id"), [(0, 1), (1, 0)], ids=["scope", "flow"]
)
async def test_another_scope_is_refused(
    transport: aioudp.TransportKind, flowinfo: int, scope_id: int
) -> None:
    """The peer's host and port with another scope or flow are refused (B043)."""
    with plain_socket("::1") as peer:
        host, port = peer.getsockname()[:2]
        async with aioudp.connect((host, port), transport=transport) as endpoint:
            with pytest.raises(ValueError, match="connected"):
                await endpoint.send(b"refused", (host, port, flowinfo, scope_id))

            await endpoint.send(b"sent")
        assert read(peer) == [b"sent"]


# -- third parties


async def test_third_party_is_not_heard(
    endpoints: Endpoints, peer: socket.socket, stranger: socket.socket
) -> None:
    """What a third party sends to a connected endpoint is not delivered (B051)."""
    endpoint = await endpoints.connect(peer.getsockname())

    stranger.sendto(b"stranger", endpoint.local_addr)
    peer.sendto(b"peer", endpoint.local_addr)

    assert await endpoint.recv() == (b"peer", peer.getsockname())
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()


async def test_third_party_before_the_connect(
    endpoints: Endpoints,
    host: str,
    peer: socket.socket,
    stranger: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a third party sent before the connect is not delivered either (B051)."""

    def flood(addr: Any) -> None:
        for _ in range(50):
            stranger.sendto(b"stranger", addr)

    before_connecting(monkeypatch, flood)

    endpoint = await endpoints.connect(peer.getsockname(), local_addr=(host, 0))

    peer.sendto(b"peer", endpoint.local_addr)
    assert await endpoint.recv() == (b"peer", peer.getsockname())
    with pytest.raises(BlockingIOError):
        endpoint.recv_nowait()
    assert endpoint.stats().dropped_kernel == 50
    assert endpoint.stats().received == 1


async def test_peer_before_the_connect(
    endpoints: Endpoints,
    host: str,
    peer: socket.socket,
    stranger: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the peer itself sent before the connect is delivered, in order (B051)."""

    def send(addr: Any) -> None:
        for payload in (b"one", b"", b"two"):
            peer.sendto(payload, addr)
            stranger.sendto(b"stranger", addr)

    before_connecting(monkeypatch, send)

    endpoint = await endpoints.connect(peer.getsockname(), local_addr=(host, 0))

    peer.sendto(b"three", endpoint.local_addr)
    received = [await endpoint.recv() for _ in range(4)]
    assert received == [
        (payload, peer.getsockname()) for payload in (b"one", b"", b"two", b"three")
    ]
    stats = endpoint.stats()
    assert (stats.received, stats.received_bytes) == (4, 11)
    assert stats.dropped_kernel == 3


# -- nobody listens: ICMP


@linux_only
async def test_refusal_is_raised_by_recv(endpoints: Endpoints, dead_addr: Any) -> None:
    """That nobody listens is raised by the next recv (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    await endpoint.send(b"hello")

    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()


@linux_only
async def test_refusal_wakes_a_receiver(
    endpoints: Endpoints, dead_addr: Any, until_blocked: UntilBlocked
) -> None:
    """That nobody listens is raised by a recv that waits already (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)

    await endpoint.send(b"hello")

    with pytest.raises(ConnectionRefusedError):
        await receiving


@linux_only
async def test_refusal_is_raised_once(
    endpoints: Endpoints, dead_addr: Any, until_blocked: UntilBlocked
) -> None:
    """One refusal is raised by one recv; the next one waits (B130)."""
    endpoint = await endpoints.connect(dead_addr)
    await endpoint.send(b"hello")
    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()

    receiving = asyncio.create_task(endpoint.recv())
    await until_blocked(receiving)

    assert not receiving.done()
    receiving.cancel()


@linux_only
async def test_refusal_is_not_raised_by_send(
    endpoints: Endpoints, dead_addr: Any
) -> None:
    """Sending on succeeds, though each datagram was refused (B131) (B140)."""
    endpoint = await endpoints.connect(dead_addr)

    for _ in range(6):
        await endpoint.send(b"hello")

    assert endpoint.stats().sent == 6
    assert endpoint.stats().send_errors == 0
    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()


@linux_only
async def test_refusal_is_not_raised_by_send_many(
    endpoints: Endpoints, dead_addr: Any
) -> None:
    """Sending many succeeds, though each datagram was refused (B131) (B140)."""
    endpoint = await endpoints.connect(dead_addr)

    await endpoint.send_many([(b"x" * size, None) for size in (1, 3, 2, 4, 0, 5)])

    assert endpoint.stats().sent == 6
    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()


@linux_only
async def test_refusal_is_not_raised_by_trains(
    endpoints: Endpoints, dead_addr: Any
) -> None:
    """Sending trains succeeds, though each was refused (B131) (B140)."""
    endpoint = await endpoints.connect(dead_addr)

    await endpoint.send(bytes(200_000), segment_size=1000)

    assert endpoint.stats().sent == 200
    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()


@linux_only
async def test_refused_endpoint_goes_on(
    endpoints: Endpoints, host: str, until_blocked: UntilBlocked
) -> None:
    """After a refusal the endpoint talks to a peer that has come (B131)."""
    with refusing_address(host) as addr:
        endpoint = await endpoints.connect(addr)
        await endpoint.send(b"too early")
        with pytest.raises(ConnectionRefusedError):
            await endpoint.recv()
    server = await endpoints.bind(port=addr[1])

    await endpoint.send(b"hello")
    data, sender = await server.recv()
    await server.send(b"welcome", sender)

    assert data == b"hello"
    assert await endpoint.recv() == (b"welcome", server.local_addr)


@linux_only
async def test_refusal_met_by_a_send(endpoints: Endpoints, host: str) -> None:
    """A send that meets an old refusal goes out, and recv raises that one (B131)."""
    with refusing_address(host) as addr:
        endpoint = await endpoints.connect(addr)
        await endpoint.send(b"too early")
    server = await endpoints.bind(port=addr[1])

    await endpoint.send(b"hello")

    assert await server.recv() == (b"hello", endpoint.local_addr)
    with pytest.raises(ConnectionRefusedError):
        await endpoint.recv()
    await server.send(b"welcome", endpoint.local_addr)
    assert await endpoint.recv() == (b"welcome", server.local_addr)


@linux_only
async def test_unconnected_endpoint_hears_no_refusal(
    endpoints: Endpoints, dead_addr: Any, peer: socket.socket
) -> None:
    """An unconnected endpoint does not learn that nobody listens (B132)."""
    endpoint = await endpoints.bind()

    await endpoint.send(b"hello", dead_addr)
    await endpoint.send(b"hello", dead_addr)
    peer.sendto(b"another", endpoint.local_addr)

    assert await endpoint.recv() == (b"another", peer.getsockname())
    assert endpoint.stats().receive_errors == 0
