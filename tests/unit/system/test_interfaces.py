"""Interfaces: what the system has, and how one is named."""

from __future__ import annotations

import ctypes
import errno
import gc
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import aioudp
from aioudp._system import ifaddrs, interfaces
from aioudp._system.ifaddrs import Entry, by_psutil
from aioudp._system.interfaces import choose


@pytest.fixture
def loopback() -> aioudp.Interface:
    """Return the loopback interface."""
    if sys.platform == "win32":
        pytest.importorskip("psutil", reason="cannot: psutil: it is not installed")
    return next(one for one in aioudp.interfaces() if "loopback" in one.flags)


def test_every_interface_is_listed() -> None:
    """With the indexes of the socket module, in their order; and its names.

    Windows shows other names.
    """
    found = [(one.index, one.name) for one in aioudp.interfaces()]
    expected = sorted(socket.if_nameindex())

    assert [index for index, _ in found] == [index for index, _ in expected]
    assert sys.platform == "win32" or found == expected


def test_looking_often_leaves_nothing_behind() -> None:
    """Each send looks: a type for each look would fill the memory."""

    def types() -> int:
        gc.collect()
        return len(ctypes.Structure.__subclasses__())

    aioudp.interfaces()
    before = types()
    for _ in range(3):
        aioudp.interfaces()

    assert types() == before


def test_loopback(loopback: aioudp.Interface) -> None:
    """It is up, has its address, and no broadcast address."""
    assert "127.0.0.1" in loopback.addresses
    assert loopback.flags >= {"up", "running"}
    assert loopback.broadcast_addresses == ()


def test_choose(loopback: aioudp.Interface) -> None:
    """By name, by index, by address in any spelling; each once, in that order."""
    others = [one for one in aioudp.interfaces() if one != loopback][:1]

    for item in (loopback.name, loopback.index, "127.0.0.1"):
        assert choose([item]) == [loopback]
    if "::1" in loopback.addresses:
        assert choose(["0:0::1"]) == [loopback]
    names: list[str | int] = [
        *(one.name for one in others),
        loopback.name,
        loopback.index,
    ]
    assert choose(names) == [*others, loopback]
    assert choose([]) == []


@pytest.mark.parametrize("item", ["nowhere", 2**31 - 1, "192.0.2.77", ""])
def test_choose_what_is_not_there(item: Any) -> None:
    """ENODEV, and the message names it."""
    with pytest.raises(OSError, match=repr(item)) as caught:
        choose([item])

    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize("item", [None, 1.5, True, b"lo"])
def test_choose_what_is_no_name(item: Any) -> None:
    """TypeError."""
    with pytest.raises(TypeError, match="a name, an index or an address"):
        choose([item])


def test_one_interface(loopback: aioudp.Interface) -> None:
    """By the index in a message, by name or by address."""
    assert aioudp.interface(loopback.index) == loopback
    assert aioudp.interface(loopback.name) == loopback
    assert aioudp.interface("127.0.0.1") == loopback


def test_one_interface_that_is_not_there() -> None:
    """ENODEV: it may have been removed since the message came."""
    with pytest.raises(OSError, match="no interface 2147483647") as caught:
        aioudp.interface(2**31 - 1)

    assert caught.value.errno == errno.ENODEV


def test_one_interface_by_what_is_no_name() -> None:
    """TypeError; among others for None, the interface of a message without it."""
    none: Any = None
    with pytest.raises(TypeError, match="a name, an index or an address"):
        aioudp.interface(none)


# -- Windows, as reported by psutil


def address(
    family: int, host: str, netmask: str | None = None
) -> SimpleNamespace:  # psutil._ntuples.snicaddr
    return SimpleNamespace(
        family=family, address=host, netmask=netmask, broadcast=None, ptp=None
    )


WINDOWS: Any = {
    "Ethernet": [
        address(-1, "02-00-00-00-00-01"),
        address(socket.AF_INET, "192.0.2.7", "255.255.255.0"),
        address(socket.AF_INET, "198.51.100.9", "255.255.255.254"),
        address(socket.AF_INET6, "fe80::1"),
    ],
    "Wi-Fi": [address(socket.AF_INET, "203.0.113.5", "255.255.255.192")],
    "Tunnel": [address(socket.AF_INET, "192.0.2.129", "255.255.255.255")],
    "Loopback Pseudo-Interface 1": [
        address(socket.AF_INET, "127.0.0.1", "255.0.0.0"),
        address(socket.AF_INET6, "::1"),
    ],
}
STATE: Any = {  # it has nothing about the tunnel
    "Ethernet": SimpleNamespace(isup=True, flags=""),
    "Wi-Fi": SimpleNamespace(isup=False, flags=""),
    "Loopback Pseudo-Interface 1": SimpleNamespace(isup=True, flags=""),
}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make psutil report what it reports on Windows."""
    psutil = pytest.importorskip("psutil", reason="cannot: psutil: not installed")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: WINDOWS)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: STATE)
    monkeypatch.setattr(ifaddrs, "sys", SimpleNamespace(platform="win32"))


def test_windows_entries(windows: None) -> None:
    """Broadcast addresses follow from the masks, and flags from the addresses."""
    up = frozenset({"up", "running", "multicast"})
    found = list(by_psutil())

    assert found == [
        Entry("Ethernet", up | {"broadcast"}),
        Entry("Ethernet", up | {"broadcast"}, "192.0.2.7", "192.0.2.255"),
        Entry("Ethernet", up | {"broadcast"}, "198.51.100.9"),
        Entry("Ethernet", up | {"broadcast"}, "fe80::1"),
        Entry("Wi-Fi", frozenset({"multicast", "broadcast"})),
        Entry(
            "Wi-Fi",
            frozenset({"multicast", "broadcast"}),
            "203.0.113.5",
            "203.0.113.63",
        ),
        Entry("Tunnel", up),
        Entry("Tunnel", up, "192.0.2.129"),
        Entry("Loopback Pseudo-Interface 1", up | {"loopback"}),
        Entry("Loopback Pseudo-Interface 1", up | {"loopback"}, "127.0.0.1"),
        Entry("Loopback Pseudo-Interface 1", up | {"loopback"}, "::1"),
    ]


def test_windows_names(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that Windows shows, found by what it says of them."""
    named = [(7, "ethernet_1"), (3, "wireless_1"), (1, "loopback_0"), (9, "filter_1")]
    aliases = {"Ethernet": 7, "Wi-Fi": 3, "Loopback Pseudo-Interface 1": 1}
    monkeypatch.setattr(socket, "if_nameindex", lambda: named)
    monkeypatch.setattr(interfaces, "_entries", by_psutil)
    monkeypatch.setattr(
        interfaces, "_index_of_alias", lambda name: aliases.get(name, 0)
    )

    found = aioudp.interfaces()

    assert [(one.index, one.name) for one in found] == [
        (1, "Loopback Pseudo-Interface 1"),
        (3, "Wi-Fi"),
        (7, "Ethernet"),
        (9, "filter_1"),
    ]
    assert found[2].addresses == ("192.0.2.7", "198.51.100.9", "fe80::1")
    assert found[2].broadcast_addresses == ("192.0.2.255",)
    assert choose(["Wi-Fi", 7, "127.0.0.1"]) == [found[1], found[2], found[0]]


def test_windows_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there are names and indexes, and nothing else."""
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(interfaces, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(interfaces, "_index_of_alias", lambda _: 0)

    found = aioudp.interfaces()

    assert found == [
        aioudp.Interface(name, index, (), (), frozenset())
        for index, name in sorted(socket.if_nameindex())
    ]
