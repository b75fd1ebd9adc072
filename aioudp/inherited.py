"""The sockets that a service manager has opened for this program (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from itertools import repeat
from typing import Final, NamedTuple

_FIRST: Final = 3  # SD_LISTEN_FDS_START: behind standard input, output and error
_UNNAMED: Final = "unknown"  # what systemd says where it passes no names
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class InheritedSocket(NamedTuple):
    """A socket that a service manager has opened, and its name."""

    name: str
    """``FileDescriptorName=`` of the socket's unit; by default the unit's name. Several
    sockets may have the same."""

    sock: socket.socket
    """A datagram socket, for :func:`aioudp.adopt`. It's yours to close."""


def inherited_sockets() -> list[InheritedSocket]:
    """Return the datagram sockets that systemd has passed, in the order of their units.

    It can be called once: then the variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES
    are removed from the environment, so that no child process takes the sockets for its
    own. The descriptors aren't inherited by children either.

    Returns:
        The sockets. The list is empty if the program wasn't started by a socket unit,
        or if they're for another process.

    Raises:
        OSError: If a descriptor that was promised isn't a socket.
        ValueError: If a variable is malformed, or a socket isn't a datagram socket. No
            socket is closed then, and the variables stay.
    """
    return _inherited(os.environ, os.getpid())


def _inherited(
    environ: MutableMapping[str, str], pid: int, first: int = _FIRST
) -> list[InheritedSocket]:
    if _number(environ, "LISTEN_PID") != pid:
        return []
    count = _number(environ, "LISTEN_FDS")
    names: Iterable[str] = repeat(_UNNAMED)
    if "LISTEN_FDNAMES" in environ:
        names = environ["LISTEN_FDNAMES"].split(":") if count else []
        if len(names) != count:
            raise ValueError(
                f"LISTEN_FDNAMES has {len(names)} names for {count} sockets"
            )
    found: list[InheritedSocket] = []
    try:
        # However large the number is, the first one that isn't open ends it.
        for descriptor, name in zip(range(first, first + count), names, strict=False):
            sock = socket.socket(fileno=descriptor)
            found.append(InheritedSocket(name, sock))
            if sock.type != socket.SOCK_DGRAM:
                raise ValueError(
                    f"descriptor {descriptor} ({name!r}) is not a datagram socket: "
                    f"{sock.type!r}; is it ListenDatagram= in the unit?"
                )
            sock.set_inheritable(False)
    except BaseException:
        for _, sock in found:
            sock.detach()  # they are not ours to close
        raise
    for variable in _VARIABLES:
        environ.pop(variable, None)
    return found


def _number(environ: MutableMapping[str, str], name: str) -> int:
    text = environ.get(name, "0")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a number, got {text!r}")
    return int(text)
