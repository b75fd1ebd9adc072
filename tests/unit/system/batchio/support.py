"""What the tests of batch I/O share: readers, writers, trains."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket

EVERYTHING: Final = 10_000  # datagrams: more than any test here has
HERE: Final = ("192.0.2.1", 1)
THERE: Final = ("192.0.2.2", 2)

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about the Linux kernel"
)

MakeSocket = Callable[..., socket.socket]


Twin = type[BatchSocket]


def reader(
    sock: socket.socket, offload: bool = False, *, twin: Twin = BatchSocket, **more: Any
) -> BatchSocket:
    gro = offload and sockets.enable_gro(sock)
    return twin(sock, gso_segments=1, gro=gro, **more)


def writer(
    sock: socket.socket, offload: bool = False, *, twin: Twin = BatchSocket
) -> BatchSocket:
    gso_segments = sockets.probe_offload().gso_segments if offload else 1
    return twin(sock, gso_segments=gso_segments, gro=False)


def receive_all(batch: BatchSocket) -> list[bytes]:
    """Return every payload that waits in the socket."""
    payloads: list[bytes] = []
    while datagrams := batch.receive(EVERYTHING):
        payloads += [data for data, _ in datagrams]
    return payloads


def skip_without_offload() -> None:
    if sockets.probe_offload() != (128, True):
        pytest.skip("cannot: offload: this kernel has no UDP_SEGMENT or no UDP_GRO")
