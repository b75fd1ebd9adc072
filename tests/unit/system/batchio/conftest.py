"""Sockets, with offload and without, and both twins."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket

from .support import MakeSocket, Twin


@pytest.fixture
def make_socket() -> Iterator[MakeSocket]:
    """Make bound, non-blocking datagram sockets; the end closes them."""
    with ExitStack() as stack:

        def make(
            addr: Any = ("127.0.0.1", 0),
            family: int = socket.AF_INET,
            **options: Any,
        ) -> socket.socket:
            return stack.enter_context(sockets.open_bound(addr, family, **options))

        yield make


@pytest.fixture(params=[False, True], ids=["plain", "offload"])
def offload(request: pytest.FixtureRequest) -> bool:
    """Return whether to use the kernel's segmentation and coalescing."""
    if request.param and sockets.probe_offload() != (128, True):
        pytest.skip("cannot: offload: this kernel has no UDP_SEGMENT or no UDP_GRO")
    return bool(request.param)


@pytest.fixture(params=["python", "compiled"])
def twin(request: pytest.FixtureRequest) -> Twin:
    """Return the class of either twin. What a test leaves to others is the readable."""
    if request.param == "python":
        return BatchSocket
    try:
        speedups: Any = importlib.import_module("aioudp._system.speedups")
    except ModuleNotFoundError:
        pytest.skip("cannot: speedups: not built")
    compiled: Twin = speedups.BatchSocket
    return compiled
