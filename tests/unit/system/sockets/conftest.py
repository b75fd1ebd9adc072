"""Sockets that are closed at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aioudp._system.sockets import open_bound

from .support import LOOPBACK, MakeSocket


@pytest.fixture
def make_socket() -> Iterator[MakeSocket]:
    """Make bound, non-blocking datagram sockets; the end closes them."""
    with ExitStack() as stack:

        def make(
            addr: Any = LOOPBACK, family: int = socket.AF_INET, **options: Any
        ) -> socket.socket:
            return stack.enter_context(open_bound(addr, family, **options))

        yield make
