"""The programs that choose a socket, run by an interpreter of classic BPF."""

from __future__ import annotations

import socket
import struct
import sys
from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioudp._system.sockets import SO_REUSEPORT
from aioudp._system.steering import Steering, program, steer

_NET: Final = -0x100000
_RANDOM: Final = -0x1000 + 56
_WORD: Final = 0xFFFFFFFF


def interpret(steering: Steering, sockets: int, header: bytes, random: int = 0) -> int:
    """Run a program on a packet, as bpf(4) of the BSDs describes it."""
    code = program(steering, sockets)
    a = x = at = 0

    def load(offset: int, size: int) -> int:
        if offset == _RANDOM:
            return random
        start = offset - _NET
        assert 0 <= start <= len(header) - size
        return int.from_bytes(header[start : start + size])

    while True:
        code_, k, true, false = code[at]
        at += 1
        match code_:
            case 0x20:
                a = load(k, 4)
            case 0x28:
                a = load(k, 2)
            case 0x30:
                a = load(k, 1)
            case 0x48:
                a = load(x + k, 2)
            case 0xB1:
                x = 4 * (load(k, 1) & 15)
            case 0x24:
                a = a * k & _WORD
            case 0x94:
                a %= k
            case 0x74:
                a >>= k
            case 0xAC:
                a ^= x
            case 0x07:
                x = a
            case 0x15:
                at += true if a == k else false
            case 0x05:
                at += k
            case 0x16:
                return a
            case _:
                pytest.fail(f"unknown instruction {code_:#x}")


def ipv4(
    host: bytes, port: int, *, to: bytes = b"\x7f\0\0\1", options: int = 0
) -> bytes:
    head = bytes([0x45 + options]) + bytes(11) + host + to + bytes(4 * options)
    return head + struct.pack("!4H", port, 53, 8, 0)


def ipv6(host: bytes, port: int) -> bytes:
    return b"\x60" + bytes(7) + host + bytes(16) + struct.pack("!4H", port, 53, 8, 0)


@given(st.binary(min_size=4, max_size=4), st.integers(1, 65535), st.integers(1, 1024))
def test_an_ipv4_peer_stays(host: bytes, port: int, sockets: int) -> None:
    """Whatever it sends to, and with whatever IP options."""
    chosen = interpret("peer", sockets, ipv4(host, port))

    assert 0 <= chosen < sockets
    assert interpret("peer", sockets, ipv4(host, port, to=b"\x0a\0\0\1")) == chosen
    assert interpret("peer", sockets, ipv4(host, port, options=3)) == chosen


@given(st.binary(min_size=16, max_size=16), st.integers(1, 65535), st.integers(1, 1024))
def test_an_ipv6_peer_has_a_socket(host: bytes, port: int, sockets: int) -> None:
    """One that exists."""
    assert 0 <= interpret("peer", sockets, ipv6(host, port)) < sockets


def test_peers_are_spread() -> None:
    """Those of one host by their port, those of one port by their host."""
    ports = [ipv4(b"\x7f\0\0\1", port) for port in range(40_000, 41_000)]
    hosts = [ipv4(bytes([10, 0, n >> 8, n & 255]), 5353) for n in range(1000)]
    subnet = [ipv6(bytes(14) + n.to_bytes(2), 5353) for n in range(1000)]
    networks = [ipv6(n.to_bytes(8) + bytes(8), 5353) for n in range(1000)]

    for packets in (ports, hosts, subnet, networks):
        for sockets in (2, 3, 4, 7):
            spread = Counter(interpret("peer", sockets, one) for one in packets)
            assert len(spread) == sockets
            assert min(spread.values()) > 0.7 * 1000 / sockets


@given(st.integers(0, _WORD), st.integers(1, 1024))
def test_random(random: int, sockets: int) -> None:
    """What the kernel draws decides."""
    assert interpret("random", sockets, b"", random) == random % sockets


def test_the_kernel_needs_no_program() -> None:
    """It has its own hash."""
    assert program("kernel", 4) == []


@pytest.mark.skipif(sys.platform == "linux", reason="cannot: other: this is Linux")
def test_not_on_this_system() -> None:
    """An OSError that says so."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(OSError),
    ):
        steer(sock, "peer", 2)


@pytest.mark.skipif(sys.platform != "linux", reason="cannot: linux: it has no BPF")
@pytest.mark.parametrize("steering", ["kernel", "peer", "random"])
def test_the_kernel_takes_the_programs(steering: Steering) -> None:
    """It checks each instruction when it is attached."""
    assert SO_REUSEPORT is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        steer(sock, steering, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="cannot: linux: it has no BPF")
def test_a_socket_that_is_closed() -> None:
    """The system's error names what was asked for."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    with pytest.raises(OSError, match="steering='peer'"):
        steer(sock, "peer", 2)
