"""Transports on fakes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._transports import selector
from aioudp._transports.selector import SelectorTransport
from aioudp._transports.socket_transport import SocketTransport

from .fakes import PEER, MakeRig, Recorder, Rig


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRig]:
    """Make rigs; the end closes their sockets."""
    # The faked loop survives the errors of a socket, as asyncio's own loops do.
    monkeypatch.setattr(selector, "watcher_for", lambda loop, on_error: loop)
    with ExitStack() as stack:
        stack.callback(asyncio._set_running_loop, asyncio._get_running_loop())

        def make(
            kind: type[SocketTransport] = SelectorTransport,
            protocol: Recorder | None = None,
            *,
            addr: Any = ("127.0.0.1", 0),
            family: int = socket.AF_INET,
            peer: Any = None,
            **options: Any,
        ) -> Rig:
            sock = stack.enter_context(sockets.open_bound(addr, family))
            if peer is not None:
                sock.connect(peer)
            rig = Rig(sock, kind, protocol or Recorder(), **options)
            asyncio._set_running_loop(rig.transport._loop)  # all happens in its turns
            return rig

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A selector transport on an unconnected socket, with a plain protocol."""
    return make_rig()


@pytest.fixture
def full(rig: Rig) -> Rig:
    """The same, and the kernel has no room; the first datagram waits for it."""
    rig.io.room = 0
    rig.transport.sendto(b"first", PEER)
    rig.loop.turn()
    return rig
