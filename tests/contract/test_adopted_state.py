"""Adopted sockets: whatever state they are in, the endpoint is like any other.

Each test prepares a socket as somebody else might have, and keeps a duplicate of its
descriptor, which shows what is left of it afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

import aioudp
from aioudp._endpoint import opening
from aioudp._system import adoption

from .support import (
    AF_UNIX,
    linux_only,
    needs_ipv6,
    plain_socket,
    read,
    refusing_address,
    unix_only,
)

pytestmark = linux_only
if sys.platform != "linux":  # for type checkers, too: it's about Linux's options
    pytest.skip("cannot: linux: this is about Linux alone", allow_module_level=True)

# include/uapi/linux/udp.h, in.h, in6.h and include/uapi/asm-generic/socket.h
MSG_MORE: Final = 0x8000  # include/linux/socket.h
UDP_CORK: Final = socket.IPPROTO_UDP, 1
UDP_SEGMENT: Final = socket.IPPROTO_UDP, 103
UDP_GRO: Final = socket.IPPROTO_UDP, 104
IP_RECVERR: Final = socket.IPPROTO_IP, 11
SO_TIMESTAMPING: Final = socket.SOL_SOCKET, 37
SO_RXQ_OVFL: Final = socket.SOL_SOCKET, 40
SO_PEEK_OFF: Final = socket.SOL_SOCKET, 42
MSG_ERRQUEUE: Final = 0x2000

# SOF_TIMESTAMPING_TX_SOFTWARE and _SOFTWARE, include/uapi/linux/net_tstamp.h
TX_TIMESTAMPS: Final = 1 << 1 | 1 << 4

NO_TRAINS: Final = [
    pytest.param({"offload": False}, id="no-offload"),
    pytest.param({"transport": "loop"}, id="loop"),
]
EITHER: Final = [
    pytest.param({"transport": "selector"}, id="selector"),
    pytest.param({"transport": "loop"}, id="loop"),
]


@contextmanager
def prepared(host: str = "127.0.0.1", *options: Any) -> Iterator[Any]:
    """Give a bound socket with these options, and a duplicate of it."""
    with plain_socket(host) as sock, sock.dup() as other:
        for level, option, value in options:
            sock.setsockopt(level, option, value)
        yield sock, other


def send_train(sock: socket.socket, addr: Any, *payloads: bytes) -> None:
    """Send payloads of equal size in one call, so that they can be joined again."""
    size = struct.pack("=H", len(payloads[0]))
    control = [(*UDP_SEGMENT, size)]
    assert sock.sendmsg([b"".join(payloads)], control, 0, addr) > 0


async def next_payloads(endpoint: aioudp.Endpoint, count: int) -> list[bytes]:
    return [(await endpoint.recv()).data for _ in range(count)]


TEN: Final = [b"%d" % number * 100 for number in range(10)]


# -- what arrives


@pytest.mark.parametrize("options", [*NO_TRAINS, pytest.param({}, id="default")])
@pytest.mark.parametrize("when", ["before", "after", "both"])
async def test_ten_datagrams_are_ten(host: str, options: Any, when: str) -> None:
    """UDP_GRO was on: what had been joined is taken apart, and nothing is joined."""
    with prepared(host, (*UDP_GRO, 1)) as (sock, _), plain_socket(host) as peer:
        expected: list[bytes] = []
        if when != "after":
            send_train(peer, sock.getsockname(), *TEN)
            expected += TEN
        async with aioudp.adopt(sock, **options) as endpoint:
            if when != "before":
                send_train(peer, endpoint.local_addr, *TEN)
                expected += TEN

            assert await next_payloads(endpoint, len(expected)) == expected
            stats = endpoint.stats()

    assert stats.received == len(expected)
    assert stats.received_bytes == sum(map(len, expected))
    assert stats.truncated == 0


@pytest.mark.parametrize("options", NO_TRAINS)
async def test_trains_that_come_all_the_time(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes while the joining is switched off is taken apart as well."""
    with (
        prepared("127.0.0.1", (*UDP_GRO, 1)) as (sock, _),
        plain_socket("127.0.0.1") as peer,
    ):
        addr = sock.getsockname()
        original = adoption._read_all
        late = [TEN, TEN]

        def read_all_and_receive(*arguments: Any) -> Any:
            received = original(*arguments)
            if late:
                send_train(peer, addr, *late.pop())
            return received

        monkeypatch.setattr(adoption, "_read_all", read_all_and_receive)
        async with aioudp.adopt(sock, **options) as endpoint:
            assert await next_payloads(endpoint, 20) == TEN + TEN


async def test_trains_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then adopting fails, and the socket stays its owner's, as it was."""
    with (
        prepared("127.0.0.1", (*UDP_GRO, 1)) as (sock, _),
        plain_socket("127.0.0.1") as peer,
    ):
        addr = sock.getsockname()
        original = adoption._read_all

        def read_all_and_receive(*arguments: Any) -> Any:
            received = original(*arguments)
            send_train(peer, addr, *TEN)
            return received

        monkeypatch.setattr(adoption, "_read_all", read_all_and_receive)
        with pytest.raises(OSError, match="trains arrive faster") as caught:
            await aioudp.adopt(sock, offload=False)

        assert caught.value.errno == errno.EBUSY
        assert sock.getsockopt(*UDP_GRO) == 1


async def test_peek_offset() -> None:
    """SO_PEEK_OFF would make a datagram seem shorter than it is."""
    mine, theirs = socket.socketpair(AF_UNIX, socket.SOCK_DGRAM)
    mine.setsockopt(*SO_PEEK_OFF, 100_000)
    payload = bytes(190_000)
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        async with aioudp.adopt(mine) as endpoint:
            theirs.send(payload)

            assert (await endpoint.recv()).data == payload


@pytest.mark.parametrize("options", EITHER)
async def test_third_parties_in_the_queue(host: str, options: Any) -> None:
    """A connected endpoint hears its peer alone, also of what came before."""
    with (
        prepared(host) as (sock, _),
        plain_socket(host) as peer,
        plain_socket(host) as stranger,
    ):
        stranger.sendto(b"stranger", sock.getsockname())
        peer.sendto(b"early", sock.getsockname())
        sock.connect(peer.getsockname())
        async with aioudp.adopt(sock, **options) as endpoint:
            peer.sendto(b"late", endpoint.local_addr)

            assert await next_payloads(endpoint, 2) == [b"early", b"late"]
            stats = endpoint.stats()

    assert (stats.received, stats.dropped_kernel) == (2, 1)


@unix_only
async def test_third_parties_in_the_queue_of_a_unix_socket(tmp_path: Any) -> None:
    """It is the same there."""
    names = [str(tmp_path / name) for name in ("mine", "peer", "stranger")]
    mine, peer, stranger = (socket.socket(AF_UNIX, socket.SOCK_DGRAM) for _ in names)
    with peer, stranger:
        for sock, name in zip((mine, peer, stranger), names, strict=True):
            sock.bind(name)
        stranger.sendto(b"stranger", names[0])
        peer.sendto(b"early", names[0])
        mine.connect(names[1])
        adopting: aioudp.Opening[aioudp.Endpoint[aioudp.UnixAddress]]
        adopting = aioudp.adopt(mine)
        async with adopting as endpoint:
            assert await endpoint.recv() == (b"early", names[1])
            assert endpoint.stats().dropped_kernel == 1


async def test_messages_that_came_before(host: str) -> None:
    """What is known of them is told, on a connected endpoint too."""
    with prepared(host) as (sock, _), plain_socket(host) as peer:
        sock.connect(peer.getsockname())
        peer.sendto(b"early", sock.getsockname())
        async with aioudp.adopt(sock, packet_info=True) as endpoint:
            message = await endpoint.recv_message()

            assert (message.data, message.addr) == (b"early", peer.getsockname())
            assert message.local_addr == endpoint.local_addr


# -- what is sent


@pytest.mark.parametrize("options", EITHER)
async def test_a_datagram_is_not_cut(host: str, options: Any) -> None:
    """UDP_SEGMENT was set: one send is one datagram all the same."""
    with (
        prepared(host, (*UDP_SEGMENT, 10)) as (sock, _),
        plain_socket(host) as peer,
    ):
        async with aioudp.adopt(sock, **options) as endpoint:
            await endpoint.send(bytes(95), peer.getsockname())
            await endpoint.send_many([(bytes(33), peer.getsockname())])

            assert read(peer, 2) == [bytes(95), bytes(33)]


@pytest.mark.parametrize("options", EITHER)
async def test_nothing_is_held_back(host: str, options: Any) -> None:
    """UDP_CORK was on: what had been held back leaves, and what is sent does."""
    with prepared(host, (*UDP_CORK, 1)) as (sock, _), plain_socket(host) as peer:
        sock.sendto(b"held ", peer.getsockname())
        sock.sendto(b"back", peer.getsockname())
        async with aioudp.adopt(sock, **options) as endpoint:
            await endpoint.send(b"at once", peer.getsockname())

            assert read(peer, 2) == [b"held back", b"at once"]


async def test_the_beginning_of_a_datagram(host: str) -> None:
    """Sent with MSG_MORE, it is not the beginning of the endpoint's first one."""
    with prepared(host) as (sock, _), plain_socket(host) as peer:
        sock.sendto(b"somebody's", MSG_MORE, peer.getsockname())
        async with aioudp.adopt(sock) as endpoint:
            await endpoint.send(b"mine", peer.getsockname())

            assert read(peer, 2) == [b"somebody's", b"mine"]


# -- errors, and what wakes the loop


@pytest.mark.parametrize("options", EITHER)
async def test_timestamps_of_what_is_sent(host: str, options: Any) -> None:
    """Their place is the error queue: it is emptied, and not filled again."""
    with (
        prepared(host, (*SO_TIMESTAMPING, TX_TIMESTAMPS)) as (sock, other),
        plain_socket(host) as peer,
    ):
        sock.sendto(b"before", peer.getsockname())
        async with aioudp.adopt(sock, **options) as endpoint:
            await endpoint.send(b"after", peer.getsockname())
            assert read(peer, 2) == [b"before", b"after"]

            poll = select.poll()
            poll.register(other, select.POLLIN)
            assert poll.poll(0) == []


async def test_an_error_from_before(host: str) -> None:
    """It was about somebody else's datagram: nobody hears of it."""
    with prepared(host) as (sock, _), refusing_address(host) as nobody:
        sock.connect(nobody)
        sock.send(b"before")
        async with aioudp.adopt(sock) as endpoint:
            with pytest.raises(BlockingIOError):
                endpoint.recv_nowait()

            assert endpoint.stats().receive_errors == 0


async def test_drops_from_before(host: str) -> None:
    """They were not the endpoint's; those that follow are."""
    small = (socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    with prepared(host, small) as (sock, _), plain_socket(host) as peer:
        for _ in range(100):
            peer.sendto(bytes(100), sock.getsockname())
        options: Any = {"receive_buffer": 2304, "queue_size": 1}
        async with aioudp.adopt(sock, **options) as endpoint:
            assert endpoint.stats().dropped_kernel == 0

            while not endpoint.stats().dropped_kernel:
                peer.sendto(bytes(100), endpoint.local_addr)
            endpoint.close()
            assert endpoint.stats().dropped_kernel == 1


# -- everything at once


def rows(family: int) -> list[Any]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        return [
            row
            for row in adoption._rows(sock)
            if adoption._read(sock, row) is not None
            and row not in adoption._CHANGED[1:]
        ]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, AF_UNIX])
async def test_every_option(
    transport: aioudp.TransportKind, family: int, tmp_path: Any
) -> None:
    """It is as an endpoint needs it, and as it was before when that is closed."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "socket") if family == AF_UNIX else ("", 0))
    with sock.dup() as other:
        table = rows(family)
        new = [adoption._read(other, row) for row in table]
        for row in table:
            other.setsockopt(row.level, row.option, 1)
        before = [adoption._read(other, row) for row in table]
        # Of those that exclude each other, the last one set is the only one.
        assert sum(map(operator.ne, before, new)) > len(table) / 2

        async with aioudp.adopt(sock, transport=transport):
            for row, fresh in zip(table, new, strict=True):
                if row.needed is not None:
                    assert adoption._read(other, row) == fresh, row

        after = [adoption._read(other, row) for row in table]
    assert after == before


@pytest.mark.parametrize("blocking", [True, False])
async def test_blocking_mode(transport: aioudp.TransportKind, blocking: bool) -> None:
    """It belongs to all descriptors of the socket, so it is restored as well."""
    with prepared() as (sock, other):
        os.set_blocking(other.fileno(), blocking)

        async with aioudp.adopt(sock.detach(), transport=transport):
            assert not os.get_blocking(other.fileno())

        assert os.get_blocking(other.fileno()) is blocking


async def test_what_the_options_set(transport: aioudp.TransportKind) -> None:
    """Buffers, broadcasts, fragments, packet information: all is as it was."""
    options: Any = {
        "receive_buffer": 100_000,
        "send_buffer": 50_000,
        "broadcast": True,
        "dont_fragment": True,
        "packet_info": True,
    }
    with prepared() as (sock, other):
        table = [*rows(socket.AF_INET), *adoption._CHANGED]
        before = [adoption._read(other, row) for row in table]

        async with aioudp.adopt(sock, transport=transport, **options):
            during = [adoption._read(other, row) for row in table]

        assert during != before
        assert [adoption._read(other, row) for row in table] == before


async def test_what_somebody_sets_in_the_meantime(host: str) -> None:
    """It stays: it is newer than what there was before."""
    with prepared(host, (*SO_RXQ_OVFL, 1), (*IP_RECVERR, 1)) as (sock, other):
        async with aioudp.adopt(sock):
            other.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            other.setsockopt(*UDP_GRO, 0)
            other.setsockopt(*SO_RXQ_OVFL, 1)

        assert other.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
        assert other.getsockopt(*UDP_GRO) == 0
        assert other.getsockopt(*SO_RXQ_OVFL) == 1
        assert other.getsockopt(*IP_RECVERR) == 1


async def test_adopting_that_fails(
    transport: aioudp.TransportKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner gets the socket back as it was."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(opening, "batch_socket", refuse)
    options: Any = {"receive_buffer": 100_000, "broadcast": True, "packet_info": True}
    with prepared("127.0.0.1", (*SO_RXQ_OVFL, 1), (*UDP_GRO, 1)) as (sock, _):
        sock.settimeout(7)
        table = [*rows(socket.AF_INET), *adoption._CHANGED]
        before = [adoption._read(sock, row) for row in table]

        with pytest.raises(OSError, match="no memory"):
            await aioudp.adopt(sock, transport=transport, **options)

        assert [adoption._read(sock, row) for row in table] == before
        assert sock.gettimeout() == 7


# -- what is refused


async def test_raw_socket(family: socket.AddressFamily) -> None:
    """It gets whole packets (B023)."""
    try:
        sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("cannot: raw: it takes privileges")
    with sock, pytest.raises(ValueError, match="needs a datagram socket"):
        await aioudp.adopt(sock)


async def test_a_stream_that_claims_to_be_none() -> None:
    """The kernel is asked, not the object (B023)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        sock = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM, fileno=os.dup(stream.fileno())
        )
        with sock, pytest.raises(ValueError, match="needs a datagram socket"):
            await aioudp.adopt(sock)


@needs_ipv6
async def test_a_socket_that_became_ipv4() -> None:
    """The object still says IPv6 then; its descriptor can be adopted."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
        plain_socket("127.0.0.1") as peer,
    ):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.connect(("::ffff:127.0.0.1", peer.getsockname()[1]))
        sock.setsockopt(socket.IPPROTO_IPV6, 1, socket.AF_INET)  # IPV6_ADDRFORM

        with pytest.raises(ValueError, match="adopt its descriptor"):
            await aioudp.adopt(sock)
        async with aioudp.adopt(sock.detach()) as endpoint:
            await endpoint.send(b"hello")

            assert peer.recvfrom(100) == (b"hello", endpoint.local_addr)


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
@pytest.mark.parametrize("kind", ["connected", "unconnected", "unix"])
async def test_shut_down(how: int, kind: str) -> None:
    """It would be ready for ever, with nothing to read."""
    family = AF_UNIX if kind == "unix" else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as sock,
        plain_socket("127.0.0.1") as peer,
    ):
        if kind == "connected":
            sock.connect(peer.getsockname())
        elif kind == "unconnected":
            sock.bind(("127.0.0.1", 0))
        with contextlib.suppress(OSError):  # not connected, and shut down all the same
            sock.shutdown(how)

        with pytest.raises(ValueError, match="shut down for reading"):
            await aioudp.adopt(sock)


async def test_shut_down_for_writing() -> None:
    """It can still be read; sending is the system's error."""
    with plain_socket("127.0.0.1") as sock, plain_socket("127.0.0.1") as peer:
        sock.connect(peer.getsockname())
        sock.shutdown(socket.SHUT_WR)
        async with aioudp.adopt(sock) as endpoint:
            peer.sendto(b"hello", endpoint.local_addr)

            assert (await endpoint.recv()).data == b"hello"
            with pytest.raises(BrokenPipeError):
                await endpoint.send(b"refused")


@unix_only
async def test_seqpacket() -> None:
    """It has messages, and is a stream all the same (B023)."""
    mine, theirs = socket.socketpair(AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs, pytest.raises(ValueError, match="needs a datagram socket"):
        await aioudp.adopt(mine)
