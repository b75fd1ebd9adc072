"""Pure: capture files, which Wireshark and tcpdump write and read.

The format is pcap, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html. What
is written here has times in nanoseconds and raw IP packets (``LINKTYPE_RAW``). A socket
hands over payloads, not packets, so the IP and UDP headers are made here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_pton
from typing import BinaryIO, Final

_NANOSECONDS: Final = 0xA1B23C4D  # the magic numbers say what the times count
_MICROSECONDS: Final = 0xA1B2C3D4
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_RAW: Final = 101  # LINKTYPE_RAW
_LONGEST: Final = 0x40000  # bytes of a packet; libpcap's MAXIMUM_SNAPLEN
_FILE_HEADER: Final = struct.Struct("<IHHiIII")
RECORD: Final = struct.Struct("<IIII")
"""Before each packet: seconds, nanoseconds, bytes in the file, bytes of the packet."""
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_UDP: Final = struct.Struct("!HHHH")
_PROTOCOL: Final = 17
_FRAGMENT: Final = 0x3FFF  # more fragments, or an offset (RFC 791)

FILE_HEADER: Final = _FILE_HEADER.pack(_NANOSECONDS, 2, 4, 0, 0, _LONGEST, _RAW)
"""What a file begins with."""

# Link types (https://www.tcpdump.org/linktypes.html): where the EtherType is, and how
# long the header is. Without an EtherType, the packet itself shows its IP version.
_LINKS: Final[dict[int, tuple[int | None, int]]] = {
    0: (None, 4),  # NULL, the loopback interface of BSD
    1: (12, 14),  # ETHERNET
    12: (None, 0),  # RAW, as some systems number it
    101: (None, 0),  # RAW
    108: (None, 4),  # LOOP
    113: (14, 16),  # LINUX_SLL
    228: (None, 0),  # IPV4
    229: (None, 0),  # IPV6
    276: (0, 20),  # LINUX_SLL2
}
_VLANS: Final = (b"\x81\x00", b"\x88\xa8")
_IP_TYPES: Final = (b"\x08\x00", b"\x86\xdd")


# -- writing


def record(time_ns: int, packet: bytes) -> bytes:
    """Return what stands in a file for a packet; *time_ns* is since 1970."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return RECORD.pack(seconds, nanoseconds, len(packet), len(packet)) + packet


def headers(
    source: tuple[str, int],
    destination: tuple[str, int],
    length: int,
    *,
    tos: int,
    hop_limit: int,
    number: int = 0,
    data: bytes | None = None,
) -> bytes:
    """Return the IP and UDP headers of a datagram with *length* bytes of payload.

    Without *data*, the UDP checksum is 0, which stands for none. Only IPv4 allows that.
    """
    (host, from_port), (to_host, to_port) = source, destination
    v6 = ":" in host
    family = AF_INET6 if v6 else AF_INET
    ours = inet_pton(family, host.partition("%")[0])
    theirs = inet_pton(family, to_host.partition("%")[0])
    length += _UDP.size
    udp = _UDP.pack(from_port, to_port, length, 0)
    if data is not None:
        pseudo = ours + theirs + struct.pack("!II", length, _PROTOCOL)
        # A sum of 0 is written as all ones (RFC 768).
        total = checksum(pseudo + udp + data) or 0xFFFF
        udp = _UDP.pack(from_port, to_port, length, total)
    if v6:
        first = 6 << 28 | tos << 20
        return _IPV6.pack(first, length, _PROTOCOL, hop_limit, ours, theirs) + udp
    total_length = _IPV4.size + length
    fields = (0x45, tos, total_length, number & 0xFFFF, 0, hop_limit, _PROTOCOL)
    empty = _IPV4.pack(*fields, 0, ours, theirs)
    return _IPV4.pack(*fields, checksum(empty), ours, theirs) + udp


def checksum(data: bytes) -> int:
    """Return the checksum of the internet protocols (RFC 1071).

    The sum of 16-bit words in ones' complement is the whole number modulo 65535.
    """
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


# -- reading


def read_datagrams(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield the time in nanoseconds since 1970, and the payload, of each packet.

    The payload is ``None`` if the packet isn't a complete UDP datagram: another
    protocol, a fragment, or cut off by the program that captured it.

    Raises:
        ValueError: If it isn't a capture file, or it's damaged; that comes after what
            stands before the damage.
    """
    header = file.read(_FILE_HEADER.size)
    if header.startswith(_PCAPNG):
        raise ValueError("it is a pcapng file; convert it: editcap -F nsecpcap OLD NEW")
    for order in "<>":
        magic = struct.unpack_from(f"{order}I", header.ljust(4, b"\0"))[0]
        if magic in (_NANOSECONDS, _MICROSECONDS):
            break
    else:
        raise ValueError("it is not a pcap file")
    if len(header) < _FILE_HEADER.size:
        raise ValueError("it is damaged: the file header is incomplete")
    link = struct.unpack_from(f"{order}I", header, 20)[0] & 0xFFFF
    if link not in _LINKS:
        raise ValueError(f"its packets are of link type {link}, which is not supported")
    unit = 1 if magic == _NANOSECONDS else 1000
    layout = struct.Struct(f"{order}IIII")
    at = _FILE_HEADER.size
    while head := file.read(layout.size):
        if len(head) < layout.size:
            raise ValueError(f"it is damaged: it ends in a packet header, at byte {at}")
        seconds, fraction, length, _ = layout.unpack(head)
        if length > _LONGEST or fraction * unit >= 1_000_000_000:
            raise ValueError(f"it is damaged: no packet begins at byte {at}")
        packet = file.read(length)
        if len(packet) < length:
            raise ValueError(f"it is damaged: it ends in the packet at byte {at}")
        yield seconds * 1_000_000_000 + fraction * unit, _payload(packet, link)
        at += layout.size + length


def _payload(packet: bytes, link: int) -> bytes | None:
    type_at, at = _LINKS[link]
    if type_at is not None:
        kind = packet[type_at : type_at + 2]
        while link == 1 and kind in _VLANS:
            kind, at = packet[at + 2 : at + 4], at + 4
        if kind not in _IP_TYPES:
            return None
    version = packet[at] >> 4 if at < len(packet) else 0
    if version == 4 and len(packet) >= at + _IPV4.size:
        _, _, _, _, fragment, _, protocol, *_ = _IPV4.unpack_from(packet, at)
        at += 4 * (packet[at] & 15)
        if fragment & _FRAGMENT:
            return None
    elif version == 6 and len(packet) >= at + _IPV6.size:
        _, _, protocol, *_ = _IPV6.unpack_from(packet, at)
        at += _IPV6.size
    else:
        return None
    if protocol != _PROTOCOL or len(packet) < at + _UDP.size:
        return None
    length = _UDP.unpack_from(packet, at)[2]
    if length < _UDP.size or len(packet) < at + length:
        return None
    return packet[at + _UDP.size : at + length]
