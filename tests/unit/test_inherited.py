"""The sockets that a service manager passes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import aioudp
from aioudp.inherited import _inherited

PID: Final = 4711


def environment(count: int, names: str | None = None, pid: int = PID) -> dict[str, str]:
    found = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "PATH": "/bin"}
    return found if names is None else found | {"LISTEN_FDNAMES": names}


def passed(*kinds: socket.SocketKind) -> int:
    """Open sockets with descriptors in a row, and return the first of these."""
    socks = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    first = 700
    for number, sock in enumerate(socks):
        os.dup2(sock.fileno(), first + number, inheritable=True)
        sock.close()
    return first


@pytest.mark.parametrize(
    ("names", "expected"), [("dns:log", ["dns", "log"]), (None, ["unknown"] * 2)]
)
def test_they_are_returned_with_their_names(
    names: str | None, expected: list[str]
) -> None:
    """Once: then the variables are gone, and no child inherits the sockets."""
    first = passed(socket.SOCK_DGRAM, socket.SOCK_DGRAM)
    environ = environment(2, names)

    found = _inherited(environ, PID, first)

    assert [name for name, _ in found] == expected
    assert [sock.fileno() for _, sock in found] == [first, first + 1]
    assert not any(sock.get_inheritable() for _, sock in found)
    assert environ == {"PATH": "/bin"}
    assert _inherited(environ, PID, first) == []
    for _, sock in found:
        sock.close()


@pytest.mark.parametrize(
    "environ", [{}, environment(2, pid=PID + 1), environment(0), environment(0, "")]
)
def test_there_are_none(environ: dict[str, str]) -> None:
    """Also if they are for another process."""
    assert _inherited(dict(environ), PID) == []


def test_a_stream_socket() -> None:
    """It is refused by its name, and nothing is closed."""
    first = passed(socket.SOCK_DGRAM, socket.SOCK_STREAM)
    environ = environment(2, "good:bad")

    with pytest.raises(ValueError, match=r"701 \('bad'\) is not a datagram socket"):
        _inherited(environ, PID, first)

    assert "LISTEN_FDS" in environ
    os.close(first)
    os.close(first + 1)


def test_a_descriptor_that_is_not_there() -> None:
    """It is the system's error."""
    with pytest.raises(OSError):
        _inherited(environment(1), PID, 900)


def test_a_number_without_bound() -> None:
    """The first descriptor that isn't there ends it, not the memory of the process."""
    with pytest.raises(OSError):
        _inherited(environment(1) | {"LISTEN_FDS": f"{10**30}"}, PID, 900)


@pytest.mark.parametrize(
    ("environ", "match"),
    [
        (environment(2, "one"), "1 names for 2 sockets"),
        (environment(1) | {"LISTEN_FDS": "two"}, "LISTEN_FDS must be a number"),
        ({"LISTEN_PID": "-1"}, "LISTEN_PID must be a number"),
    ],
)
def test_what_is_malformed(environ: dict[str, str], match: str) -> None:
    """ValueError, with the variable."""
    with pytest.raises(ValueError, match=match):
        _inherited(environ, PID)


@pytest.mark.skipif(sys.platform == "win32", reason="cannot: posix: no such thing")
def test_a_program_gets_them_as_systemd_passes_them() -> None:
    """From descriptor 3 on, with its own number."""
    program = (
        "import os, sys\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "import aioudp\n"
        "for name, sock in aioudp.inherited_sockets():\n"
        "    print(name, sock.getsockname()[1])\n"
        "    sock.close()\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        shell = f'exec "$0" -X dev -W error -c "$1" 3<&{sock.fileno()}'
        done = subprocess.run(
            ["bash", "-c", shell, sys.executable, program],
            pass_fds=[sock.fileno()],
            env=os.environ
            | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "dns"}
            | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"dns {sock.getsockname()[1]}\n", done.stderr
