"""The path MTU, as far as it shows on one machine.

That datagrams leave whole or not at all is in ``network/test_path_mtu.py``.
"""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import AF_UNIX, descriptors, linux_only, needs_ipv6, read, unix_only

if TYPE_CHECKING:
    from tests.conftest import Endpoints


def loopback_mtu(family: int) -> int:
    """Return the MTU of the loopback interface, as far as a packet can be long."""
    mtu = int(Path("/sys/class/net/lo/mtu").read_text(encoding="ascii"))
    return min(mtu, 65535) if family == socket.AF_INET else mtu


@linux_only
async def test_the_mtu_to_an_address(
    endpoints: Endpoints, peer: socket.socket, family: int
) -> None:
    """It is known before anything is sent, and asking leaves nothing behind."""
    endpoint = await endpoints.bind()
    before = descriptors()

    assert endpoint.mtu(peer.getsockname()) == loopback_mtu(family)

    assert descriptors() == before
    assert endpoint.stats().sent == 0


@linux_only
async def test_the_mtu_to_the_peer(
    endpoints: Endpoints, peer: socket.socket, family: int
) -> None:
    """A connected endpoint needs no address, and takes its peer's."""
    endpoint = await endpoints.connect(peer.getsockname())

    assert endpoint.mtu() == endpoint.mtu(peer.getsockname()) == loopback_mtu(family)


@needs_ipv6
@linux_only
@pytest.mark.parametrize("remote", ["127.0.0.1", "::1"])
async def test_the_mtu_of_both_ip_versions(remote: str) -> None:
    """An endpoint that serves both asks for either."""
    async with aioudp.bind(dont_fragment=True) as endpoint:
        assert endpoint.mtu((remote, 9)) in (loopback_mtu(0), 65535)


async def test_the_mtu_needs_an_address(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """One that could be sent to."""
    bound = await endpoints.bind()
    connected = await endpoints.connect(peer.getsockname())

    with pytest.raises(ValueError, match="needs an address"):
        bound.mtu()
    with pytest.raises(TypeError, match="an address is a tuple"):
        bound.mtu("127.0.0.1")
    with pytest.raises(ValueError, match="not a numeric address"):
        bound.mtu(("localhost", 9))
    with pytest.raises(ValueError, match="connected to"):
        connected.mtu(bound.local_addr)


async def test_the_mtu_of_a_closed_endpoint(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """There is no way from it to anywhere."""
    endpoint = await endpoints.bind()
    endpoint.close()

    with pytest.raises(aioudp.EndpointClosedError):
        endpoint.mtu(peer.getsockname())


@unix_only
async def test_the_mtu_of_a_unix_socket(tmp_path: Path) -> None:
    """It has none."""
    path = str(tmp_path / "socket")
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(path)
        async with aioudp.connect(path) as endpoint:
            assert endpoint.mtu() is None


async def test_the_mtu_where_the_system_lacks_it(
    endpoints: Endpoints, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unknown, which is no error."""
    endpoint = await endpoints.connect(peer.getsockname())
    monkeypatch.setattr(sys, "platform", "darwin")

    assert endpoint.mtu() is None


# -- dont_fragment

# Level, option and value of the kernel: include/uapi/linux/in.h, in6.h.
IPV4 = (socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
IPV6 = (socket.IPPROTO_IPV6, 23, 2)  # IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO


def forbids(endpoint: aioudp.Endpoint, option: tuple[int, int, int]) -> bool:
    """Return whether the option has been set."""
    level, name, value = option
    sock: socket.socket = endpoint.get_extra_info("socket")
    return sock.getsockopt(level, name) == value


@linux_only
@pytest.mark.parametrize("way", ["bind", "connect", "adopt"])
async def test_fragments_can_be_forbidden(
    endpoints: Endpoints, peer: socket.socket, host: str, family: int, way: str
) -> None:
    """However the endpoint is opened; and only if it was asked for (B180)."""
    option = IPV4 if family == socket.AF_INET else IPV6
    argument: Any = {"bind": (host, 0), "connect": peer.getsockname(), "adopt": peer}
    open_ = getattr(aioudp, way)

    async with open_(argument[way], dont_fragment=True) as endpoint:
        assert forbids(endpoint, option)
    other = await endpoints.bind()
    assert not forbids(other, option)


@needs_ipv6
@linux_only
async def test_fragments_can_be_forbidden_for_both_ip_versions() -> None:
    """On an endpoint that serves both (B180)."""
    async with aioudp.bind(dont_fragment=True) as endpoint:
        assert forbids(endpoint, IPV4)
        assert forbids(endpoint, IPV6)


@needs_ipv6
@linux_only
@pytest.mark.parametrize("host", ["::1"])
async def test_what_does_not_fit_the_loopback(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The longest IPv6 datagram does not: only with the option it is refused (B180)."""
    if loopback_mtu(0) != 65536:
        pytest.skip("cannot: mtu: the loopback interface has another one")
    addr = peer.getsockname()
    endpoint = await endpoints.bind()
    strict = await endpoints.bind(dont_fragment=True)

    await endpoint.send(bytes(65527), addr)
    with pytest.raises(OSError, match="; the path MTU is 65536 bytes") as caught:
        await strict.send(bytes(65527), addr)

    assert caught.value.errno == errno.EMSGSIZE
    assert len(read(peer)[0]) == 65527


@linux_only
async def test_what_is_no_datagram_at_all(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The path has nothing to do with it, so the message does not speak of it."""
    endpoint = await endpoints.bind(dont_fragment=True)

    with pytest.raises(OSError, match="sending 70000 bytes") as caught:
        await endpoint.send(bytes(70_000), peer.getsockname())

    assert "MTU" not in str(caught.value)
