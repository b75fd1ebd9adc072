"""Datagrams as text: a line, a hex dump, a JSON object; statistics as a line.

Pure: no stream, no clock. ``escaping`` makes payloads safe to print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from .._system.addresses import format_address
from .._types import Address, Datagram, Stats
from .escaping import escape, printable

_BYTES_PER_LINE: Final = 16
_HEX_WIDTH: Final = 3 * _BYTES_PER_LINE  # two digits and a space for each byte


class Format(StrEnum):
    """How a received datagram is shown."""

    TEXT = "text"
    HEX = "hex"
    JSON = "json"
    RAW = "raw"


def show(datagram: Datagram, form: Format, time: float) -> str:
    """Return the line, or the lines, that show one datagram.

    *time* is the time of reception, in seconds since the epoch; only JSON includes it.
    Raw payloads aren't lines: they aren't shown by this function.
    """
    data, addr = datagram
    sender = printable(format_address(addr))
    if form is Format.JSON:
        return json_line(datagram, time)
    if form is Format.HEX:
        unit = "byte" if len(data) == 1 else "bytes"
        return "\n".join((f"{sender} {len(data)} {unit}", *hex_dump(data)))
    return f"{sender} {escape(data)}"


def hex_dump(data: bytes) -> Iterator[str]:
    """Yield a line for each 16 bytes: offset, hexadecimal, and ASCII."""
    for start in range(0, len(data), _BYTES_PER_LINE):
        part = data[start : start + _BYTES_PER_LINE]
        digits = part.hex(" ")
        ascii_text = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in part)
        yield f"{start:04x}  {digits:<{_HEX_WIDTH}} |{ascii_text}|"


def json_line(datagram: Datagram, time: float) -> str:
    """Return a datagram as one line of JSON.

    ``data`` is the payload as text, if it's valid UTF-8; otherwise, ``hex`` is the
    payload in hexadecimal.
    """
    data, addr = datagram
    entry: dict[str, object] = {"time": round(time, 6), **address_fields(addr)}
    entry["size"] = len(data)
    try:
        entry["data"] = data.decode()
    except UnicodeDecodeError:
        entry["hex"] = data.hex()
    return json_object(entry)


def address_fields(addr: Address) -> dict[str, object]:
    """Return an address as every JSON object has it.

    ``addr`` is in the form that commands accept; ``host`` and ``port`` are its parts,
    null for a UNIX socket.
    """
    host, port = (addr[0], addr[1]) if isinstance(addr, tuple) else (None, None)
    return {"addr": format_address(addr), "host": host, "port": port}


def json_object(entry: Mapping[str, object]) -> str:
    """Return one line of JSON, in ASCII."""
    import json  # most runs print none

    # JSON allows an unescaped DEL (RFC 8259, section 7); a terminal may act on it.
    return json.dumps(entry).replace("\x7f", r"\u007f")


def counts(stats: Stats, *, unanswered: int = 0) -> dict[str, object]:
    """Return the statistics that a command prints at the end, for JSON.

    *unanswered*: datagrams whose sender can't be answered; they count as errors.
    """
    dropped = stats.dropped_queue + stats.dropped_kernel + stats.truncated
    return {
        "received": stats.received,
        "received_bytes": stats.received_bytes,
        "sent": stats.sent,
        "sent_bytes": stats.sent_bytes,
        "dropped": dropped,
        "dropped_max": dropped - stats.dropped_kernel + stats.dropped_kernel_max,
        "errors": stats.send_errors + stats.receive_errors + unanswered,
    }


def summary(stats: Stats, *, unanswered: int = 0) -> str:
    """Return the line of statistics that a command prints at the end.

    *unanswered*: datagrams whose sender can't be answered; they count as errors.
    """
    found = counts(stats, unanswered=unanswered)
    dropped, at_most = found["dropped"], found["dropped_max"]
    drops = f"{dropped}" if dropped == at_most else f"{dropped} to {at_most}"
    return (
        f"received {stats.received} ({stats.received_bytes} bytes), "
        f"sent {stats.sent} ({stats.sent_bytes} bytes), "
        f"dropped {drops}, errors {found['errors']}"
    )
