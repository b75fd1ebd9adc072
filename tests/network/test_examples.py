"""The examples that are about routers, run where there are some."""

from __future__ import annotations

import re
from socket import AF_INET, AddressFamily
from typing import Final

from ..examples.programs import run
from .links import HEADERS, MTU, Path
from .traffic import Sink

_SMALL: Final = 1280  # bytes


def test_traceroute(path: Path, family: AddressFamily) -> None:
    """Each router is shown, and at last the host."""
    far = path.host(3, family)

    printed = run("traceroute", far)

    shown = re.findall(r"^ (\d) (\S+), [\d.]+ ms$", printed, re.MULTILINE)
    assert shown == [(str(hop), path.host(hop, family)) for hop in (1, 2, 3)]
    assert printed.endswith("there\n")


def test_traceroute_to_nowhere(path: Path, family: AddressFamily) -> None:
    """The router that knows no further is the last that is shown."""
    nowhere = "198.18.0.1" if family == AF_INET else "2001:db8:e::1"
    path.second.ip(f"route add prohibit {nowhere}")
    path.first.ip(f"route add {nowhere} via {path.host(2, family)}")

    printed = run("traceroute", nowhere)

    assert len(printed.splitlines()) == 3
    assert f" 2 {path.host(2, family)}, " in printed
    assert re.search("^no further: ", printed, re.MULTILINE)


def test_path_mtu(path: Path, family: AddressFamily) -> None:
    """The first datagram is too long for the second link; the next one is not."""
    path.set_mtu(_SMALL)
    headers = HEADERS[family]
    with Sink(path.far, family) as sink:
        printed = run("path_mtu", path.host(3, family), sink.port)

        assert len(sink.socket.recv(65536)) == _SMALL - headers

    assert printed.splitlines() == [
        f"sent: {MTU} bytes with headers, {MTU - headers} without",
        f"{path.host(1, family)}: too long, at most {_SMALL} bytes",
        f"sent: {_SMALL} bytes with headers, {_SMALL - headers} without",
        "nobody objects",
    ]
