"""``aioudp broadcast`` and ``aioudp discover``, on the loopback interface."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
if sys.platform != "linux":
    pytest.skip("cannot: linux: loopback has broadcast", allow_module_level=True)

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

LOCAL: Final = ("--interface", "127.0.0.1")
EVERYBODY: Final = "127.255.255.255"
BRIEF: Final = ("--timeout", "0.2")
LONG_LINE: Final = b"x" * 65_530


# -- broadcast


def test_everybody_gets_it(start: Start, loop: str) -> None:
    """Each listener on the port gets it; the sender prints each interface."""
    listener = start("listen", ":0", "--count", "2", "--loop", loop)
    port = listener.port()

    sender = start("broadcast", str(port), *LOCAL, "--loop", loop, "one", "two")

    assert sender.end() == (0, [f"lo  {EVERYBODY}:{port}  sent"] * 2, [])
    status, lines, _ = listener.end()
    assert status == 0
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two"]


def test_json_has_each_interface(start: Start) -> None:
    """Each line is an object."""
    listener = start("listen", ":0", "--count", "1", "--format", "json")
    port = listener.port()

    sender = start("broadcast", str(port), "-i", "1", "--json", "--hex", "00 ff")

    (line,) = sender.end()[1]
    assert json.loads(line) == {
        "interface": "lo",
        "addr": f"{EVERYBODY}:{port}",
        "host": EVERYBODY,
        "port": port,
        "sent": True,
        "error": None,
    }
    assert json.loads(listener.line())["hex"] == "00ff"


def test_lines_of_standard_input(start: Start) -> None:
    """Each is one datagram; one that left by no interface makes the status 1."""
    sender = start("broadcast", "9", *LOCAL)

    status, lines, _ = sender.end(text=b"short\n" + LONG_LINE + b"\n")

    assert status == 1
    assert lines[0].endswith("  sent")
    assert "too long" in lines[1]


# -- discover


@pytest.fixture
def echo(start: Start) -> int:
    """Start somebody who answers; return the port."""
    return start("echo", ":0").port()


@pytest.mark.parametrize("group", [(), ("--group", "239.255.77.4")])
def test_who_answers_is_shown(start: Start, loop: str, group: Any) -> None:
    """Once; nobody who is asked by one way hears the other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.settimeout(10)
        device.bind(("", 0))
        if group:
            request = socket.inet_aton(group[1]) + socket.inet_aton("127.0.0.1")
            option = socket.IP_ADD_MEMBERSHIP
            device.setsockopt(socket.IPPROTO_IP, option, request)
        port = device.getsockname()[1]
        asker = start(
            "discover", str(port), "who?", *LOCAL, *group, *BRIEF, "--loop", loop
        )
        for _ in range(3):
            question, addr = device.recvfrom(100)
            assert question == b"who?"
            device.sendto(b"I\x1b", addr)

        status, lines, errors = asker.end()

    assert (status, errors) == (0, ["1 reply"])
    assert [line.partition(" ")[2] for line in lines] == [r"I\x1b"]


def test_json_has_each_reply(start: Start, echo: int) -> None:
    """As ``listen`` does."""
    asker = start(
        "discover", str(echo), "00 ff", "--hex", "--json", "-r", "1", *LOCAL, *BRIEF
    )

    status, (line,), errors = asker.end()

    assert (status, errors) == (0, ["1 reply"])
    entry = json.loads(line)
    assert (entry["hex"], entry["addr"]) == ("00ff", f"127.0.0.1:{echo}")


def test_nobody_answers(start: Start) -> None:
    """Status 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("", 0))
        port = str(mute.getsockname()[1])
        asker = start("discover", port, "who?", *LOCAL, "--timeout", "0.05")

        assert asker.end() == (1, [], ["0 replies"])


def test_nobody_could_be_asked(start: Start) -> None:
    """The error gives the reason: the request is too long for a datagram."""
    asker = start("discover", "9", LONG_LINE, *LOCAL, "--timeout", "0.05")

    status, lines, errors = asker.end()

    assert (status, lines, len(errors)) == (1, [], 1)
    assert "sending to" in errors[0]
    assert "interface lo" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["broadcast", "9", "text", "--interface", "nowhere"], "nowhere"),
        (["broadcast", "9", "--hex", "text"], "not hexadecimal"),
        (["discover", "9", "text", "--interface", "nowhere"], "nowhere"),
        (["discover", "9", "text", "--group", "192.0.2.1"], "multicast"),
        (["discover", "9", "text", "--timeout", "0"], "timeout"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    start: Start, arguments: list[str], message: str
) -> None:
    """And end with status 2."""
    status, lines, errors = start(*arguments).end()

    assert (status, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]


@pytest.mark.parametrize("port", ["0", "65536", "text"])
@pytest.mark.parametrize("name", ["broadcast", "discover"])
def test_a_port_that_is_none(start: Start, name: str, port: str) -> None:
    """Status 2, as for all wrong arguments."""
    assert start(name, port, "text").end()[0] == 2
