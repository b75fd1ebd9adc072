"""What the tests of ``sockets`` share."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import pytest

from aioudp._system import sockets
from aioudp._system.sockets import open_bound

LOOPBACK: Final = ("127.0.0.1", 0)
LOOPBACK6: Final = ("::1", 0, 0, 0)

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about the Linux kernel"
)
with_unix_sockets = pytest.mark.skipif(
    sockets.AF_UNIX is None, reason="cannot: unix: no UNIX datagram sockets"
)

MakeSocket = Callable[..., socket.socket]


def run_on(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module believe that it runs on that platform."""
    monkeypatch.setattr(sockets, "sys", SimpleNamespace(platform=platform))


def _skip_without_ipv6() -> None:
    try:
        open_bound(LOOPBACK6, socket.AF_INET6).close()
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")


def receive_all(sock: socket.socket) -> list[bytes]:
    """Return the payloads that wait in the socket."""
    payloads = []
    while True:
        try:
            payloads.append(sock.recv(65536))
        except BlockingIOError:
            return payloads
