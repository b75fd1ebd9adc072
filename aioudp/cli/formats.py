r"""Datagrams as text: escaped, as a hex dump, as JSON lines.

Payloads may contain terminal control sequences, line breaks that fake a second entry,
or characters that change the writing direction. All of them are escaped here. Pure: no
stream, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from aioudp import Datagram, Stats

from .._system.addresses import format_address

_BYTES_PER_LINE: Final = 16
_HEX_WIDTH: Final = 3 * _BYTES_PER_LINE  # two digits and a space for each byte

_SHORT_ESCAPES: Final = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class Format(StrEnum):
    """How a received datagram is shown."""

    TEXT = "text"
    HEX = "hex"
    JSON = "json"


def show(datagram: Datagram, form: Format, time: float) -> str:
    """Return the line, or the lines, that show one datagram.

    *time* is the time of reception, in seconds since the epoch; only JSON includes it.
    """
    data, addr = datagram
    sender = printable(format_address(addr))
    if form is Format.JSON:
        return json_line(datagram, time)
    if form is Format.HEX:
        unit = "byte" if len(data) == 1 else "bytes"
        return "\n".join((f"{sender} {len(data)} {unit}", *hex_dump(data)))
    return f"{sender} {escape(data)}"


def escape(data: bytes) -> str:
    r"""Return UTF-8 text unchanged, with unprintable characters escaped.

    Bytes that aren't valid UTF-8 and ASCII control characters become ``\xNN``, other
    unprintable characters ``\uNNNN``. Backslashes are doubled, so that different
    payloads never look the same.
    """
    return printable(data.decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """Return *text* with unprintable characters escaped."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape_character, text))


def _escape_character(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, kept by "surrogateescape" (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def hex_dump(data: bytes) -> Iterator[str]:
    """Yield a line for each 16 bytes: offset, hexadecimal, and ASCII."""
    for start in range(0, len(data), _BYTES_PER_LINE):
        part = data[start : start + _BYTES_PER_LINE]
        digits = part.hex(" ")
        ascii_text = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in part)
        yield f"{start:04x}  {digits:<{_HEX_WIDTH}} |{ascii_text}|"


def json_line(datagram: Datagram, time: float) -> str:
    """Return one line of JSON, in ASCII: time, addr, size, and data or hex.

    ``data`` is the payload as text, if it's valid UTF-8; otherwise, ``hex`` is the
    payload in hexadecimal.
    """
    data, addr = datagram
    entry: dict[str, object] = {
        "time": round(time, 6),
        "addr": format_address(addr),
        "size": len(data),
    }
    try:
        entry["data"] = data.decode()
    except UnicodeDecodeError:
        entry["hex"] = data.hex()
    # JSON allows an unescaped DEL (RFC 8259, section 7); a terminal may act on it.
    return json.dumps(entry).replace("\x7f", r"\u007f")


def summary(stats: Stats, *, unanswered: int = 0) -> str:
    """Return the line of statistics that a command prints at the end.

    *unanswered*: datagrams whose sender can't be answered; they count as errors.
    """
    dropped = stats.dropped_queue + stats.dropped_kernel + stats.truncated
    at_most = dropped - stats.dropped_kernel + stats.dropped_kernel_max
    drops = f"{dropped}" if dropped == at_most else f"{dropped} to {at_most}"
    errors = stats.send_errors + stats.receive_errors + unanswered
    return (
        f"received {stats.received} ({stats.received_bytes} bytes), "
        f"sent {stats.sent} ({stats.sent_bytes} bytes), "
        f"dropped {drops}, errors {errors}"
    )
