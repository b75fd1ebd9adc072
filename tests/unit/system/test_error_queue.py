"""The error queue: what its entries say, and how it is emptied."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Final

import pytest

from aioudp._system import error_queue
from aioudp._system.error_queue import MAX_READS, MSG_CTRUNC, ErrorQueue, parse

# include/uapi/linux/errqueue.h
LOCAL: Final = 1
ICMP: Final = 2
ICMP6: Final = 3
TIMESTAMPING: Final = 4

IP: Final = (0, 11)  # SOL_IP, IP_RECVERR
IPV6: Final = (41, 25)  # SOL_IPV6, IPV6_RECVERR

TO: Final = ("192.0.2.7", 53)
TO6: Final = ("2001:db8::7", 53, 0, 0)


def offender(host: str, scope_id: int = 0) -> bytes:
    """Return a socket address as Linux writes it."""
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return struct.pack("=HHI16sI", 10, 0, 0, packed, scope_id)
    return struct.pack("=HH4s8x", 2, 0, socket.inet_pton(socket.AF_INET, host))


def message(
    number: int,
    origin: int,
    icmp_type: int,
    icmp_code: int,
    info: int = 0,
    name: bytes = b"",
    kind: tuple[int, int] = IP,
) -> tuple[int, int, bytes]:
    """Return a control message with an extended error."""
    error = struct.pack("=IBBBBII", number, origin, icmp_type, icmp_code, 0, info, 0)
    return (*kind, error + name)


REFUSED: Final = message(errno.ECONNREFUSED, ICMP, 3, 3, name=offender("192.0.2.7"))


def test_a_refusal() -> None:
    """Every field is there."""
    error = parse(b"payload", [REFUSED], 0, TO)

    assert error is not None
    assert error.addr == TO
    assert isinstance(error.error, ConnectionRefusedError)
    assert error.error.errno == errno.ECONNREFUSED
    assert (error.offender, error.mtu) == ("192.0.2.7", None)
    assert (error.icmp_type, error.icmp_code) == (3, 3)
    assert error.data == b"payload"


@pytest.mark.parametrize(
    ("control", "to", "mtu"),
    [
        (message(errno.EMSGSIZE, ICMP, 3, 4, 1420, offender("192.0.2.1")), TO, 1420),
        (
            message(errno.EMSGSIZE, ICMP6, 2, 0, 1280, offender("2001:db8::1"), IPV6),
            TO6,
            1280,
        ),
        # Of a router that is older than RFC 1191.
        (message(errno.EMSGSIZE, ICMP, 3, 4, 0, offender("192.0.2.1")), TO, None),
        # The number means something else in other messages.
        (message(errno.ECONNREFUSED, ICMP, 3, 3, 7, offender("192.0.2.1")), TO, None),
        (message(errno.EPROTO, ICMP6, 4, 0, 8, offender("::1"), IPV6), TO6, None),
    ],
)
def test_the_mtu_of_the_next_hop(
    control: tuple[int, int, bytes], to: Any, mtu: int | None
) -> None:
    """Only "fragmentation needed" and "packet too big" contain one (B135)."""
    error = parse(b"", [control], 0, to)

    assert error is not None
    assert error.mtu == mtu


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (offender("192.0.2.1"), "192.0.2.1"),
        (offender("2001:db8::1"), "2001:db8::1"),
        (offender("::ffff:192.0.2.1"), "192.0.2.1"),
        (offender("fe80::1", 3), "fe80::1%3"),
        (b"", None),
        (bytes(16), None),  # AF_UNSPEC
        (offender("192.0.2.1")[:7], None),
        (offender("2001:db8::1")[:27], None),
        (b"\x02", None),
    ],
)
def test_the_offender(name: bytes, host: str | None) -> None:
    """Without one that can be read it is unknown."""
    control = message(errno.EHOSTUNREACH, ICMP, 3, 1, name=name)

    error = parse(b"", [control], 0, TO)

    assert error is not None
    assert error.offender == host


def test_the_ipv4_peers_of_a_dual_stack_socket() -> None:
    """The address is written as IPv4."""
    to = ("::ffff:192.0.2.7", 53, 0, 0)

    error = parse(b"", [message(errno.ECONNREFUSED, ICMP, 3, 3, kind=IPV6)], 0, to)

    assert error is not None
    assert error.addr == ("192.0.2.7", 53)


@pytest.mark.parametrize("origin", [0, LOCAL, TIMESTAMPING, 5, 6])
def test_what_did_not_come_over_the_network(origin: int) -> None:
    """A send has raised it, or it is no error."""
    assert parse(b"", [message(errno.EMSGSIZE, origin, 0, 0, 1500)], 0, TO) is None


def test_other_control_data_is_passed_over() -> None:
    """Other options of the socket add theirs: here the way in, and the hop limit."""
    others = [(0, 8, bytes(12)), (0, 2, struct.pack("=i", 64))]

    error = parse(b"", [*others, REFUSED, *others], 0, TO)

    assert error is not None
    assert error.error.errno == errno.ECONNREFUSED


@pytest.mark.parametrize(
    ("control", "flags", "text"),
    [
        ([], 0, "contains no error"),
        ([], MSG_CTRUNC, "truncated control data"),
        ([(*IP, REFUSED[2][:15])], MSG_CTRUNC, "truncated control data"),
        ([(1, 11, REFUSED[2])], 0, "contains no error"),
    ],
)
def test_what_cannot_be_read(
    control: list[tuple[int, int, bytes]], flags: int, text: str
) -> None:
    """It is refused, and not taken for something else (B136)."""
    with pytest.raises(ValueError, match=text):
        parse(b"payload", control, flags, TO)


# -- emptying it


class FakeSocket:
    """A socket whose error queue holds what the test says."""

    def __init__(self, *entries: Any) -> None:
        self.entries = [*entries]
        self.pending = errno.ECONNREFUSED

    def recvmsg(self, size: int, control_size: int, flags: int) -> Any:
        assert flags == 0x2000  # MSG_ERRQUEUE, include/linux/socket.h
        entry = self.entries.pop(0) if self.entries else BlockingIOError()
        if isinstance(entry, OSError):
            raise entry
        return entry

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        number, self.pending = self.pending, 0
        return number


def entry(number: int) -> Any:
    return b"%d" % number, [REFUSED], 0x2000, TO


def queue(*entries: Any) -> tuple[ErrorQueue, FakeSocket]:
    sock: Any = FakeSocket(*entries)
    return ErrorQueue(sock), sock


def test_reading_empties_the_queue() -> None:
    """In order, and the socket itself has no error left."""
    reader, sock = queue(*map(entry, range(3)))

    assert [error.data for error in reader.read()] == [b"0", b"1", b"2"]
    assert sock.pending == 0
    assert reader.read() == []


def test_reading_is_bounded() -> None:
    """What is left is for the next time."""
    reader, sock = queue(*map(entry, range(MAX_READS + 5)))

    assert len(reader.read()) == MAX_READS
    assert len(sock.entries) == 5


def test_what_cannot_be_read_is_counted() -> None:
    """And hides nothing of the rest (B136)."""
    reader, _ = queue(entry(0), (b"", [], MSG_CTRUNC, TO), entry(1))

    assert [error.data for error in reader.read()] == [b"0", b"1"]
    assert reader.unreadable == 1


def test_a_refusal_of_the_system() -> None:
    """It is raised, unless there is something to return first."""
    denied = PermissionError(errno.EPERM, "Operation not permitted")
    reader, _ = queue(entry(0), denied, denied)

    assert len(reader.read()) == 1
    with pytest.raises(PermissionError):
        reader.read()


def test_both_ip_versions_are_switched_on() -> None:
    """IPv4 also on an IPv6 socket, which may serve both."""

    class Noting:
        def __init__(self, family: int) -> None:
            self.family = family
            self.set: list[tuple[int, int, int]] = []

        def setsockopt(self, *option: int) -> None:
            self.set.append((option[0], option[1], option[2]))

    ipv4: Any = Noting(socket.AF_INET)
    ipv6: Any = Noting(socket.AF_INET6)
    for sock in (ipv4, ipv6):
        error_queue.enable(sock)

    assert ipv4.set == [(*IP, 1)]
    assert ipv6.set == [(*IP, 1), (*IPV6, 1)]
