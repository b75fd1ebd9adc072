"""The fixtures of the drop-in's tests. ``support`` describes how they work."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from ..support import plain_socket
from .support import WAYS, Opener


@pytest.fixture(params=WAYS)
async def opener(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    """Open endpoints, by the event loop's own method or by ours."""
    opener = Opener(request.param)
    yield opener
    await opener.aclose()


@pytest.fixture
async def ours() -> AsyncIterator[Opener]:
    """Open endpoints by ours alone, for what no loop's own method does."""
    opener = Opener("ours")
    yield opener
    await opener.aclose()


@pytest.fixture
def peer4() -> Iterator[socket.socket]:
    """Return a plain bound IPv4 socket, where the family makes no difference."""
    with plain_socket("127.0.0.1") as sock:
        yield sock
