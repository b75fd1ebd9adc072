"""UNIX datagram sockets, by name and as ``sock``."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from ..support import AF_UNIX, linux_only, unix_only
from .support import Opener, any_name


@unix_only
async def test_unix_path(opener: Opener, tmp_path: Path) -> None:
    """A str is a path; what is bound there can be sent to."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    paths = str(tmp_path / "server"), str(tmp_path / "client")
    _, server = await opener.open(local_addr=paths[0], family=AF_UNIX)
    client, _ = await opener.open(
        local_addr=paths[1], remote_addr=paths[0], family=AF_UNIX
    )

    client.sendto(b"hello")

    await server.received(1)
    assert server.datagrams == [(b"hello", paths[1])]


@unix_only
async def test_unix_stale_socket(opener: Opener, tmp_path: Path) -> None:
    """A socket's file that was left behind is replaced; closing leaves ours behind."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    path = tmp_path / "server"
    for _ in range(2):
        transport, protocol = await opener.open(local_addr=str(path), family=AF_UNIX)
        transport.close()
        await protocol.lost()

        assert path.is_socket()


@unix_only
async def test_unix_path_of_a_file(opener: Opener, tmp_path: Path) -> None:
    """Anything else stays, and is in the way."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(OSError) as caught:
        await opener.open(local_addr=str(path), family=AF_UNIX)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


@linux_only
async def test_unix_abstract_name(opener: Opener) -> None:
    """A name that begins with a zero byte needs no file."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")
    name = any_name()
    _, server = await opener.open(local_addr=name, family=AF_UNIX)
    client, _ = await opener.open(remote_addr=name, family=AF_UNIX)

    client.sendto(b"hello")

    assert await server.received(1) == [b"hello"]


@unix_only
@pytest.mark.parametrize("addr", [b"path", Path("path"), ("host", 1)])
@pytest.mark.parametrize("end", ["local_addr", "remote_addr"])
async def test_unix_address_that_is_no_str(opener: Opener, end: str, addr: Any) -> None:
    """It is a TypeError."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")

    with pytest.raises(TypeError):
        await opener.open(family=AF_UNIX, **{end: addr})


@unix_only
async def test_unix_without_an_address(opener: Opener) -> None:
    """A family is enough; an empty path is no address."""
    opener.leaves_out("uvloop", because="it takes UNIX sockets only ready made")

    nothing: list[dict[str, Any]] = [{}, {"local_addr": "", "remote_addr": ""}]
    for options in nothing:
        transport, _ = await opener.open(family=AF_UNIX, **options)

        assert transport.get_extra_info("sockname") == ""


@unix_only
async def test_unix_sock(opener: Opener, tmp_path: Path) -> None:
    """A ready made socket works on every loop."""
    path = str(tmp_path / "server")
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        _, protocol = await opener.open(sock=sock)
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"hello", path)

        assert await protocol.received(1) == [b"hello"]
