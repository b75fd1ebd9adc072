"""A fuzz target: entries of the error queue, which quote what a router sent.

An entry is split into control messages as recvmsg(2) would; the parser returns an error
of the network, or ``None``, or raises the ``ValueError`` that it promises.
"""

from __future__ import annotations

import random
import struct
from socket import AF_INET, AF_INET6

from aioudp._system import error_queue, sockets
from tests.fuzz import driver
from tests.fuzz.fuzz_control_data import CTRUNC, message, split

LEVELS = ((0, sockets.IP_RECVERR), (41, sockets.IPV6_RECVERR))
PEER = ("192.0.2.1", 9)


def test_one_input(data: bytes) -> None:
    """Parse it; an error has an errno, and an offender that is an address."""
    flags, control = (CTRUNC if data[:1] > b"\x7f" else 0), data[1:]
    try:
        error = error_queue.parse(b"payload", split(control), flags, PEER)
    except ValueError:
        return
    if error is not None:
        assert error.addr == PEER
        assert str(error.error)
        assert error.offender is None or {".", ":"} & {*error.offender}
        assert error.mtu is None or 0 < error.mtu < 2**32


def mutated(rng: random.Random) -> bytes:
    """Return an entry that is right but for a little."""
    kinds = rng.choice([3, 11, 1, 2]), rng.choice([0, 3, 4])
    origin = rng.choice([2, 3, 1, 4])
    number = rng.choice([111, 113, 90, rng.randrange(2**32)])
    value = struct.pack("=IBBBxII", number, origin, *kinds, rng.randrange(2**32), 0)
    value += rng.choice(
        [
            struct.pack("=HH4s8x", AF_INET, 0, rng.randbytes(4)),
            struct.pack("=HHI16sI", AF_INET6, 0, 0, rng.randbytes(16), 3),
            b"",
        ]
    )
    if rng.random() < 0.2:
        value = value[: rng.randrange(len(value))]
    data = rng.randbytes(1) + message(*rng.choice(LEVELS), value)
    return driver.damaged(rng, data)


if __name__ == "__main__":
    driver.main(test_one_input, mutated, error_queue)
