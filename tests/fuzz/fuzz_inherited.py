"""A fuzz target: the variables by which a service manager passes sockets.

Whatever they say, the sockets are returned, or an ``OSError`` or ``ValueError`` is
raised; then all descriptors are still open, and the variables still there.
"""

from __future__ import annotations

import os
import random
import socket

from aioudp import inherited
from tests.fuzz import driver

FIRST = 900  # above every descriptor that a test has open
PID = 77
KINDS = (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)
"""Of the descriptors from FIRST on; what follows them isn't open."""


def test_one_input(data: bytes) -> None:
    """Read the variables from the lines of the input: the pid, the count, the names."""
    lines = data.decode(errors="surrogateescape").split("\n")
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    environ = dict(zip(names, lines, strict=False))
    before = dict(environ)
    for number, kind in enumerate(KINDS, FIRST):
        with socket.socket(socket.AF_INET, kind) as sock:
            os.dup2(sock.fileno(), number)
    try:
        found = inherited._inherited(environ, PID, FIRST)
    except (OSError, ValueError):
        assert environ == before
    else:
        assert len(found) <= 2
        assert environ == {} or found == []
        for _, sock in found:
            sock.detach()
    finally:
        for number in range(FIRST, FIRST + len(KINDS)):
            os.close(number)  # fails if it was closed


def mutated(rng: random.Random) -> bytes:
    """Return variables that are right but for a little."""
    count = rng.choice([0, 1, 2, 2, 3, 4, 10**9, 10**30])
    lines = [str(PID), str(count)]
    if rng.random() < 0.7:
        lines.append(":".join(["name"] * rng.choice([min(count, 4), 0, 1, 2])))
    return driver.damaged(rng, "\n".join(lines).encode())


if __name__ == "__main__":
    driver.main(test_one_input, mutated, inherited)
