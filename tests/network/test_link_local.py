"""IPv6 link-local addresses: the same at every link, so each needs its interface.

An address says which by its scope id, the fourth item, or by a zone in its host, as
in ``fe80::1%eth0`` (RFC 4007). Loopback has no such addresses.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from socket import AF_INET6
from typing import Any, Final

import pytest

import aioudp

from .links import DEVICE, FAR_LOCAL, HAS_IPV6, NEAR_LOCAL, Link
from .namespaces import Namespace
from .traffic import END, Sink

_OTHER_DEVICE: Final = "veth1"

pytestmark = pytest.mark.skipif(
    not HAS_IPV6, reason="cannot: ipv6: this kernel does not have it"
)


@pytest.fixture
def scope_id(link: Link) -> int:
    """Return the index of the link's interface at the near end."""
    return link.near.index(DEVICE)


@pytest.fixture
def sink(link: Link) -> Iterator[Sink]:
    """Open a plain IPv6 socket at the far end."""
    with Sink(link.far, AF_INET6) as sink:
        yield sink


# -- one link


async def test_bind_needs_a_scope(link: Link, transport: Any) -> None:
    """EINVAL, and the message names the address."""
    with pytest.raises(OSError, match=f"binding to .*{NEAR_LOCAL}") as caught:
        await aioudp.bind((NEAR_LOCAL, 0), transport=transport)

    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("form", ["scope id", "zone", "numeric zone"])
async def test_every_form_of_a_scope_is_taken(
    link: Link, scope_id: int, sink: Sink, transport: Any, form: str
) -> None:
    """To bind, to send and to connect; what comes back has the scope id."""

    def address(host: str, port: int) -> aioudp.Address:
        if form == "scope id":
            return host, port, 0, scope_id
        zone = DEVICE if form == "zone" else scope_id
        return f"{host}%{zone}", port

    far = address(FAR_LOCAL, sink.port)
    async with (
        aioudp.bind(address(NEAR_LOCAL, 0), transport=transport) as endpoint,
        aioudp.connect(far, transport=transport) as connected,
    ):
        port = endpoint.local_addr[1]
        assert endpoint.local_addr == (NEAR_LOCAL, port, 0, scope_id)
        assert connected.remote_addr == (FAR_LOCAL, sink.port, 0, scope_id)

        await endpoint.send(b"one", far)
        await endpoint.send_many([(b"two", far)])
        await endpoint.send(b"threefour ", far, segment_size=5)
        await connected.send(b"five")
        await connected.send(b"six", far)
        await connected.send(END)

        received = b" ".join(await sink.recv_until_end())
        assert received == b"one two three four  five six"


async def test_a_reply_needs_nothing_but_the_address(
    link: Link, scope_id: int, sink: Sink, transport: Any
) -> None:
    """The sender's address comes with its scope, on a dual-stack endpoint too."""
    async with aioudp.bind(("", 0), transport=transport) as endpoint:
        port = endpoint.local_addr[1]
        sink.send(b"question", (f"{NEAR_LOCAL}%{link.far.index(DEVICE)}", port))

        async with asyncio.timeout(5):
            data, addr = await endpoint.recv()
        await endpoint.send(END, addr)

        assert data == b"question"
        assert addr == (FAR_LOCAL, sink.port, 0, scope_id)
        assert await sink.recv() == END


async def test_connect_needs_a_scope(link: Link, transport: Any) -> None:
    """EINVAL, and the message names the peer."""
    with pytest.raises(OSError, match=f"connecting to .*{FAR_LOCAL}") as caught:
        await aioudp.connect((FAR_LOCAL, 9), transport=transport)

    assert caught.value.errno == errno.EINVAL


async def test_send_without_a_scope_takes_the_only_link(
    link: Link, sink: Sink, transport: Any
) -> None:
    """With one link the kernel knows no other way, and goes it."""
    async with aioudp.bind(("::", 0), transport=transport) as endpoint:
        await endpoint.send(END, (FAR_LOCAL, sink.port))

        assert await sink.recv() == END


async def test_an_unknown_zone_is_refused(link: Link, transport: Any) -> None:
    """It is a mistake in the address, so a ValueError, wherever it is given."""
    wrong = f"{FAR_LOCAL}%nowhere", 9
    async with aioudp.bind(("::", 0), transport=transport) as endpoint:
        with pytest.raises(ValueError, match="nowhere"):
            await endpoint.send(b"where?", wrong)
        with pytest.raises(ValueError, match="nowhere"):
            await endpoint.send_many([(b"where?", wrong)])
    with pytest.raises(ValueError, match="nowhere"):
        await aioudp.bind(wrong, transport=transport)
    with pytest.raises(ValueError, match="nowhere"):
        await aioudp.connect(wrong, transport=transport)


async def test_a_zone_is_looked_up_every_time(
    link: Link, sink: Sink, transport: Any
) -> None:
    """An interface may come back under another index, and still be meant."""
    async with aioudp.bind(("::", 0), transport=transport) as endpoint:
        far = f"{FAR_LOCAL}%{DEVICE}", sink.port
        await endpoint.send(b"before", far)
        assert await sink.recv() == b"before"

        before = link.near.index(DEVICE)
        link.near.ip(f"link del {DEVICE}")
        with pytest.raises(ValueError, match=DEVICE):
            await endpoint.send(b"where?", far)
        Link(link.near, link.far)
        assert link.near.index(DEVICE) != before

        await endpoint.send(END, far)
        assert await sink.recv() == END


# -- two links with the same addresses


@dataclass
class Peer:
    """A plain socket at the end of one link; its address is that of the other."""

    sink: Sink
    scope_id: int
    """The index of the near end's interface on that link."""
    index: int
    """The index of the far end's."""

    @property
    def addr(self) -> aioudp.Address:
        """The address, with the scope that makes it this peer's."""
        return FAR_LOCAL, self.sink.port, 0, self.scope_id

    def send(self, data: bytes, port: int) -> None:
        """Send a datagram to the near end of the link."""
        self.sink.send(data, (NEAR_LOCAL, port, 0, self.index))


@pytest.fixture
def peers(link: Link) -> Iterator[list[Peer]]:
    """Open two sockets with the same address and port on two links."""
    with Namespace() as other_far:
        other = Link(link.near, other_far, _OTHER_DEVICE)
        with (
            Sink(link.far, AF_INET6) as one,
            Sink(other.far, AF_INET6, one.port) as two,
        ):
            yield [
                Peer(sink, link.near.index(device), link.far.index(device))
                for sink, link, device in (
                    (one, link, DEVICE),
                    (two, other, _OTHER_DEVICE),
                )
            ]


async def test_each_link_gets_its_own(peers: list[Peer], transport: Any) -> None:
    """Peers that differ in nothing but the scope are different peers."""
    async with aioudp.bind(("::", 0), transport=transport) as endpoint:
        for peer, device in zip(peers, (DEVICE, _OTHER_DEVICE), strict=True):
            await endpoint.send(device.encode(), peer.addr)
            await endpoint.send(b"zone", (f"{FAR_LOCAL}%{device}", peer.sink.port))
            await endpoint.send_many([(END, peer.addr)])

            assert await peer.sink.recv_until_end() == [device.encode(), b"zone"]


async def test_a_train_does_not_mix_links(peers: list[Peer], transport: Any) -> None:
    """Of datagrams of one size, each goes to the peer it was meant for."""
    async with aioudp.bind(("::", 0), transport=transport) as endpoint:
        await endpoint.send_many(
            (b"%d" % number, peers[number % 3 > 0].addr) for number in range(9)
        )
        await endpoint.send_many((END, peer.addr) for peer in peers)

    one, two = [await peer.sink.recv_until_end() for peer in peers]
    assert one == [b"0", b"3", b"6"]
    assert two == [b"1", b"2", b"4", b"5", b"7", b"8"]


async def test_a_reply_leaves_by_the_link_of_the_question(
    peers: list[Peer], transport: Any
) -> None:
    """The address that a question came from leads back to the one who asked."""
    async with aioudp.bind(("", 0), transport=transport) as endpoint:
        for peer in peers:
            peer.send(b"for %d" % peer.scope_id, int(endpoint.local_addr[1]))
        for _ in peers:
            async with asyncio.timeout(5):
                data, addr = await endpoint.recv()
            await endpoint.send(data, addr)

        for peer in peers:
            assert await peer.sink.recv() == b"for %d" % peer.scope_id


async def test_connected_over_one_link(peers: list[Peer], transport: Any) -> None:
    """What comes from the same address over the other link is a third party's."""
    mine, other = peers
    async with aioudp.connect(mine.addr, transport=transport) as endpoint:
        port = int(endpoint.local_addr[1])
        other.send(b"not yours", port)
        mine.send(b"yours", port)

        async with asyncio.timeout(5):
            assert await endpoint.recv() == (b"yours", mine.addr)

        with pytest.raises(ValueError, match="connected to"):
            await endpoint.send(b"lost", other.addr)
        await endpoint.send(END, mine.addr)
        assert await mine.sink.recv() == END
