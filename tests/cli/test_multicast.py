"""``aioudp multicast``, as a process, on the loopback interface."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform == "win32":
    pytest.skip("cannot: posix: no signals", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

GROUP: Final = "239.255.77.2"
LOCAL: Final = ("--interface", "127.0.0.1")


def test_send_and_listen(start: Start, loop: str) -> None:
    """The listener prints the datagram; the sender prints each interface."""
    arguments = (*LOCAL, "--count", "2", "--loop", loop)
    listener = start("multicast", "listen", f"{GROUP}:0", *arguments)
    port = listener.port()

    sender = start(
        "multicast", "send", f"{GROUP}:{port}", *LOCAL, "--loop", loop, "one", "two"
    )

    name = loopback()
    assert sender.end() == (0, [f"{name}  {GROUP}:{port}  sent"] * 2, [])
    status, lines, errors = listener.end()
    assert status == 0
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two"]
    assert errors == ["received 2 (6 bytes), sent 0 (0 bytes), dropped 0, errors 0"]


def test_json(start: Start) -> None:
    """Each line of either is an object."""
    arguments = (*LOCAL, "--count", "1", "--format", "json")
    listener = start("multicast", "listen", f"{GROUP}:0", *arguments)
    port = listener.port()

    sender = start(
        "multicast", "send", f"{GROUP}:{port}", *LOCAL, "--json", "--hex", "00 ff"
    )

    (line,) = sender.end()[1]
    assert json.loads(line) == {
        "interface": loopback(),
        "addr": f"{GROUP}:{port}",
        "host": GROUP,
        "port": port,
        "sent": True,
        "error": None,
    }
    assert json.loads(listener.line())["hex"] == "00ff"


def test_lines_of_standard_input(start: Start) -> None:
    """Each is one datagram; one that is too long is reported, and the status is 1."""
    text = b"short\n" + bytes(65_600).replace(b"\0", b"x")[:65_530] + b"\n"
    sender = start("multicast", "send", f"{GROUP}:9", *LOCAL)

    status, lines, _ = sender.end(text=text)

    assert status == 1
    assert lines[0].endswith("  sent")
    assert "too long" in lines[1]


def test_silence(start: Start) -> None:
    """It is a failure if datagrams were counted on."""
    listener = start(
        "multicast", "listen", f"{GROUP}:0", *LOCAL, "--timeout", "0.05", "-c", "1"
    )

    assert listener.port()
    assert listener.end()[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["listen", "192.0.2.1:9"], "not a multicast address"),
        (["listen", "9"], "expected a group and a port"),
        (["send", f"{GROUP}:0", "text"], "nothing can be sent to port 0"),
        (["listen", f"{GROUP}:0", "--interface", "nowhere"], "nowhere"),
        (["listen", f"{GROUP}:0", "--source", "here"], "numeric"),
        (["send", f"{GROUP}:9", "-i", "4294967295", "text"], "4294967295"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    start: Start, arguments: list[str], message: str
) -> None:
    """And end with status 2."""
    status, lines, errors = start("multicast", *arguments).end()

    assert (status, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]


def loopback() -> str:
    return "lo" if "lo" in [name for _, name in socket.if_nameindex()] else "lo0"
