"""Broadcasts on a real link: they reach whoever is on it, if that was asked for."""

from __future__ import annotations

from socket import AF_INET

import pytest

from ..conftest import Endpoints
from .traffic import END, Sink

# The link's own broadcast address, and everybody's (RFC 919).
EVERYBODY = ["192.0.2.255", "255.255.255.255"]

pytestmark = [
    pytest.mark.parametrize("family", [AF_INET], ids=["ipv4"]),  # IPv6 has none
    pytest.mark.parametrize("everybody", EVERYBODY),
]


async def test_a_broadcast_reaches_the_link(
    endpoints: Endpoints, sink: Sink, everybody: str
) -> None:
    """In every way of sending."""
    endpoint = await endpoints.bind(broadcast=True)
    addr = everybody, sink.port

    await endpoint.send(b"one", addr)
    await endpoint.send_many([(b"two", addr), (b"three", addr)])
    await endpoint.send(END, addr)

    assert await sink.recv_until_end() == [b"one", b"two", b"three"]


async def test_a_broadcast_must_be_asked_for(
    endpoints: Endpoints, everybody: str
) -> None:
    """Otherwise it is refused, so that no typing error floods a network."""
    endpoint = await endpoints.bind()

    with pytest.raises(PermissionError, match=f"to .*{everybody}"):
        await endpoint.send(b"loud", (everybody, 9))
