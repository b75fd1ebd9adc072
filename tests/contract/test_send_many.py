"""``send_many``: several datagrams in one call, each with its own error."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import linux_only, plain_socket, read

if TYPE_CHECKING:
    from tests.conftest import Endpoints


async def test_order_of_many(endpoints: Endpoints, peer: socket.socket) -> None:
    """Datagrams of all sizes go out whole and in the order given (B069)."""
    sizes = [3, 3, 3, 2, 3, 0, 0, 5, 5, 6, 6, 1, 1400, 1400, 7, 0]
    payloads = [bytes([index]) * size for index, size in enumerate(sizes)]
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send_many([(payload, None) for payload in payloads])

    assert read(peer, len(payloads)) == payloads
    assert endpoint.stats().sent == len(payloads)
    assert endpoint.stats().sent_bytes == sum(sizes)


async def test_many_destinations(
    endpoints: Endpoints, peer: socket.socket, host: str
) -> None:
    """Each datagram goes to its own destination, in order."""
    endpoint = await endpoints.bind()
    with plain_socket(host) as other:
        here, there = peer.getsockname(), other.getsockname()

        await endpoint.send_many(
            [(b"1", here), (b"2", here), (b"3", there), (b"4", here), (b"5", there)]
        )

        assert read(peer, 3) == [b"1", b"2", b"4"]
        assert read(other, 2) == [b"3", b"5"]


async def test_many_from_a_generator(endpoints: Endpoints, peer: socket.socket) -> None:
    """Any iterable will do, a generator too."""
    endpoint = await endpoints.connect(peer.getsockname())

    await endpoint.send_many((b"%d" % number, None) for number in range(20))

    assert read(peer, 20) == [b"%d" % number for number in range(20)]


async def test_more_than_a_chunk(endpoints: Endpoints) -> None:
    """Thousands of datagrams go out once each, in order."""
    payloads = [b"%d" % number for number in range(3000)]
    server, client = await endpoints.pair(queue_size=4000)

    await client.send_many((payload, None) for payload in payloads)

    assert client.stats().sent == 3000
    received = [(await server.recv()).data for _ in range(3000)]
    assert received == payloads


async def test_none_of_many(endpoints: Endpoints) -> None:
    """An empty iterable sends nothing."""
    endpoint = await endpoints.bind()

    await endpoint.send_many([])

    assert endpoint.stats().sent == 0


async def test_none_of_many_after_close(endpoints: Endpoints) -> None:
    """On a closed endpoint even an empty iterable is refused (B081)."""
    endpoint = await endpoints.bind()
    await endpoint.aclose()

    with pytest.raises(aioudp.EndpointClosedError):
        await endpoint.send_many([])


@linux_only
async def test_some_of_many_are_refused(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """The refused are reported by index, and all the others are out (B094)."""
    too_long = bytes(70_000)
    payloads = [too_long, b"1", b"2", too_long, too_long, b"5", b"6", too_long]
    endpoint = await endpoints.bind()

    with pytest.raises(aioudp.SendManyError) as caught:
        await endpoint.send_many((data, peer.getsockname()) for data in payloads)

    assert {
        index: error.errno for index, error in caught.value.errors.items()
    } == dict.fromkeys((0, 3, 4, 7), errno.EMSGSIZE)
    assert "70000" in str(caught.value)
    assert repr(peer.getsockname()) in str(caught.value)
    assert read(peer, 4) == [b"1", b"2", b"5", b"6"]
    assert endpoint.stats().sent == 4
    assert endpoint.stats().send_errors == 4


@linux_only
async def test_index_in_a_later_chunk(endpoints: Endpoints) -> None:
    """The index of a refused datagram counts from the beginning of the iterable."""
    server, client = await endpoints.pair()
    payloads = [b""] * 2500
    payloads[1024] = payloads[2499] = bytes(70_000)

    with pytest.raises(aioudp.SendManyError) as caught:
        await client.send_many((data, None) for data in payloads)

    assert sorted(caught.value.errors) == [1024, 2499]
    assert client.stats().sent == 2498
    assert not server.closed


@pytest.mark.parametrize(
    "item",
    [
        None,
        5,
        b"ab",
        b"abc",
        "ab",
        (),
        (b"alone",),
        (b"one", None, "too many"),
        ("str", None),
        (b"data", 5),
    ],
    ids=repr,
)
async def test_item_that_is_no_pair(
    endpoints: Endpoints, peer: socket.socket, item: Any
) -> None:
    """An item that is not a payload and an address is a TypeError (B061)."""
    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(TypeError):
        await endpoint.send_many([item])

    await endpoint.send(b"usable")
    assert read(peer) == [b"usable"]


@pytest.mark.parametrize("datagrams", [None, 5, object()], ids=repr)
async def test_many_of_what_is_no_iterable(
    endpoints: Endpoints, datagrams: Any
) -> None:
    """What cannot be iterated over is a TypeError."""
    endpoint = await endpoints.bind()

    with pytest.raises(TypeError):
        await endpoint.send_many(datagrams)


async def test_generator_that_fails(endpoints: Endpoints, peer: socket.socket) -> None:
    """What the iterable gave goes out, then its own exception is raised."""

    def datagrams() -> Iterator[tuple[bytes, None]]:
        yield b"one", None
        yield b"two", None
        raise LookupError

    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(LookupError) as caught:
        await endpoint.send_many(datagrams())

    await endpoint.send(b"usable")
    assert read(peer, 3) == [b"one", b"two", b"usable"]
    assert caught.value.__context__ is None


async def test_generator_that_fails_after_a_refusal(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """What the system has refused by then is reported with its exception."""

    def datagrams() -> Iterator[tuple[bytes, None]]:
        yield b"one", None
        yield bytes(70_000), None
        yield b"two", None
        raise LookupError

    endpoint = await endpoints.connect(peer.getsockname())

    with pytest.raises(LookupError) as caught:
        await endpoint.send_many(datagrams())

    assert read(peer, 2) == [b"one", b"two"]
    refused = caught.value.__context__
    assert isinstance(refused, aioudp.SendManyError)
    assert [error.errno for error in refused.errors.values()] == [errno.EMSGSIZE]
    assert [*refused.errors] == [1]


async def test_wrong_datagram_after_a_refusal(
    endpoints: Endpoints, peer: socket.socket
) -> None:
    """So it is with a datagram that is none, in a later part of a long iterable."""
    endpoint = await endpoints.connect(peer.getsockname())
    wrong: Any = [(bytes(70_000), None), *[(b"x", None)] * 1500, ("text", None)]

    with pytest.raises(TypeError) as caught:
        await endpoint.send_many(wrong)

    refused = caught.value.__context__
    assert isinstance(refused, aioudp.SendManyError)
    assert [*refused.errors] == [0]
