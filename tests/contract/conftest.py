"""What the contract tests share, beyond the fixtures of every test."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from .support import plain_socket


@pytest.fixture
def peer(host: str) -> Iterator[socket.socket]:
    """Return a plain socket, bound to the host of the test, to talk to."""
    with plain_socket(host) as sock:
        yield sock
