"""Adoption where it takes no endpoint to see it; the rest is in the contract tests."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from aioudp._system import adoption, sockets
from aioudp._system.adoption import Loan, check

AF_NETLINK: Final = 16  # include/linux/socket.h

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: this is about the Linux kernel"
)


@pytest.fixture
def sock(family: int) -> Iterator[socket.socket]:
    """Return a socket to be adopted."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        yield sock


def test_a_datagram_socket_can_be_adopted(sock: socket.socket) -> None:
    """Any IP one."""
    check(sock)


@pytest.mark.skipif(sockets.AF_UNIX is None, reason="cannot: unix: no UNIX sockets")
def test_a_unix_datagram_socket_can_be_adopted() -> None:
    """With a name or without."""
    with socket.socket(getattr(socket, "AF_UNIX"), socket.SOCK_DGRAM) as sock:  # noqa: B009
        check(sock)


def test_a_stream_socket_cannot_be_adopted() -> None:
    """The error says what it is."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock,
        pytest.raises(ValueError, match=r"a datagram socket, not .*SOCK_STREAM"),
    ):
        check(sock)


@on_linux
def test_a_socket_of_another_family_cannot_be_adopted() -> None:
    """Netlink has datagrams too, but no endpoints."""
    with socket.socket(AF_NETLINK, socket.SOCK_DGRAM) as sock:
        what = re.escape(repr(sock))
        with pytest.raises(ValueError, match=f"an IP or a UNIX socket, not {what}"):
            check(sock)


def test_a_closed_socket_cannot_be_adopted(sock: socket.socket) -> None:
    """The system says so."""
    sock.close()

    with pytest.raises(OSError):
        check(sock)


def test_a_loan_changes_nothing(sock: socket.socket) -> None:
    """It looks, and remembers."""
    sock.settimeout(3)
    table = list(adoption._rows(sock))
    before = [adoption._read(sock, row) for row in table]

    Loan(sock)

    assert [adoption._read(sock, row) for row in table] == before
    assert sock.gettimeout() == 3


def test_a_loan_of_a_closed_socket_is_restored_in_silence(sock: socket.socket) -> None:
    """There is nothing left to restore, and nobody to hear of it."""
    loan = Loan(sock)
    loan.take_over([])
    loan.settle()
    sock.close()

    loan.restore()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_other_options(
    platform: str, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers mean something else there: only what has a name is touched."""
    sock.settimeout(3)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("aioudp._system.path_mtu.options", lambda sock: [])
    touched: list[Any] = []
    monkeypatch.setattr(adoption, "_read", lambda sock, row: touched.append(row))
    check(sock)
    loan = Loan(sock)

    loan.take_over([])
    loan.settle()
    loan.restore()

    assert set(touched) == set(adoption._CHANGED)
    assert sock.gettimeout() == 3


def test_the_table_names_each_option_once() -> None:
    """Or one row would undo what another one does."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        table = [(row.level, row.option) for row in adoption._rows(sock)]

    assert len(set(table)) == len(table)


def test_the_options_of_the_table_are_those_of_an_endpoint() -> None:
    """A row that an option takes care of names one that is handed over."""
    named = {row.unless for rows in adoption._TABLE.values() for row in rows}

    assert named - {""} == set(adoption.OPTIONS)
