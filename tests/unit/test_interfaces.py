"""Interfaces: what the system has, and how one is named."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import pytest

import aioudp
from aioudp._interfaces import choose


@pytest.fixture
def loopback() -> aioudp.Interface:
    """Return the loopback interface."""
    if sys.platform == "win32":
        pytest.skip("cannot: posix: addresses of interfaces are not known here")
    return next(one for one in aioudp.interfaces() if "loopback" in one.flags)


def test_every_interface_is_listed() -> None:
    """With the names and the indexes of the socket module, in their order."""
    found = [(one.index, one.name) for one in aioudp.interfaces()]

    assert found == sorted(socket.if_nameindex())


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
