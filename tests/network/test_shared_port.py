"""Shared ports, where the system has few to choose from."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

import pytest

import aioudp

from .links import HAS_IPV6, TwoLinks

OPENINGS: Final[dict[str, Callable[[int], Any]]] = {
    "broadcast": aioudp.open_broadcast,
    "ipv4": lambda port: aioudp.open_multicast("239.1.2.3", port),
    "ipv6": lambda port: aioudp.open_multicast("ff02::1234", port),
}


@pytest.mark.parametrize("kind", OPENINGS)
async def test_a_port_that_the_system_chooses_is_new(
    two_links: TwoLinks, kind: str
) -> None:
    """Though those in use are open to everybody who asks for them."""
    if kind == "ipv6" and not HAS_IPV6:
        pytest.skip("cannot: ipv6: this kernel does not have it")
    two_links.near.sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    open_ = OPENINGS[kind]
    async with open_(0) as one, open_(0) as two:
        ports = {one.local_addr[1], two.local_addr[1]}
        assert ports == {40000, 40001}
        with pytest.raises(OSError, match="binding to port 0") as caught:
            await open_(0)
        assert caught.value.errno == errno.EADDRINUSE

        async with open_(40000) as three, open_(40001) as four:
            assert {three.local_addr[1], four.local_addr[1]} == ports
