"""Interfaces of every kind, as reported by each reader."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import pytest

import aioudp
from aioudp._system import interfaces
from aioudp._system.ifaddrs import Entry, by_getifaddrs, by_psutil

from .links import DEVICE, HAS_IPV6, NEAR_LOCAL, OTHER_DEVICE, TwoLinks

_TUNSETIFF: Final = 0x400454CA  # include/uapi/linux/if_tun.h
_TUN_NO_PI: Final = 0x1001  # IFF_TUN | IFF_NO_PI: nothing in front of the packet

Reader = Callable[[], Iterable[Entry]]


@pytest.fixture(params=[by_getifaddrs, by_psutil], ids=["getifaddrs", "psutil"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Have the interfaces read in one of the ways."""
    reader: Reader = request.param
    if reader is by_psutil:
        pytest.importorskip("psutil", reason="cannot: psutil: it is not installed")
    monkeypatch.setattr(interfaces, "_entries", reader)
    return reader


@pytest.fixture
def many_kinds(two_links: TwoLinks) -> TwoLinks:
    """Give a host interfaces and addresses as they are found in the wild."""
    two_links.near.ip(
        f"address add 203.0.113.1/24 brd + dev {DEVICE} label {DEVICE}:1",
        f"address add 203.0.113.2/24 brd + dev {DEVICE} label {DEVICE}:1",
        f"address add 192.0.2.1/24 dev {DEVICE}",  # without a broadcast address
        f"address add 192.0.2.65/31 brd + dev {OTHER_DEVICE}",  # RFC 3021
        f"address add 192.0.2.77/32 brd + dev {OTHER_DEVICE}",
        "link add off type veth peer name idle",
        "link set idle up",  # without a carrier, since its other end is off
        "address add 192.0.2.129/25 brd 192.0.2.200 dev idle",
    )
    return two_links


def test_flags_and_addresses(many_kinds: TwoLinks, reader: Reader) -> None:
    """Every address of every interface; a label of Linux is no interface."""
    found = {one.name: one for one in aioudp.interfaces()}

    assert list(found) == ["lo", DEVICE, OTHER_DEVICE, "idle", "off"]
    assert [one.index for one in found.values()] == [
        many_kinds.near.index(name) for name in found
    ]
    local = (NEAR_LOCAL,) * HAS_IPV6
    assert {name: set(one.addresses) for name, one in found.items()} == {
        "lo": {"127.0.0.1", *["::1"] * HAS_IPV6},
        DEVICE: {"198.51.100.1", "203.0.113.1", "203.0.113.2", "192.0.2.1", *local},
        OTHER_DEVICE: {"198.51.101.1", "192.0.2.65", "192.0.2.77", *local},
        "idle": {"192.0.2.129"},
        "off": set(),
    }
    assert {name: one.broadcast_addresses for name, one in found.items()} == {
        "lo": (),
        DEVICE: ("198.51.100.255", "203.0.113.255", "203.0.113.255"),
        OTHER_DEVICE: ("198.51.101.255",),
        "idle": ("192.0.2.200",),
        "off": (),
    }
    assert {name: one.flags - {"running"} for name, one in found.items()} == {
        "lo": {"up", "loopback"},
        DEVICE: {"up", "broadcast", "multicast"},
        OTHER_DEVICE: {"up", "broadcast", "multicast"},
        "idle": {"up", "broadcast", "multicast"},
        "off": {"broadcast", "multicast"},
    }
    running = {name for name, one in found.items() if "running" in one.flags}
    assert running == {"lo", DEVICE, OTHER_DEVICE}


async def test_broadcast_to_a_label(many_kinds: TwoLinks) -> None:
    """Its network is one of the interface's, which it can be chosen by."""
    async with aioudp.open_broadcast(0, interfaces=["203.0.113.2"]) as endpoint:
        outcomes = await endpoint.send(b"hello", 9)

    assert [(one.interface, one.addr[0], one.sent) for one in outcomes] == [
        (DEVICE, "198.51.100.255", True),
        (DEVICE, "203.0.113.255", True),
    ]


@pytest.fixture
def tunnel(two_links: TwoLinks) -> Iterator[int]:
    """Give the host a tunnel, and return the descriptor of its other end."""
    linux: Any = os
    fcntl = pytest.importorskip("fcntl", reason="cannot: network: not on this system")
    try:
        end = linux.open("/dev/net/tun", linux.O_RDWR | linux.O_NONBLOCK)
    except OSError as exc:
        pytest.skip(f"cannot: network: {exc}")
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", b"tunnel", _TUN_NO_PI))
        two_links.near.ip(
            "address add 192.0.2.1 peer 192.0.2.2 dev tunnel", "link set tunnel up"
        )
        yield end
    finally:
        os.close(end)


async def test_a_tunnel(tunnel: int) -> None:
    """It has no broadcast: it is passed over, unless it is named."""
    (link,) = [one for one in aioudp.interfaces() if one.name == "tunnel"]
    assert link.addresses[0] == "192.0.2.1"
    assert link.broadcast_addresses == ()
    assert "broadcast" not in link.flags

    async with (
        aioudp.open_broadcast(0) as everywhere,
        aioudp.open_broadcast(0, interfaces=["tunnel"]) as choosy,
    ):
        outcomes = await everywhere.send(b"to all", 9)
        assert [one.interface for one in outcomes] == [DEVICE, OTHER_DEVICE]
        (outcome,) = await choosy.send(b"through the tunnel", 9)
        assert (outcome.addr, outcome.sent) == (("255.255.255.255", 9), True)

    passed: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        passed.extend(os.read(tunnel, 2048) for _ in range(100))
    to_all = [packet for packet in passed if packet[16:20] == b"\xff" * 4]
    assert [packet[28:] for packet in to_all] == [b"through the tunnel"]
