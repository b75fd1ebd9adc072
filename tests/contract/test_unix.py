"""UNIX datagram sockets: names, files, payloads, and what the system refuses."""

# ruff: noqa: ASYNC240 - files in a temporary folder block nobody

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import AF_UNIX, descriptors, linux_only, outcome, read, turns_until

if TYPE_CHECKING:
    pass

if AF_UNIX == -1:
    pytest.skip("cannot: unix: no UNIX datagram sockets", allow_module_level=True)


@pytest.fixture
def own_path(tmp_path: Path) -> Path:
    """Return a path to bind an endpoint to."""
    return tmp_path / "own"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a plain socket to talk to; its address is a path."""
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(str(tmp_path / "peer"))
        yield sock


# -- names


async def test_bind_to_a_path(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket
) -> None:
    """An endpoint at a path is reached there, and answers to a path (B096)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        peer.sendto(b"question", str(own_path))
        data, addr = await endpoint.recv()
        await endpoint.send(b"answer", addr)

        assert (data, addr) == (b"question", peer.getsockname())
        assert peer.recvfrom(100) == (b"answer", str(own_path))
        assert endpoint.local_addr == str(own_path)
        assert endpoint.family == AF_UNIX


async def test_bind_to_a_path_as_text(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """A path is given as a str just as well (B096)."""
    async with aioudp.bind(str(own_path), transport=transport) as endpoint:
        assert endpoint.local_addr == str(own_path)


async def test_port(transport: aioudp.TransportKind, own_path: Path) -> None:
    """There is none, and the error says so, after closing too."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with pytest.raises(ValueError, match="has no port"):
            _ = endpoint.port
    with pytest.raises(ValueError, match="has no port"):
        _ = endpoint.port


@linux_only
async def test_bind_to_an_abstract_name(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """An abstract name is bytes that begin with zero, and has no file (B096)."""
    name = b"\0" + os.fsencode(own_path)
    async with (
        aioudp.bind(name, transport=transport) as server,
        aioudp.connect(name, transport=transport) as client,
    ):
        await client.send(b"question")
        data, addr = await server.recv()
        await server.send(b"answer", addr)

        assert server.local_addr == name
        assert client.remote_addr == name
        assert (data, addr) == (b"question", client.local_addr)
        assert await client.recv() == (b"answer", name)


async def test_sender_without_a_name(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """The address of a sender that has no name is "" (B123)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"hello", str(own_path))

        assert await endpoint.recv() == (b"hello", "")


@linux_only
async def test_connected_endpoint_is_answered(
    transport: aioudp.TransportKind, peer: socket.socket
) -> None:
    """A connected endpoint has a name, so that its peer can answer (B040) (B096)."""
    async with aioudp.connect(peer.getsockname(), transport=transport) as endpoint:
        await endpoint.send(b"question")
        data, addr = peer.recvfrom(100)
        peer.sendto(b"answer", addr)

        assert data == b"question"
        assert addr == endpoint.local_addr
        assert await endpoint.recv() == (b"answer", peer.getsockname())
        assert endpoint.remote_addr == peer.getsockname()


async def test_connect_from_a_path(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket
) -> None:
    """A connected endpoint sends from the path asked for (B096)."""
    opening = aioudp.connect(
        peer.getsockname(), local_addr=own_path, transport=transport
    )
    async with opening as endpoint:
        await endpoint.send(b"hello")

        assert peer.recvfrom(100) == (b"hello", str(own_path))


async def test_explicit_path_of_the_peer(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket
) -> None:
    """A connected endpoint accepts its peer's path, and no other (B041) (B042)."""
    async with aioudp.connect(peer.getsockname(), transport=transport) as endpoint:
        await endpoint.send(b"hello", peer.getsockname())
        with pytest.raises(ValueError, match="connected"):
            await endpoint.send(b"refused", str(own_path))

        assert read(peer) == [b"hello"]


async def test_third_party_before_the_connect(
    transport: aioudp.TransportKind,
    own_path: Path,
    peer: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others sent before the connect is not delivered; the peer's is (B051)."""
    connect = socket.socket.connect

    def send_and_connect(sock: socket.socket, addr: str) -> None:
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"stranger", str(own_path))
            peer.sendto(b"peer", str(own_path))
            stranger.sendto(b"stranger", str(own_path))
        connect(sock, addr)

    monkeypatch.setattr(socket.socket, "connect", send_and_connect)
    opening = aioudp.connect(
        peer.getsockname(), local_addr=own_path, transport=transport
    )
    async with opening as endpoint:
        peer.sendto(b"later", str(own_path))

        assert await endpoint.recv() == (b"peer", peer.getsockname())
        assert await endpoint.recv() == (b"later", peer.getsockname())
        assert endpoint.stats().dropped_kernel == 2


# -- files


async def test_close_removes_the_file(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """Closing removes the file, and the path can be bound on the next line (B225)."""
    for _ in range(3):
        async with aioudp.bind(own_path, transport=transport):
            assert own_path.is_socket()

        assert not own_path.exists()


async def test_close_removes_the_file_of_a_connected_endpoint(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket
) -> None:
    """Closing removes the file that connecting from a path has made."""
    opening = aioudp.connect(
        peer.getsockname(), local_addr=own_path, transport=transport
    )
    async with opening:
        assert own_path.is_socket()

    assert not own_path.exists()


async def test_close_leaves_the_file_of_others(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """A file that has taken the place of the endpoint's own is not removed."""
    async with aioudp.bind(own_path, transport=transport):
        own_path.unlink()
        own_path.write_text("of somebody else")

    assert own_path.read_text() == "of somebody else"


async def test_close_without_the_file(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """Closing succeeds when somebody has removed the file."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        own_path.unlink()

    assert endpoint.closed


async def test_close_leaves_the_file_of_an_adopted_socket(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """Who bound an adopted socket owns its file (B028)."""
    sock = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(own_path))

    adopting: aioudp.Opening[aioudp.Endpoint[aioudp.UnixAddress]]
    adopting = aioudp.adopt(sock, transport=transport)
    async with adopting as endpoint:
        assert endpoint.local_addr == str(own_path)

    assert own_path.is_socket()


@pytest.mark.parametrize("turns", range(5))
async def test_cancelled_bind_removes_the_file(
    transport: aioudp.TransportKind, own_path: Path, turns: int
) -> None:
    """Cancelling in whatever turn leaves neither a file nor a descriptor (B019)."""
    before = descriptors()
    opening = asyncio.ensure_future(aioudp.bind(own_path, transport=transport))
    for _ in range(turns):
        await asyncio.sleep(0)

    opening.cancel()

    endpoint = await outcome(opening)
    if isinstance(endpoint, aioudp.Endpoint):  # it was faster
        await endpoint.aclose()
    assert not own_path.exists()
    await turns_until(lambda: descriptors() == before)


# -- what the system refuses


async def test_taken_path(transport: aioudp.TransportKind, peer: socket.socket) -> None:
    """A path that is taken is refused, named, and left alone (B005)."""
    before = descriptors()

    with pytest.raises(OSError, match="peer") as caught:
        await aioudp.bind(peer.getsockname(), transport=transport)

    assert caught.value.errno == errno.EADDRINUSE
    assert Path(peer.getsockname()).is_socket()
    assert descriptors() == before


async def test_path_in_no_directory(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """A path that cannot be made is refused and named (B007)."""
    with pytest.raises(FileNotFoundError, match="own"):
        await aioudp.bind(own_path / "nowhere", transport=transport)


async def test_path_that_is_too_long(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """For a path that is too long the error says so, and names it (B007)."""
    path = f"{own_path}{'x' * 200}"

    with pytest.raises(OSError, match="too long") as caught:
        await aioudp.bind(path, transport=transport)

    assert path in str(caught.value)


@pytest.mark.parametrize("gone", [True, False], ids=["never-there", "closed"])
async def test_connect_to_nobody(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket, gone: bool
) -> None:
    """Connecting where nobody is names the path and leaves nothing (B054)."""
    addr = peer.getsockname()
    peer.close()
    if gone:
        Path(addr).unlink()
    before = descriptors()

    with pytest.raises(OSError, match="peer") as caught:
        await aioudp.connect(addr, local_addr=own_path, transport=transport)

    assert caught.value.errno == (errno.ENOENT if gone else errno.ECONNREFUSED)
    assert not own_path.exists()
    assert descriptors() == before


@pytest.mark.parametrize("gone", [True, False], ids=["never-there", "closed"])
async def test_send_to_nobody(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket, gone: bool
) -> None:
    """Sending where nobody is names the path, and closes nothing (B078) (B094)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        addr = peer.getsockname()
        peer.close()
        if gone:
            Path(addr).unlink()

        with pytest.raises(OSError, match="peer") as caught:
            await endpoint.send(b"hello", addr)

        assert caught.value.errno == (errno.ENOENT if gone else errno.ECONNREFUSED)
        await endpoint.send(b"usable", str(own_path))
        assert await endpoint.recv() == (b"usable", str(own_path))


async def test_no_destination(transport: aioudp.TransportKind, own_path: Path) -> None:
    """Without a peer and a path the system's error is raised (B047)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with pytest.raises(OSError) as caught:
            await endpoint.send(b"hello")

        assert caught.value.errno == errno.ENOTCONN


@pytest.mark.no_matrix
@pytest.mark.parametrize("addr", [("127.0.0.1", 9), 5, ()], ids=repr)
async def test_what_is_no_path(
    transport: aioudp.TransportKind, own_path: Path, addr: Any
) -> None:
    """An endpoint at a path sends to paths only (B085)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with pytest.raises(TypeError, match="path"):
            await endpoint.send(b"refused", addr)


@pytest.mark.no_matrix
async def test_empty_path(transport: aioudp.TransportKind, own_path: Path) -> None:
    """An empty path is refused, to send to and to bind (B011)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with pytest.raises(ValueError, match="empty"):
            await endpoint.send(b"refused", "")
    with pytest.raises(ValueError, match="empty"):
        await aioudp.bind("", transport=transport)


async def test_a_peer_with_a_relative_path(
    transport: aioudp.TransportKind,
    own_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is reported by that path, and can be answered (B011)."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.bind("relative")
        async with aioudp.bind(own_path, transport=transport) as endpoint:
            peer.sendto(b"question", str(own_path))
            _, addr = await endpoint.recv()
            await endpoint.send(b"answer", addr)

            assert addr == "relative"
            assert read(peer) == [b"answer"]


async def test_a_relative_path(
    transport: aioudp.TransportKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PathLike is a path, with or without a slash in it."""
    monkeypatch.chdir(tmp_path)

    async with aioudp.bind(Path("relative"), transport=transport) as endpoint:
        assert endpoint.local_addr == "relative"
        async with aioudp.connect(Path("relative"), transport=transport) as client:
            await client.send(b"found")
            assert (await endpoint.recv()).data == b"found"


@pytest.mark.no_matrix
async def test_text_that_reads_like_an_ip_address(
    transport: aioudp.TransportKind, own_path: Path
) -> None:
    """It is refused, and the error shows the tuple it should have been (B011)."""
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        with pytest.raises(ValueError, match=r"\('127\.0\.0\.1', 9999\)"):
            await endpoint.send(b"refused", "127.0.0.1:9999")


@pytest.mark.no_matrix
@pytest.mark.parametrize(
    ("remote", "local"),
    [("/path", ("127.0.0.1", 0)), (("127.0.0.1", 9), "/path")],
    ids=["path-from-ip", "ip-from-path"],
)
async def test_path_and_ip_address(
    transport: aioudp.TransportKind, remote: Any, local: Any
) -> None:
    """A path and an IP address do not go together (B013)."""
    with pytest.raises(TypeError):
        await aioudp.connect(remote, local_addr=local, transport=transport)


# -- payloads


@pytest.mark.parametrize("size", [0, 1, 65_507, 65_536, 65_537, 200_000])
async def test_size_of_a_datagram(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket, size: int
) -> None:
    """Datagrams of all sizes pass whole, also longer ones than UDP has (B065)."""
    payload = bytes(index * 7 % 251 for index in range(size))
    async with aioudp.bind(own_path, transport=transport) as endpoint:
        await endpoint.send(payload, peer.getsockname())
        assert read(peer) == [payload]
        await endpoint.send(payload, str(own_path))
        assert await endpoint.recv() == (payload, str(own_path))


async def test_too_long(
    transport: aioudp.TransportKind, own_path: Path, peer: socket.socket
) -> None:
    """A datagram longer than the send buffer is EMSGSIZE (B067)."""
    opening = aioudp.bind(own_path, send_buffer=8192, transport=transport)
    async with opening as endpoint:
        with pytest.raises(OSError, match="100000 bytes") as caught:
            await endpoint.send(bytes(100_000), peer.getsockname())

        assert caught.value.errno == errno.EMSGSIZE


async def test_segments(transport: aioudp.TransportKind, peer: socket.socket) -> None:
    """A buffer goes out as datagrams of the exact sizes, without offload (B158)."""
    async with aioudp.connect(peer.getsockname(), transport=transport) as endpoint:
        await endpoint.send(b"abcdefgh", segment_size=3)

        assert read(peer, 3) == [b"abc", b"def", b"gh"]
        assert endpoint.get_extra_info("offload")["gso_segments"] == 1
