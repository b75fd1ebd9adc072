"""Read a packed batch, as JetStream stores it, with nothing but Python.

    python examples/read_packed_batch.py FILE

The format: docs/explanation/forwarding.md.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any


def read(message: bytes) -> Iterator[tuple[int | None, Any, bytes]]:
    """Yield arrival time in nanoseconds, source and payload of each datagram."""
    magic, version, flags, at = struct.unpack_from("<4sBBH", message)
    if (magic, version) != (b"UDPB", 1):
        raise ValueError("this is no packed batch of version 1")
    n, s, _, table, size, *_ = struct.unpack_from("<IIIIII", message, 32)
    times: tuple[int | None, ...] = (None,) * n
    if flags & 1:
        times = struct.unpack_from(f"<{n}q", message, at)
        at += 8 * n
    offsets = struct.unpack_from(f"<{n + 1}i", message, at)
    sources = struct.unpack_from(f"<{n}I", message, at + 4 * (n + 1))
    at += 4 * (n + 1) + 4 * n + (4 * n if flags & 2 else 0)
    payloads = message[at + table : at + table + size]
    addresses: list[Any] = []
    while len(addresses) < s:
        family, at = message[at], at + 1
        length = {4: 4, 6: 16}.get(family) or 2 + int.from_bytes(
            message[at : at + 2], "little"
        )
        host, at = message[at : at + length], at + length
        if family == 1:
            addresses.append(host[2:])
            continue
        version_of_ip = socket.AF_INET if family == 4 else socket.AF_INET6
        (port,) = struct.unpack_from("<H", message, at)
        addresses.append((socket.inet_ntop(version_of_ip, host), port))
        at += 2 if family == 4 else 10
    for i in range(n):
        yield times[i], addresses[sources[i]], payloads[offsets[i] : offsets[i + 1]]


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        for time, source, payload in read(file.read()):
            print(time, source, payload)
