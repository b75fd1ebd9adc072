"""Control messages: what is read from them, and what is written."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioudp._system import send_options
from aioudp._system.control_data import parse
from aioudp._system.send_options import SendOptions, Steered, steer
from aioudp._types import Message

IP: Final = 0
IPV6: Final = 41
SOCKET: Final = int(socket.SOL_SOCKET)
PORT: Final = 53
NO_INFO: Final = (None, None, None, None, None, False, None, None, None)

OURS: Final = socket.inet_aton("192.0.2.1")
EVERYBODY: Final = socket.inet_aton("192.0.2.255")


def message(*control: tuple[int, int, bytes]) -> Message:
    """Return the message of a datagram with this control data."""
    _, info = parse(control, PORT)
    return Message(b"", ("192.0.2.9", 9), *info)


# -- reading


def test_no_control_data() -> None:
    """Everything is unknown, and nothing is truncated."""
    assert parse([], PORT) == (0, NO_INFO)
    assert message() == Message(b"", ("192.0.2.9", 9))


def test_the_fields_are_those_of_a_message() -> None:
    """In its order, so that one can be made of payload, sender and the rest."""
    assert len(NO_INFO) == len(Message._fields) - 2
    assert Message(b"", "", *NO_INFO) == Message(b"", "")


def test_packet_information_of_ipv4() -> None:
    """The address in the header counts; the one to answer from says what kind it is."""
    parsed = message((IP, 8, struct.pack("=I4s4s", 3, OURS, OURS)))
    assert (parsed.local_addr, parsed.interface, parsed.unicast) == (
        ("192.0.2.1", PORT),
        3,
        True,
    )

    parsed = message((IP, 8, struct.pack("=I4s4s", 3, OURS, EVERYBODY)))
    assert (parsed.local_addr, parsed.unicast) == (("192.0.2.255", PORT), False)


@pytest.mark.parametrize(
    ("host", "unicast"),
    [("192.0.2.1", None), ("224.0.0.1", False), ("255.255.255.255", False)],
)
def test_packet_information_that_was_not_kept(host: str, unicast: bool | None) -> None:
    """A datagram from before the option was set only has its destination."""
    parsed = message(
        (IP, 8, struct.pack("=I4s4s", 0, bytes(4), socket.inet_aton(host)))
    )

    assert (parsed.local_addr, parsed.interface) == ((host, PORT), None)
    assert parsed.unicast is unicast


@pytest.mark.parametrize(
    ("host", "scope_id", "unicast"),
    [
        ("2001:db8::1", 0, True),
        ("::1", 0, True),
        ("fe80::1", 7, True),
        ("ff02::1", 7, False),
        ("ff12::1", 7, False),
        ("ff01::1", 7, False),
        ("ff15::1", 0, False),
    ],
)
def test_packet_information_of_ipv6(host: str, scope_id: int, unicast: bool) -> None:
    """Addresses that are the same on every link have the scope id."""
    packed = socket.inet_pton(socket.AF_INET6, host)

    parsed = message((IPV6, 50, packed + struct.pack("=I", 7)))

    assert parsed.local_addr == (host, PORT, 0, scope_id)
    assert (parsed.interface, parsed.unicast) == (7, unicast)


@pytest.mark.parametrize("order", [1, -1])
def test_an_ipv4_datagram_of_a_dual_stack_socket(order: int) -> None:
    """It comes with the messages of both families, and those of IPv4 say more."""
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.255")
    control = [
        (IPV6, 50, mapped + struct.pack("=I", 7)),
        (IP, 8, struct.pack("=I4s4s", 7, OURS, EVERYBODY)),
    ]

    parsed = message(*control[::order])

    assert parsed.local_addr == ("192.0.2.255", PORT)
    assert parsed.unicast is False
    assert message(control[0]).local_addr == ("192.0.2.255", PORT)


@pytest.mark.parametrize("value", [b"\x2a", b"\x2a\0\0\0"])
def test_numbers_come_as_bytes_or_ints(value: bytes) -> None:
    """IP_TOS is one byte, the others are ints."""
    if sys.byteorder == "big":
        value = value[::-1]
    assert message((IP, 1, value)).tos == message((IPV6, 67, value)).tos == 42
    assert message((IP, 2, value)).hop_limit == 42
    assert message((IPV6, 52, value)).hop_limit == 42


@pytest.mark.parametrize(("tos", "ecn"), [(0, 0), (1, 1), (2, 2), (3, 3), (0xB8, 0)])
def test_congestion_notification(tos: int, ecn: int) -> None:
    """The lower two bits."""
    assert message((IP, 1, bytes([tos]))).ecn == ecn


def test_time_of_the_kernel() -> None:
    """To the nanosecond, and in seconds."""
    parsed = message((SOCKET, 35, struct.pack("@ll", 1_700_000_000, 123_456_789)))

    assert parsed.timestamp_ns == 1_700_000_000_123_456_789
    assert parsed.timestamp == pytest.approx(1_700_000_000.123_456_789, abs=1e-6)


def test_time_of_the_device() -> None:
    """The third of three; where the device has none it is empty."""
    parsed = message((SOCKET, 37, struct.pack("@6l", 5, 6, 0, 0, 1_700_000_000, 7)))
    assert parsed.timestamp_ns == 1_700_000_000_000_000_007

    parsed = message((SOCKET, 37, struct.pack("@6l", 5, 6, 0, 0, 0, 0)))
    assert parsed.timestamp_ns is None


@pytest.mark.parametrize(
    "stamp", [(-1, 0), (2**33, 0), (1, -1), (1, 10**9), (2**62, 2**62), (0, 0)]
)
def test_a_time_that_cannot_be(stamp: tuple[int, int]) -> None:
    """It is no time at all."""
    assert message((SOCKET, 35, struct.pack("@ll", *stamp))).timestamp_ns is None


def test_segment_size() -> None:
    """It is an int, and the rest is read beside it."""
    size, info = parse([(17, 104, struct.pack("=i", 1200)), (IP, 1, b"\1")], PORT)

    assert size == 1200
    assert info[2] == 1
    assert parse([(17, 104, struct.pack("=i", -5))], PORT)[0] == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([IP, IPV6, SOCKET, 17, 99]),
            st.sampled_from([1, 2, 8, 29, 35, 37, 50, 52, 67, 104]),
            st.binary(max_size=64),
        ),
        max_size=6,
    )
)
def test_whatever_the_kernel_says(control: list[tuple[int, int, bytes]]) -> None:
    """Nothing raises, and every field is unknown or what it has to be."""
    size, _ = parse(control, PORT)
    parsed = message(*control)

    assert size >= 0
    assert parsed.tos is None or 0 <= parsed.tos <= 255
    assert parsed.hop_limit is None or 0 <= parsed.hop_limit <= 255
    assert parsed.timestamp_ns is None or 0 < parsed.timestamp_ns < 2**63
    assert (parsed.local_addr is None) == (parsed.interface is None)
    assert parsed.truncated is False


# -- writing


PEER: Final = ("192.0.2.9", 9)

pytest_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: control messages are Linux's"
)


@pytest_linux
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"tos": 5}, [(IP, 1, 5)]),
        ({"hop_limit": 6}, [(IP, 2, 6)]),
        ({"tos": 0, "hop_limit": 255}, [(IP, 1, 0), (IP, 2, 255)]),
    ],
)
def test_numbers_to_ipv4(options: Any, expected: list[tuple[int, int, int]]) -> None:
    """Each is an int, which every kernel takes."""
    steered = steer(PEER, SendOptions(**options), ipv6=False)

    assert steered.addr == PEER
    assert [
        (level, kind, *struct.unpack("=i", value))
        for level, kind, value in steered.control
    ] == expected


@pytest_linux
def test_everything_to_ipv6() -> None:
    """The address and the interface are one message (RFC 3542)."""
    options = SendOptions(local_addr="2001:db8::1", interface=7, tos=1, hop_limit=2)

    assert steer(None, options, ipv6=True).control == (
        (
            IPV6,
            50,
            socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack("=I", 7),
        ),
        (IPV6, 67, struct.pack("=i", 1)),
        (IPV6, 52, struct.pack("=i", 2)),
    )


@pytest_linux
def test_address_and_interface_to_ipv4() -> None:
    """The one that is not given is zero: the routes choose."""
    assert steer(
        PEER, SendOptions(local_addr=("192.0.2.1", 5)), ipv6=False
    ).control == ((IP, 8, struct.pack("=I4s4s", 0, OURS, bytes(4))),)
    assert steer(PEER, SendOptions(interface=4), ipv6=False).control == (
        (IP, 8, struct.pack("=I4s4s", 4, bytes(4), bytes(4))),
    )


def test_a_mapped_address_is_ipv4() -> None:
    """However it is written."""
    assert SendOptions(local_addr="::ffff:192.0.2.1").local_addr == "192.0.2.1"


def test_equal_destinations_are_equal() -> None:
    """So that they can share a train."""
    one, two = (steer(PEER, SendOptions(tos=1), ipv6=False) for _ in range(2))

    assert one == two
    assert one != steer(PEER, SendOptions(tos=2), ipv6=False)
    assert isinstance(one, Steered)


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers are not known, it is an error and nothing is made up."""
    send_options._compose.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(ValueError, match="aren't supported on win32"):
        steer(PEER, SendOptions(tos=77), ipv6=False)
