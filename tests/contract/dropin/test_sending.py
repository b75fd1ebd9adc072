"""sendto: what it takes, what it refuses, and when the datagrams are out."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import time
from typing import Any

import pytest

from ..support import plain_socket, refusing_address, turns
from .support import Opener, Recorder, drain

IN_ONE_TURN = 10_000


# -- payloads and addresses


@pytest.mark.parametrize(
    "data",
    [b"hello", bytearray(b"hello"), memoryview(b"hello"), memoryview(b"_hello")[1:]],
    ids=["bytes", "bytearray", "memoryview", "slice"],
)
async def test_payload(opener: Opener, peer: socket.socket, data: Any) -> None:
    """Whatever is bytes-like is sent as its bytes."""
    transport, _ = await opener.open(local_addr=(peer.getsockname()[0], 0))

    assert transport.sendto(data, peer.getsockname()) is None
    transport.sendto(data, peer.getsockname())
    await asyncio.sleep(0)

    assert drain(peer) == [b"hello"] * 2


async def test_empty_datagram(opener: Opener, peer: socket.socket) -> None:
    """It is one like any other."""
    opener.leaves_out("asyncio", because="it drops empty datagrams", fixed=(3, 13))
    opener.leaves_out("uvloop", because="it drops empty datagrams")
    transport, _ = await opener.open(local_addr=(peer.getsockname()[0], 0))

    for data in (b"", b"one", b"", b"", b"two"):
        transport.sendto(data, peer.getsockname())
    await asyncio.sleep(0)

    assert drain(peer) == [b"", b"one", b"", b"", b"two"]


@pytest.mark.parametrize("data", ["text", 3, ["list"], object()])
async def test_what_is_no_payload(
    opener: Opener, peer: socket.socket, data: Any
) -> None:
    """It is a TypeError, and nothing is sent."""
    transport, protocol = await opener.open(local_addr=(peer.getsockname()[0], 0))

    with pytest.raises(TypeError):
        transport.sendto(data, peer.getsockname())
    await asyncio.sleep(0)

    assert drain(peer) == []
    assert protocol.errors == []


async def test_address_of_the_peer(opener: Opener, peer: socket.socket) -> None:
    """A connected transport takes it, or none."""
    name = peer.getsockname()
    transport, _ = await opener.open(remote_addr=name[:2])

    transport.sendto(b"one")
    transport.sendto(b"two", None)
    transport.sendto(b"three", name)
    await asyncio.sleep(0)

    assert drain(peer) == [b"one", b"two", b"three"]


async def test_address_of_another(opener: Opener, peer: socket.socket) -> None:
    """A connected transport takes no other: a ValueError, and nothing is sent."""
    name = peer.getsockname()
    transport, protocol = await opener.open(remote_addr=name[:2])

    with plain_socket(name[0]) as other, pytest.raises(ValueError):
        transport.sendto(b"astray", other.getsockname())
    with pytest.raises(ValueError):
        transport.sendto(b"astray", (name[0], 0, *name[2:]))
    transport.sendto(b"hello")

    assert peer.recv(100) == b"hello"
    assert protocol.errors == []


@pytest.mark.parametrize(
    ("addr", "error"),
    [
        (("localhost", 9), ValueError),
        (("::1", 9), ValueError),
        (("127.0.0.1", "9"), TypeError),
        (("127.0.0.1",), TypeError),
        ((9, "127.0.0.1"), TypeError),
        ("127.0.0.1", TypeError),
    ],
)
async def test_address_that_is_none(ours: Opener, addr: Any, error: Any) -> None:
    """The caller's mistake is raised; the transport survives, unlike asyncio's own."""
    with plain_socket("127.0.0.1") as peer:
        transport, protocol = await ours.open(local_addr=("127.0.0.1", 0))

        with pytest.raises(error):
            transport.sendto(b"astray", addr)
        transport.sendto(b"hello", peer.getsockname())

        assert peer.recv(100) == b"hello"
        assert protocol.errors == []


# -- the network's errors


async def refused(protocol: Recorder, number: int) -> None:
    """Expect this one error, and no exception from ``sendto``."""
    await protocol.until(lambda: protocol.errors)
    (error,) = protocol.errors
    assert isinstance(error, OSError)
    assert error.errno == number


@pytest.mark.parametrize("position", ["first of its turn", "gathered"])
@pytest.mark.parametrize(
    ("number", "data", "addr"),
    [
        pytest.param(errno.EMSGSIZE, bytes(65508), None, id="too long"),
        pytest.param(errno.EACCES, b"x", ("255.255.255.255", 9), id="broadcast"),
        pytest.param(errno.EINVAL, b"x", ("127.0.0.1", 0), id="port 0"),
    ],
)
async def test_error_of_the_network(
    opener: Opener, position: str, number: int, data: bytes, addr: Any
) -> None:
    """It goes to error_received; what was sent before and after it is out."""
    with plain_socket("127.0.0.1") as peer:
        name = peer.getsockname()
        transport, protocol = await opener.open(local_addr=("127.0.0.1", 0))

        if position == "gathered":
            transport.sendto(b"before", name)
        transport.sendto(data, addr or name)
        transport.sendto(b"after", name)
        await refused(protocol, number)
        await asyncio.sleep(0)

        assert drain(peer)[-1:] == [b"after"]
        assert not transport.is_closing()


async def test_no_address(opener: Opener, peer: socket.socket) -> None:
    """Without a peer it is an error of the network, and the transport stays open."""
    opener.leaves_out("asyncio", because="it closes the transport")
    transport, protocol = await opener.open(local_addr=(peer.getsockname()[0], 0))

    transport.sendto(b"whither?")
    await refused(protocol, errno.EDESTADDRREQ)
    transport.sendto(b"hello", peer.getsockname())
    await asyncio.sleep(0)

    assert drain(peer) == [b"hello"]


async def test_refused(opener: Opener, host: str) -> None:
    """Nobody listens: a connected transport hears of it, and stays open."""
    with refusing_address(host) as addr:
        transport, protocol = await opener.open(remote_addr=addr[:2])

        transport.sendto(b"anybody there?")
        await refused(protocol, errno.ECONNREFUSED)

        assert isinstance(protocol.errors[0], ConnectionRefusedError)
    with socket.socket(transport.get_extra_info("socket").family, 2) as late:
        late.bind(addr)
        late.settimeout(10)
        transport.sendto(b"and now?")

        assert late.recv(100) == b"and now?"


async def test_refused_again_and_again(opener: Opener, host: str) -> None:
    """Each refusal is reported; none stops the reading."""
    with refusing_address(host) as addr:
        transport, protocol = await opener.open(remote_addr=addr[:2])

        for count in range(1, 6):
            transport.sendto(b"anybody there?")
            await protocol.until(lambda n=count: len(protocol.errors) >= n)

        assert {type(error) for error in protocol.errors} == {ConnectionRefusedError}


# -- after the end


async def test_after_close(opener: Opener, peer: socket.socket) -> None:
    """It is ignored, before and after connection_lost, and so is any network error."""
    transport, protocol = await opener.open(remote_addr=peer.getsockname()[:2])
    transport.close()

    transport.sendto(b"too late")
    await protocol.lost()
    for _ in range(10):
        transport.sendto(b"much too late")
    await turns(3)

    assert drain(peer) == []
    assert protocol.errors == []
    assert protocol.events == ["made", ("lost", None)]


async def test_after_close_unconnected(opener: Opener, peer: socket.socket) -> None:
    """The same with an address, even one that nothing can be sent to."""
    opener.leaves_out("asyncio", because="it sends, and breaks after connection_lost")
    name = peer.getsockname()
    transport, protocol = await opener.open(local_addr=(name[0], 0))
    transport.close()

    transport.sendto(b"too late", name)
    transport.sendto(b"too late", (name[0], 0))
    await protocol.lost()
    transport.sendto(b"much too late", name)
    await turns(3)

    assert drain(peer) == []
    assert protocol.errors == []


# -- when it is out


async def test_a_lone_datagram_is_out_at_once(
    opener: Opener, peer: socket.socket
) -> None:
    """The receiver has it before the event loop turns; so the first of every turn."""
    transport, _ = await opener.open(local_addr=(peer.getsockname()[0], 0))

    for number in range(5):
        transport.sendto(b"%d" % number, peer.getsockname())
        assert drain(peer) == [b"%d" % number]
        await asyncio.sleep(0)


async def test_the_rest_is_out_after_the_turn(
    opener: Opener, peer: socket.socket
) -> None:
    """One turn of the event loop later everything is there, in order."""
    transport, _ = await opener.open(local_addr=(peer.getsockname()[0], 0))
    sent = [b"%d" % number for number in range(100)]

    for data in sent:
        transport.sendto(data, peer.getsockname())
    at_once = drain(peer)
    await asyncio.sleep(0)

    assert at_once + drain(peer) == sent
    assert at_once == (sent[:1] if opener.ours else sent)


async def test_many_in_one_turn(opener: Opener, peer: socket.socket) -> None:
    """They all arrive, in order, if the receiver keeps up."""
    transport, protocol = await opener.open(local_addr=(peer.getsockname()[0], 0))
    sent = [b"%d" % number for number in range(IN_ONE_TURN)]

    received = []
    for number, data in enumerate(sent):
        transport.sendto(data, peer.getsockname())
        if number % 50 == 0:
            received += drain(peer)
    await asyncio.sleep(0)
    received += drain(peer)

    assert received == sent
    assert protocol.errors == []
    assert protocol.events == ["made"]


async def test_mixed_sizes_and_receivers(opener: Opener, host: str) -> None:
    """Each receiver gets its own datagrams, whole and in order."""
    chance = random.Random(20)
    with (
        plain_socket(host) as one,
        plain_socket(host) as two,
        plain_socket(host) as three,
    ):
        peers = [one, two, three]
        transport, _ = await opener.open(local_addr=(host, 0))
        expected: dict[Any, list[bytes]] = {peer: [] for peer in peers}
        received: dict[Any, list[bytes]] = {peer: [] for peer in peers}

        for number in range(1500):
            peer = chance.choice(peers)
            size = chance.choice([4, 4, 4, 5, 100, 100, 1200, 1200, 1400])
            data = number.to_bytes(4, "big") * (size // 4 + 1)
            expected[peer].append(data[:size])
            transport.sendto(data[:size], peer.getsockname())
            if number % 20 == 0:
                await asyncio.sleep(0)
                for each in peers:
                    received[each] += drain(each)
        await asyncio.sleep(0)
        for each in peers:
            received[each] += drain(each)

        assert received == expected


async def test_buffer_that_changes(opener: Opener, peer: socket.socket) -> None:
    """Whatever becomes of the caller's buffer, what was sent is what it held."""
    transport, _ = await opener.open(local_addr=(peer.getsockname()[0], 0))
    data = bytearray(1)

    for number in range(10):
        data[0] = number
        transport.sendto(data, peer.getsockname())
    data.clear()  # nobody holds it any more, so it can change its size
    await asyncio.sleep(0)

    assert drain(peer) == [bytes([number]) for number in range(10)]


async def test_sending_from_a_callback(opener: Opener, peer: socket.socket) -> None:
    """An answer that is sent from datagram_received is out at once."""

    class Echo(Recorder):
        def datagram_received(self, data: Any, addr: Any) -> None:
            self.transport.sendto(data, addr)
            super().datagram_received(data, addr)

    transport, protocol = await opener.open(Echo, local_addr=(peer.getsockname()[0], 0))

    for number in range(5):
        peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        await protocol.received(number + 1)
        assert drain(peer) == [b"%d" % number]


async def test_sending_from_connection_made(
    opener: Opener, peer: socket.socket
) -> None:
    """The transport works from the first."""

    class Greeter(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.sendto(b"one")
            transport.sendto(b"two")

    await opener.open(Greeter, remote_addr=peer.getsockname()[:2])
    await asyncio.sleep(0)

    assert drain(peer) == [b"one", b"two"]


async def test_what_was_gathered_leaves_when_closed(
    opener: Opener, peer: socket.socket
) -> None:
    """close() in the same turn loses nothing."""
    transport, protocol = await opener.open(remote_addr=peer.getsockname()[:2])
    sent = [b"%d" % number for number in range(10)]

    for data in sent:
        transport.sendto(data)
    transport.close()
    await protocol.lost()

    assert drain(peer) == sent


async def test_what_was_gathered_is_dropped_when_aborted(
    ours: Opener, peer: socket.socket
) -> None:
    """abort() forgets what is not out yet."""
    transport, protocol = await ours.open(remote_addr=peer.getsockname()[:2])

    for number in range(10):
        transport.sendto(b"%d" % number)
    transport.abort()
    await protocol.lost()

    assert drain(peer) == [b"0"]
    assert transport.get_write_buffer_size() == 0


async def test_another_thread(opener: Opener, peer4: socket.socket) -> None:
    """What it sends is out at once, though the loop sleeps."""
    transport, _ = await opener.open(local_addr=("127.0.0.1", 0))
    addr = peer4.getsockname()
    sent = [b"1", b"2", b"3"]
    received: list[bytes] = []

    def send() -> None:
        time.sleep(0.1)  # nothing reports that the loop sleeps by now
        for data in sent:
            transport.sendto(data, addr)
        received.extend(peer4.recv(100) for _ in sent)

    await asyncio.get_running_loop().run_in_executor(None, send)

    assert received == sent
