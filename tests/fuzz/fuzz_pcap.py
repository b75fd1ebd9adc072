"""A fuzz target: the reader of capture files, which may come from anybody.

Whatever the file holds, the reader yields payloads that are in it, or raises the
``ValueError`` that its docstring promises.
"""

from __future__ import annotations

import io
import random

from aioudp._system import pcap
from tests.fuzz import driver

LINKS = (0, 1, 12, 101, 108, 113, 228, 229, 276, 147)
_BEFORE = {0: 4, 1: 14, 108: 4, 113: 16, 276: 20}
_TYPE_AT = {1: 12, 113: 14, 276: 0}


def test_one_input(data: bytes) -> None:
    """Read it; what is read must be part of it."""
    payloads: list[bytes] = []
    try:
        for time_ns, payload in pcap.read_datagrams(io.BytesIO(data)):
            assert 0 <= time_ns < 2**32 * 10**9 + 10**9
            if payload is not None:
                payloads.append(payload)
    except ValueError:
        pass  # what stands before the damage was read
    place = 0
    for payload in payloads:
        place = _behind_its_header(data, payload, place)


def _behind_its_header(data: bytes, payload: bytes, start: int) -> int:
    """Find the payload behind a UDP header with its length, and return its end."""
    length = (len(payload) + 8).to_bytes(2, "big")
    place = data.index(payload, start + 8)
    while data[place - 4 : place - 2] != length:
        place = data.index(payload, place + 1)
    return place + len(payload)


def packet(rng: random.Random, link: int) -> bytes:
    """Return a packet as a network of that type would have carried it."""
    payload = rng.randbytes(rng.choice([0, 1, 3, 40]))
    v6 = rng.random() < 0.5
    host = "2001:db8::1" if v6 else "192.0.2.1"
    head = pcap.headers(
        (host, 9), (host, 9), len(payload), tos=0, hop_limit=64, data=payload
    )
    before = bytearray(rng.randbytes(_BEFORE.get(link, 0)))
    if link in _TYPE_AT:
        kind = b"\x86\xdd" if v6 else b"\x08\x00"
        at = _TYPE_AT[link]
        before[at : at + 2] = kind
        if link == 1 and rng.random() < 0.3:
            before[12:14] = b"\x81\x00"
            before += b"\x00\x01" + kind
    return bytes(before) + head + payload + rng.choice([b"", b"\0\0"])


def mutated(rng: random.Random) -> bytes:
    """Return a capture file that is right but for a little."""
    link = rng.choice(LINKS)
    data = bytearray(pcap.FILE_HEADER)
    data[20:24] = link.to_bytes(4, "little")
    for _ in range(rng.randrange(4)):
        data += pcap.record(rng.randrange(2**61), packet(rng, link))
    if rng.random() < 0.2:
        data[:4] = rng.choice([b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1"])
    return driver.damaged(rng, bytes(data))


if __name__ == "__main__":
    driver.main(test_one_input, mutated, pcap)
