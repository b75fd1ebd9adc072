r"""Datagrams as text: escaped, as a hex dump, as JSON lines.

What comes from the network may hold terminal control sequences, line ends that fake
a second entry, or letters that change the direction of writing. All of it leaves
here as printable characters. Pure: no stream, no clock.
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

    *time* is when it was received, in seconds since the epoch; only JSON has it.
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
    r"""Return UTF-8 text as it is, and whatever is not printable escaped.

    A byte that is not part of valid UTF-8 and an ASCII control character become
    ``\xNN``, any other unprintable character ``\uNNNN``, and a backslash is doubled,
    so that different payloads never look the same.
    """
    return printable(data.decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """Return *text* with everything that is not a printable character escaped."""
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

    ``data`` is the payload as text where it is valid UTF-8; ``hex`` is its bytes
    where it is not.
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
    # JSON lets DEL stand unescaped (RFC 8259, section 7); a terminal may act on it.
    return json.dumps(entry).replace("\x7f", r"\u007f")


def summary(stats: Stats, *, unanswered: int = 0) -> str:
    """Return the line of statistics that ends a command.

    *unanswered*: datagrams whose sender has no address to answer to; they count
    among the errors.
    """
    dropped = stats.dropped_queue + stats.dropped_kernel + stats.truncated
    errors = stats.send_errors + stats.receive_errors + unanswered
    return (
        f"received {stats.received} ({stats.received_bytes} bytes), "
        f"sent {stats.sent} ({stats.sent_bytes} bytes), "
        f"dropped {dropped}, errors {errors}"
    )
