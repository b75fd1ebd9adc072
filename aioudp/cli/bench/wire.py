"""The protocol between the two ends of ``aioudp bench``.

Every datagram starts with the same header, in network byte order::

    magic and version   4 bytes
    kind                1 byte
    flow                2 bytes     of DATA, JOIN, JOINED; in START how many; else 0
    run                 8 bytes     chosen at random by the client
    number              8 bytes     of DATA and PROBE, from 0 on; of a poll
    time                8 bytes     nanoseconds on the sender's clock

=========  ==========================  ============================================
kind       from the client             from the server
=========  ==========================  ============================================
HELLO      padded to the size of the   WELCOME with a token: a MAC of the client's
           answer                      address and the run
START      with the token              STARTED: counting starts now
DATA       payload of a flow           nothing
PROBE      anything                    the same datagram
POLL       with the token              RESULT with JSON: the counts so far
FINISH     with the token              the same; it stops sending
JOIN       from the socket of a flow,  JOINED: this flow is sent to that address
           with a token of its own
GO         with the token              GOING, and the flows' DATA
=========  ==========================  ============================================

START has the client's machine and, as JSON, its plan after the token. The number of a
RESULT is that of its request.

A client that returns the token can receive at its claimed address. Only then does the
server send more than it received; until then, an answer is never longer than the
request, as in RFC 9000, section 8.1. Requests may get lost and may be repeated: the
answers are the same.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

MAGIC: Final = b"aUB\x02"
TOKEN_SIZE: Final = 16  # bytes
MACHINE_SIZE: Final = 16  # bytes that identify the machine's clock, after the token

_HEADER: Final = struct.Struct("!4sBHQQQ")
_AFTER_KIND: Final = struct.Struct("!HQQQ")
HEADER_SIZE: Final = _HEADER.size
HELLO_SIZE: Final = HEADER_SIZE + TOKEN_SIZE


class Kind(IntEnum):
    """The kind of a datagram."""

    HELLO = 1
    WELCOME = 2
    START = 3
    STARTED = 4
    DATA = 5
    PROBE = 6
    FINISH = 7
    RESULT = 8
    POLL = 9
    JOIN = 10
    JOINED = 11
    GO = 12
    GOING = 13


class Header(NamedTuple):
    """The fixed part of a datagram."""

    kind: int
    flow: int
    run: int
    number: int
    time: int


def pack(
    kind: Kind, run: int, *, flow: int = 0, number: int = 0, time: int = 0
) -> bytes:
    """Return a header."""
    return _HEADER.pack(MAGIC, kind, flow, run, number, time)


def pack_into(
    buffer: bytearray, offset: int, run: int, flow: int, number: int, time: int
) -> None:
    """Write the header of a DATA datagram into a buffer."""
    _HEADER.pack_into(buffer, offset, MAGIC, Kind.DATA, flow, run, number, time)


DATA: Final = MAGIC + bytes([Kind.DATA])
"""The first bytes of a DATA datagram."""


def unpack_data(datagram: bytes) -> tuple[int, int, int, int]:
    """Return flow, run, number and time of a datagram that starts with :data:`DATA`.

    Raises:
        struct.error: If the datagram is shorter than a header.
    """
    flow, run, number, sent_ns = _AFTER_KIND.unpack_from(datagram, len(DATA))
    return flow, run, number, sent_ns


def parse(datagram: bytes) -> Header | None:
    """Return the header of a datagram, or ``None`` if it's invalid."""
    if len(datagram) < HEADER_SIZE:
        return None
    magic, kind, flow, run, number, time = _HEADER.unpack_from(datagram)
    if magic != MAGIC or not Kind.HELLO <= kind <= Kind.GOING:
        return None
    return Header(kind, flow, run, number, time)
