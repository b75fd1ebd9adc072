"""Sockets that exist: buffers, drops, and the file of a UNIX socket."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._system.sockets import (
    BoundPath,
    grow_buffer,
    kernel_drops,
    set_buffer,
)

from .support import MakeSocket, on_linux, receive_all, run_on, with_unix_sockets

# -- buffers


def test_a_buffer_grows_to_what_is_granted(make_socket: MakeSocket) -> None:
    """The kernel may grant less than asked, and Linux counts twice as much."""
    sock = make_socket()
    set_buffer(sock, socket.SO_RCVBUF, 4096)
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    grow_buffer(sock, socket.SO_RCVBUF, 2 * before)

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > before


def test_a_buffer_never_shrinks(make_socket: MakeSocket) -> None:
    """Whoever runs the machine may have made the default larger than our wish."""
    sock = make_socket()
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    grow_buffer(sock, socket.SO_SNDBUF, before // 4)

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


class StrictSocket:
    """A socket of a system that refuses a buffer above its limit."""

    def __init__(self, *, now: int, limit: int) -> None:
        self.size = now
        self.limit = limit
        self.asked: list[int] = []

    def as_socket(self) -> socket.socket:
        sock: Any = self
        return sock  # type: ignore[no-any-return]

    def getsockopt(self, level: int, option: int) -> int:
        return self.size

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.asked.append(value)
        if value > self.limit:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        self.size = value


def test_less_is_asked_for_until_it_is_granted() -> None:
    """Some systems refuse what Linux would cut down."""
    strict = StrictSocket(now=1000, limit=2500)

    grow_buffer(strict.as_socket(), socket.SO_RCVBUF, 8000)

    assert (strict.asked, strict.size) == ([8000, 4000, 2000], 2000)


def test_less_than_now_is_not_asked_for() -> None:
    """When nothing more is to be had, the buffer stays as it is."""
    strict = StrictSocket(now=1000, limit=1000)

    grow_buffer(strict.as_socket(), socket.SO_RCVBUF, 8000)

    assert (strict.asked, strict.size) == ([8000, 4000, 2000], 1000)


# -- drops


@on_linux
def test_the_kernel_counts_exactly_what_it_drops(make_socket: MakeSocket) -> None:
    """Of 40 datagrams sent into a tiny buffer, all are either there or counted."""
    receiver, sender = make_socket(), make_socket()
    set_buffer(receiver, socket.SO_RCVBUF, 1)  # the kernel makes it its minimum
    for _ in range(40):
        sender.sendto(bytes(500), receiver.getsockname())

    drops = kernel_drops(receiver)

    assert drops > 0
    assert drops == 40 - len(receive_all(receiver))


@on_linux
def test_a_socket_with_room_has_no_drops(make_socket: MakeSocket) -> None:
    """The count begins at 0, and what was received does not count."""
    receiver, sender = make_socket(), make_socket()
    sender.sendto(b"payload", receiver.getsockname())

    assert kernel_drops(receiver) == 0


def test_drops_are_unknown_elsewhere(
    make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems are not asked, as the number means another option there."""
    run_on("darwin", monkeypatch)
    unasked: Any = object()

    assert kernel_drops(unasked) == 0


def test_drops_of_a_closed_socket_are_unknown(make_socket: MakeSocket) -> None:
    """Asking too late is not an error."""
    sock = make_socket()
    sock.close()

    assert kernel_drops(sock) == 0


@on_linux
def test_drops_are_unknown_on_an_older_kernel() -> None:
    """A result without the drops isn't misread."""
    older: Any = SimpleNamespace(getsockopt=lambda level, option, size: bytes(size - 4))

    assert kernel_drops(older) == 0


# -- the file of a UNIX socket


@with_unix_sockets
def test_the_path_is_removed(make_socket: MakeSocket, tmp_path: Path) -> None:
    """It can be bound again."""
    path = tmp_path / "socket"
    make_socket(str(path), sockets.AF_UNIX)
    bound = BoundPath(str(path))

    bound.remove()

    assert not path.exists()


@with_unix_sockets
def test_another_file_at_the_path_is_left_alone(
    make_socket: MakeSocket, tmp_path: Path
) -> None:
    """Somebody else may have put a socket of their own there meanwhile."""
    path = tmp_path / "socket"
    make_socket(str(path), sockets.AF_UNIX)
    bound = BoundPath(str(path))
    path.rename(tmp_path / "moved")  # keeps the old inode from being used again
    make_socket(str(path), sockets.AF_UNIX)

    bound.remove()

    assert path.exists()


def test_removing_a_path_that_is_gone_does_nothing(tmp_path: Path) -> None:
    """Somebody else may have removed it."""
    path = tmp_path / "socket"
    path.touch()
    bound = BoundPath(str(path))
    path.unlink()

    bound.remove()

    assert not path.exists()


def test_a_path_that_cannot_be_removed_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing an endpoint succeeds even in a directory that became read-only."""
    path = tmp_path / "socket"
    path.touch()
    bound = BoundPath(str(path))

    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    bound.remove()
    monkeypatch.undo()

    assert path.exists()


@pytest.mark.parametrize("name", ["\0abstract", b"\0abstract"])
def test_an_abstract_name_has_no_file(
    name: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing is removed for it."""
    removed: list[object] = []
    bound = BoundPath(name)
    monkeypatch.setattr(os, "unlink", removed.append)

    bound.remove()

    assert removed == []
