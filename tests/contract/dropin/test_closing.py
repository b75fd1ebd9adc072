"""close, abort, connection_lost, and transports that nobody closes."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from aioudp._transports.selector import SelectorTransport

from ..support import descriptors, turns
from .support import WAYS, Opener, Recorder


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_connection_lost(opener: Opener, host: str, way: str) -> None:
    """It is called once, with None, and not before the call has returned."""
    transport, protocol = await opener.open(local_addr=(host, 0))

    getattr(transport, way)()
    assert transport.is_closing()
    assert protocol.events == ["made"]
    await protocol.lost()
    transport.close()
    transport.abort()
    await turns(3)

    assert protocol.events == ["made", ("lost", None)]
    assert transport.is_closing()


@pytest.mark.parametrize("calls", [("close", "close"), ("close", "abort")])
async def test_closing_twice(opener: Opener, host: str, calls: list[str]) -> None:
    """The connection is lost once."""
    transport, protocol = await opener.open(local_addr=(host, 0))

    for call in calls:
        getattr(transport, call)()
    await protocol.lost()
    await turns(3)

    assert protocol.events == ["made", ("lost", None)]


async def test_no_datagram_after_close(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """What had arrived and was not read is dropped."""
    transport, protocol = await opener.open(local_addr=(host, 0))
    peer.sendto(b"unread", transport.get_extra_info("sockname"))

    transport.close()
    await protocol.lost()
    await turns(3)

    assert protocol.datagrams == []


async def test_port_is_free_at_once(ours: Opener, host: str) -> None:
    """It can be bound on the next line; asyncio's own needs another turn."""
    transport, _ = await ours.open(local_addr=(host, 0))
    name = transport.get_extra_info("sockname")

    transport.close()

    again, _ = await ours.open(local_addr=name[:2])
    assert again.get_extra_info("sockname") == name


async def test_port_is_free_after_the_end(opener: Opener, host: str) -> None:
    """A turn after connection_lost the port can be bound."""
    transport, protocol = await opener.open(local_addr=(host, 0))
    name = transport.get_extra_info("sockname")

    transport.close()
    await protocol.lost()
    await turns(3)

    again, _ = await opener.open(local_addr=name[:2])
    assert again.get_extra_info("sockname") == name


async def test_sock_is_closed_with_its_transport(opener: Opener, host: str) -> None:
    """It belongs to the transport from the call on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    transport, protocol = await opener.open(sock=sock)

    transport.close()
    await protocol.lost()
    await turns(3)

    assert sock.fileno() == -1


async def test_close_in_connection_made(opener: Opener, host: str) -> None:
    """The call returns a transport that is closed already."""
    opener.leaves_out("uvloop", because="it begins to read what is closed")

    class Brief(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    transport, protocol = await opener.open(Brief, local_addr=(host, 0))
    await protocol.lost()

    assert transport.is_closing()


async def test_opening_and_closing_leaves_nothing(opener: Opener, host: str) -> None:
    """However often."""
    _, protocol = await opener.open(local_addr=(host, 0))  # what is made once
    protocol.transport.close()
    await turns(3)
    before = descriptors()

    for _ in range(20):
        transport, _ = await opener.open(remote_addr=(host, 9))
        transport.close()
        await turns(3)

    assert descriptors() == before


async def test_any_attribute_can_be_set(opener: Opener, host: str) -> None:
    """asyncio's own transports allow it, and some libraries count on it."""
    opener.leaves_out("uvloop", because="its transports are closed to that")
    transport, _ = await opener.open(local_addr=(host, 0))

    transport._address = ("somebody's", "own")

    assert transport._address == ("somebody's", "own")


# -- forgotten


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("connected", [False, True])
def test_forgotten_transport(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], way: str, connected: bool
) -> None:
    """One that was not closed warns when it is collected, and the socket is closed.

    The socket may warn as well, if the collector comes to it first.
    """
    loop = loop_factory()
    if way != "ours" and type(loop).__module__ == "uvloop":
        loop.close()
        pytest.skip("cannot: the own method of uvloop: it warns in words of its own")
    addr: Any = {
        "remote_addr" if connected else "local_addr": ("127.0.0.1", 9 * connected)
    }

    def forget(loop: asyncio.AbstractEventLoop) -> int:
        transport: Any
        transport, _ = loop.run_until_complete(Opener(way).open(**addr))
        descriptor: int = transport.get_extra_info("socket").fileno()
        loop.close()
        return descriptor

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        descriptor = forget(loop)
        del loop
        gc.collect()

    assert {each.category for each in caught} == {ResourceWarning}
    messages = [str(each.message) for each in caught]
    assert len([text for text in messages if "unclosed transport <" in text]) == 1
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_transport_that_was_never_made() -> None:
    """One whose making failed owns nothing, and so does not warn."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SelectorTransport.__new__(SelectorTransport).__del__()

    assert caught == []


def test_closed_transport_does_not_warn(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Nor does one that is closed as the last thing before the loop ends."""
    loop = loop_factory()

    async def main() -> None:
        transport, _ = await Opener("ours").open(local_addr=("127.0.0.1", 0))
        transport.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run_until_complete(main())
        loop.close()
        gc.collect()

    assert caught == []
