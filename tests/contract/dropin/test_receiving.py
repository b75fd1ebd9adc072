"""What reaches the protocol: datagrams, errors, batches; pausing; other protocols."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

import aioudp

from ..support import descriptors, plain_socket, refusing_address, turns
from .support import Opener, Recorder, Reports


def send_numbers(peer: socket.socket, transport: Any, count: int) -> list[bytes]:
    """Let *peer* send so many numbered datagrams to the transport."""
    sent = [b"%d" % number for number in range(count)]
    for data in sent:
        peer.sendto(data, transport.get_extra_info("sockname"))
    return sent


# -- datagrams


async def test_order(opener: Opener, peer: socket.socket, host: str) -> None:
    """What one peer sends arrives in order, each datagram once."""
    transport, protocol = await opener.open(local_addr=(host, 0))

    sent = send_numbers(peer, transport, 100)

    assert await protocol.received(100) == sent


@pytest.mark.parametrize("size", [0, 1, 1472, 65507])
async def test_size(opener: Opener, peer: socket.socket, host: str, size: int) -> None:
    """From empty to the longest that UDP can carry over IPv4."""
    transport, protocol = await opener.open(local_addr=(host, 0))
    data = bytes(range(256)) * 256

    peer.sendto(data[:size], transport.get_extra_info("sockname"))
    peer.sendto(b"next", transport.get_extra_info("sockname"))

    assert await protocol.received(2) == [data[:size], b"next"]


async def test_train(opener: Opener, host: str) -> None:
    """What was sent as one train arrives as the datagrams that it was made of."""
    async with aioudp.bind((host, 0)) as sender:
        transport, protocol = await opener.open(local_addr=(host, 0))

        name = transport.get_extra_info("sockname")
        await sender.send(bytes(range(250)) * 4, name, segment_size=30)

        received = await protocol.received(34)
        assert b"".join(received) == bytes(range(250)) * 4
        assert [len(data) for data in received] == [30] * 33 + [10]
        assert {addr for _, addr in protocol.datagrams} == {sender.local_addr}


async def test_what_came_before_the_connect(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """On a socket that was bound first: the peer's own datagrams are not lost."""
    sock = socket.socket(peer.family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    peer.sendto(b"early", sock.getsockname())
    sock.connect(peer.getsockname())
    _, protocol = await opener.open(sock=sock)

    assert await protocol.received(1) == [b"early"]
    assert protocol.datagrams[0][1] == peer.getsockname()


# -- pausing


async def test_pause_reading(opener: Opener, peer: socket.socket, host: str) -> None:
    """What comes meanwhile stays in the kernel, and arrives when reading resumes."""
    opener.leaves_out("uvloop", because="it has no pause_reading", wrapped=True)
    transport, protocol = await opener.open(local_addr=(host, 0))
    assert transport.is_reading()

    transport.pause_reading()
    sent = send_numbers(peer, transport, 20)
    await turns(5)
    assert protocol.datagrams == []
    assert not transport.is_reading()
    transport.resume_reading()
    transport.resume_reading()

    assert await protocol.received(20) == sent
    assert transport.is_reading()


async def test_pause_reading_in_a_callback(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """The next datagram comes after reading resumes, even if it was read already."""
    opener.leaves_out("uvloop", because="it has no pause_reading", wrapped=True)

    class OneAtATime(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.pause_reading()

    transport, protocol = await opener.open(OneAtATime, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 20)

    for number in range(20):
        assert await protocol.received(number + 1) == sent[: number + 1]
        await turns(3)
        assert len(protocol.datagrams) == number + 1
        transport.resume_reading()
    await turns(3)
    assert len(protocol.datagrams) == 20


async def test_pause_and_resume_in_a_callback(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """It changes nothing: all arrive, in order."""
    opener.leaves_out("uvloop", because="it has no pause_reading", wrapped=True)

    class Nervous(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.pause_reading()
            super().datagram_received(data, addr)
            self.transport.resume_reading()

    transport, protocol = await opener.open(Nervous, local_addr=(host, 0))
    first = send_numbers(peer, transport, 20)
    await protocol.received(5)
    second = send_numbers(peer, transport, 20)

    assert await protocol.received(40) == first + second


async def test_pause_reading_in_connection_made(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """Reading does not even begin."""
    opener.leaves_out("uvloop", because="it has no pause_reading", wrapped=True)

    class Late(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    transport, protocol = await opener.open(Late, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 3)
    await turns(5)
    assert protocol.datagrams == []

    transport.resume_reading()

    assert await protocol.received(3) == sent


async def test_close_while_paused(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """What was not read is not delivered any more; resuming does nothing."""
    opener.leaves_out("uvloop", because="it has no pause_reading", wrapped=True)
    transport, protocol = await opener.open(local_addr=(host, 0))
    transport.pause_reading()
    send_numbers(peer, transport, 3)

    transport.close()
    transport.resume_reading()
    await protocol.lost()
    await turns(3)

    assert protocol.datagrams == []
    assert not transport.is_reading()


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_close_in_a_callback(
    opener: Opener, peer: socket.socket, host: str, way: str
) -> None:
    """No further datagram is delivered, even if it was read already."""

    class OneIsEnough(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            getattr(self.transport, way)()

    transport, protocol = await opener.open(OneIsEnough, local_addr=(host, 0))
    send_numbers(peer, transport, 10)

    await protocol.lost()
    await turns(3)

    assert protocol.payloads == [b"0"]
    assert protocol.events == ["made", ("lost", None)]


# -- another protocol


async def test_set_protocol(opener: Opener, peer: socket.socket, host: str) -> None:
    """From then on the new one hears; connection_made is not called again."""
    transport, first = await opener.open(local_addr=(host, 0))
    second = Recorder()

    transport.set_protocol(second)
    send_numbers(peer, transport, 2)
    await second.received(2)
    transport.close()
    await second.lost()

    assert transport.get_protocol() in (second, None)
    assert first.datagrams == []
    assert first.events == ["made"]
    assert second.events == [("lost", None)]
    first.note(("lost", None))  # nothing is left for the fixture to wait for


async def test_set_protocol_in_a_callback(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """The very next datagram is for the new one, even if it was read already."""
    second = Recorder()

    class Handing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.set_protocol(second)

    transport, first = await opener.open(Handing, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 20)

    await second.received(19)
    transport.close()
    await second.lost()

    assert first.payloads == sent[:1]
    assert second.payloads == sent[1:]
    first.note(("lost", None))


# -- protocols that raise


async def test_datagram_received_that_raises(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """The exception handler is called; the other datagrams arrive, in order."""
    reports = Reports()
    error = LookupError("datagram_received")

    class Clumsy(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if int(data) % 3 == 0:
                raise error

    transport, protocol = await opener.open(Clumsy, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 20)
    await protocol.received(20)
    sent += send_numbers(peer, transport, 20)

    assert await protocol.received(40) == sent
    await turns(2)
    assert reports.exceptions == [error] * 14
    assert not transport.is_closing()


async def test_error_received_that_raises(opener: Opener, host: str) -> None:
    """The exception handler is called; reading goes on."""
    opener.leaves_out("uvloop", because="the handler is not called", wrapped=True)
    reports = Reports()
    error = LookupError("error_received")

    class Clumsy(Recorder):
        def error_received(self, exc: Exception) -> None:
            super().error_received(exc)
            raise error

    with refusing_address(host) as addr:
        transport, protocol = await opener.open(Clumsy, remote_addr=addr[:2])
        for count in (1, 2):
            transport.sendto(b"anybody there?")
            await protocol.until(lambda n=count: len(protocol.errors) >= n)
        await turns(2)

    assert {type(each) for each in protocol.errors} == {ConnectionRefusedError}
    assert reports.exceptions == [error, error]


async def test_connection_made_that_raises(
    opener: Opener, peer: socket.socket, host: str
) -> None:
    """The exception handler is called; the call succeeds and the transport works."""
    opener.leaves_out("uvloop", because="the call raises what connection_made raises")
    reports = Reports()
    error = LookupError("connection_made")

    class Clumsy(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise error

    transport, protocol = await opener.open(Clumsy, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 1)

    assert await protocol.received(1) == sent
    assert reports.exceptions == [error]


async def test_interrupt_in_connection_made(ours: Opener, host: str) -> None:
    """Ctrl-C is nobody's mistake: it comes out, and nothing is left open."""
    before = descriptors()

    class Interrupted(Recorder):
        def connection_made(self, transport: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await ours.open(Interrupted, local_addr=(host, 0))
    assert descriptors() == before


async def test_connection_lost_that_raises(opener: Opener, host: str) -> None:
    """The exception handler is called; the port is free all the same."""
    reports = Reports()
    error = LookupError("connection_lost")

    class Clumsy(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise error

    transport, protocol = await opener.open(Clumsy, local_addr=(host, 0))
    name = transport.get_extra_info("sockname")
    transport.close()
    await protocol.lost()
    await turns(3)

    assert reports.exceptions == [error]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, 2) as sock:
        sock.bind(name)


# -- batches, which only ours has


class BatchRecorder(Recorder):
    """Takes its datagrams in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Any]] = []

    def datagrams_received(self, datagrams: list[aioudp.Datagram]) -> None:
        self.batches.append(datagrams)
        self.datagrams += datagrams
        self._changed.set()

    def datagram_received(self, data: Any, addr: Any) -> None:
        pytest.fail("this protocol takes batches")


async def test_batches(ours: Opener, peer: socket.socket, host: str) -> None:
    """Whole lists of datagrams, with the names of their parts."""
    transport, protocol = await ours.open(BatchRecorder, local_addr=(host, 0))

    sent = send_numbers(peer, transport, 50)

    assert await protocol.received(50) == sent
    assert len(protocol.batches) < 50
    first = protocol.batches[0][0]
    assert type(first) is aioudp.Datagram
    assert (first.data, first.addr) == (b"0", peer.getsockname())


async def test_wanted(ours: Opener, peer: socket.socket, host: str) -> None:
    """A protocol may say how many it has room for."""

    class Choosy(BatchRecorder):
        def datagrams_wanted(self) -> int:
            return 3

    transport, protocol = await ours.open(Choosy, local_addr=(host, 0), flags=0)

    sent = send_numbers(peer, transport, 10)

    assert await protocol.received(10) == sent
    assert max(map(len, protocol.batches)) <= 3


async def test_batch_after_set_protocol(
    ours: Opener, peer: socket.socket, host: str
) -> None:
    """A protocol set in the middle of a batch gets the rest as one."""
    second = BatchRecorder()

    class Handing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.set_protocol(second)

    transport, first = await ours.open(Handing, local_addr=(host, 0))
    sent = send_numbers(peer, transport, 20)

    assert await second.received(19) == sent[1:]
    assert [] not in second.batches
    transport.close()
    await second.lost()
    first.note(("lost", None))


async def test_batch_that_raises(ours: Opener, peer: socket.socket, host: str) -> None:
    """The exception handler is called; the next batch comes."""
    reports = Reports()
    error = LookupError("datagrams_received")

    class Clumsy(BatchRecorder):
        def datagrams_received(self, datagrams: list[aioudp.Datagram]) -> None:
            super().datagrams_received(datagrams)
            raise error

    transport, protocol = await ours.open(Clumsy, local_addr=(host, 0))
    for count in (1, 2):
        send_numbers(peer, transport, 1)
        await protocol.received(count)
        await turns(2)

    assert reports.exceptions == [error, error]


async def test_early_datagrams_in_a_callback_that_raises(
    ours: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while the call was connecting is handed over by the same rules."""
    reports = Reports()
    error = LookupError("datagram_received")

    class Clumsy(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise error

    with plain_socket("127.0.0.1") as peer:
        original = socket.socket.connect

        def connect(sock: socket.socket, addr: Any) -> None:
            for data in (b"one", b"two"):
                peer.sendto(data, sock.getsockname())
            original(sock, addr)

        monkeypatch.setattr(socket.socket, "connect", connect, raising=False)
        _, protocol = await ours.open(
            Clumsy, local_addr=("127.0.0.1", 0), remote_addr=peer.getsockname()
        )

        assert await protocol.received(2) == [b"one", b"two"]
        await turns(1)
        assert reports.exceptions == [error, error]
        assert protocol.datagrams[0][1] == peer.getsockname()


async def test_readable_error_without_a_datagram(opener: Opener, host: str) -> None:
    """An ICMP error reaches error_received without any further call of sendto."""
    with refusing_address(host) as addr:
        transport, protocol = await opener.open(remote_addr=addr[:2])

        transport.sendto(b"anybody there?")
        await protocol.until(lambda: protocol.errors)

        assert protocol.errors[0].errno == errno.ECONNREFUSED
        await asyncio.sleep(0)
        assert len(protocol.errors) == 1
