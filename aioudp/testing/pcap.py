"""Pure: the history as a capture file, for tshark and Wireshark.

The format is pcap with raw IP packets (``LINKTYPE_RAW``), which
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html describes. The IP and UDP
headers are created here from the history, with correct checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from .flight import Fate, Flight

_MAGIC: Final = 0xA1B23C4D  # timestamps in nanoseconds
_RAW: Final = 101  # LINKTYPE_RAW
_FILE_HEADER: Final = struct.Struct("<IHHiIII")
_PACKET_HEADER: Final = struct.Struct("<IIII")
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_UDP: Final = struct.Struct("!HHHH")
_PROTOCOL: Final = 17

# These were never on the network.
_UNSENT: Final[frozenset[Fate]] = frozenset({"too large", "queue full"})


def capture(flights: Iterable[Flight], *, epoch_ns: int, arrived: bool) -> bytes:
    """Return a capture file.

    Args:
        flights: What to put into it.
        epoch_ns: When the clock of the event loop showed 0, in nanoseconds since 1970.
        arrived: Whether to capture at the receivers: only datagrams that arrived, with
            the times of their arrival. Otherwise, capture at the senders.
    """
    parts = [_FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, 0x40000, _RAW)]
    for time, flight in _in_order(flights, arrived=arrived):
        packet = packet_of(flight)
        seconds, nanoseconds = divmod(epoch_ns + round(time * 1e9), 1_000_000_000)
        length = len(packet)
        parts.append(_PACKET_HEADER.pack(seconds, nanoseconds, length, length))
        parts.append(packet)
    return b"".join(parts)


def _in_order(
    flights: Iterable[Flight], *, arrived: bool
) -> Iterator[tuple[float, Flight]]:
    if arrived:
        seen = [(one.arrived_at, one) for one in flights if one.arrived_at is not None]
        yield from sorted(seen, key=lambda pair: pair[0])
    else:
        for one in flights:
            if not one.copy and one.fate not in _UNSENT:
                yield one.sent_at, one


def packet_of(flight: Flight) -> bytes:
    """Return the IP packet of a datagram, in one piece."""
    (source, from_port), (destination, to_port) = flight.source, flight.destination
    v6 = ":" in source
    family = AF_INET6 if v6 else AF_INET
    ours = inet_pton(family, source.partition("%")[0])
    theirs = inet_pton(family, destination.partition("%")[0])
    length = _UDP.size + len(flight.data)
    pseudo = ours + theirs + struct.pack("!II", length, _PROTOCOL)
    header = _UDP.pack(from_port, to_port, length, 0)
    # 0 stands for no checksum, so a sum of 0 is written as all ones (RFC 768).
    total = checksum(pseudo + header + flight.data) or 0xFFFF
    udp = _UDP.pack(from_port, to_port, length, total) + flight.data
    if v6:
        first = 6 << 28 | flight.tos << 20
        return (
            _IPV6.pack(first, length, _PROTOCOL, flight.hop_limit, ours, theirs) + udp
        )
    fields = (
        0x45,
        flight.tos,
        _IPV4.size + length,
        flight.number & 0xFFFF,
        0,
        flight.hop_limit,
        _PROTOCOL,
    )
    empty = _IPV4.pack(*fields, 0, ours, theirs)
    return _IPV4.pack(*fields, checksum(empty), ours, theirs) + udp


def checksum(data: bytes) -> int:
    """Return the checksum of the internet protocols (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
