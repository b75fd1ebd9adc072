"""A fuzz target: the compiled parser of control data, beside a reading of cmsg(3).

The parser is given each input in a block of just its length, so a build with
AddressSanitizer sees any read beyond it.
"""

from __future__ import annotations

import importlib
import random
import socket
import struct
from typing import Any, Final

from aioudp._system import control_data
from tests.fuzz import driver

CTRUNC: Final = int(socket.MSG_CTRUNC)

_HEADER: Final = struct.Struct("@Nii")  # struct cmsghdr: cmsg_len, level, type
_GRO: Final = (17, 104)  # SOL_UDP, UDP_GRO
_PORT: Final = 9

# Level, type and length of each control message that a socket may get.
KINDS: Final = {
    _GRO: 4,
    (0, 1): 1,  # IP_TOS
    (0, 2): 4,  # IP_TTL
    (0, 8): 12,  # IP_PKTINFO
    (41, 50): 20,  # IPV6_PKTINFO
    (41, 52): 4,  # IPV6_HOPLIMIT
    (41, 67): 4,  # IPV6_TCLASS
    (1, 35): 16,  # SO_TIMESTAMPNS
    (1, 37): 48,  # SO_TIMESTAMPING
    (1, 29): 16,  # SO_TIMESTAMP, which nobody asks for
}


def split(control: bytes) -> list[tuple[int, int, bytes]]:
    """Return the messages of control data, up to the first that is not whole."""
    messages = []
    position = 0
    while len(control) - position >= _HEADER.size:
        length, level, kind = _HEADER.unpack_from(control, position)
        if not _HEADER.size <= length <= len(control) - position:
            break
        value = control[position + _HEADER.size : position + length]
        messages.append((level, kind, value))
        position += (length + 7) // 8 * 8
    return messages


def reference(control: bytes, flags: int) -> tuple[int, Any]:
    """Return what control data says: of segments a size, 0 for none, -1 if that was
    cut off; and the rest, as the readable twin reads it.
    """
    messages = split(control)
    _, info = control_data.parse(messages, _PORT)
    for level, kind, value in messages:
        if (level, kind) == _GRO and len(value) >= 4:
            return max(0, struct.unpack_from("@i", value)[0]), info
    return -1 if flags & CTRUNC else 0, info


def compiled(control: bytes, flags: int) -> tuple[int, Any]:
    """Return the same as the compiled twin reads it."""
    speedups: Any = importlib.import_module("aioudp._system.speedups")
    result: tuple[int, Any] = speedups.parse(control, flags, _PORT)
    return result


def message(level: int, kind: int, value: bytes, *, claim: int = 0) -> bytes:
    """Write one control message, which may *claim* to be longer than it is."""
    length = max(0, _HEADER.size + len(value) + claim)
    body = _HEADER.pack(length, level, kind) + value
    return body + bytes(-len(body) % 8)


def test_one_input(data: bytes) -> None:
    """Compare the two on one input: its first byte makes the flags."""
    flags, control = (CTRUNC if data[:1] > b"\x7f" else 0), data[1:]
    assert compiled(control, flags) == reference(control, flags), data


def mutated(rng: random.Random) -> bytes:
    """Return messages that are right but for a few bytes."""
    data = bytearray(rng.randbytes(1))
    for _ in range(rng.randrange(4)):
        kind = rng.choice(list(KINDS))
        size = rng.choice([KINDS[kind], KINDS[kind], rng.randrange(60)])
        claim = rng.choice([0, 0, 0, rng.randrange(-20, 300), rng.randrange(2**62)])
        data += message(*kind, rng.randbytes(size), claim=claim)
    for _ in range(rng.choice([0, 0, 1, 3])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.choice([None, None, rng.randrange(len(data) + 1)])])


if __name__ == "__main__":
    driver.main(test_one_input, mutated, control_data)
