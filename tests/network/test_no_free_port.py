"""A system that has no port left to choose."""

from __future__ import annotations

import errno

import pytest

import aioudp

from .links import Link
from .namespaces import Namespace


@pytest.fixture
def few_ports(link: Link) -> Namespace:
    """Leave the system three ports to choose from."""
    link.near.sysctl("net.ipv4.ip_local_port_range", "40000 40002")
    return link.near


async def test_the_error_says_so(few_ports: Namespace) -> None:
    """Binding and connecting have different errors, and the same explanation."""
    open_ = [await aioudp.bind(("127.0.0.1", 0)) for _ in range(3)]
    try:
        with pytest.raises(OSError, match="no free port left") as caught:
            await aioudp.bind(("127.0.0.1", 0))
        assert caught.value.errno == errno.EADDRINUSE
    finally:
        for endpoint in open_:
            await endpoint.aclose()

    open_ = [await aioudp.connect(("127.0.0.1", 9)) for _ in range(3)]
    try:
        with pytest.raises(BlockingIOError, match="no free port left"):
            await aioudp.connect(("127.0.0.1", 9))
    finally:
        for endpoint in open_:
            await endpoint.aclose()
