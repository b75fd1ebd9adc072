"""As much of BER and of SNMPv2c as a GET request takes (X.690, RFC 3416)."""

from __future__ import annotations

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
GET, RESPONSE = 0xA0, 0xA2


def tlv(tag: int, content: bytes) -> bytes:
    """Encode a value; its content is short."""
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """Return the values in *data*, one after the other."""
    values = []
    while data:
        tag, size, header = data[0], data[1], 2
        if size & 0x80:
            header += size & 0x7F
            size = int.from_bytes(data[2:header], "big")
        values.append((tag, data[header : header + size]))
        data = data[header + size :]
    return values


def fields(message: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Return the kind of a message, its request-id, and the name and value in it."""
    ((_, content),) = parse(message)
    _version, _community, (kind, pdu) = parse(content)
    (_, number), _status, _index, (_, bindings) = parse(pdu)
    ((_, binding),) = parse(bindings)
    (_, name), (_, value) = parse(binding)
    return kind, number, name, value


def message(kind: int, number: bytes, name: bytes, value: bytes) -> bytes:
    """Encode a message of the community ``public``, with one *value*, encoded."""
    zero = tlv(INTEGER, b"\0")
    bindings = tlv(SEQUENCE, tlv(SEQUENCE, tlv(OID, name) + value))
    pdu = tlv(kind, tlv(INTEGER, number) + zero + zero + bindings)
    return tlv(SEQUENCE, tlv(INTEGER, b"\1") + tlv(OCTETS, b"public") + pdu)
