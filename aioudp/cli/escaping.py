r"""Pure: text that is safe to print on a terminal.

Payloads may contain terminal control sequences, line breaks that fake a second entry,
or characters that change the writing direction. All of them are escaped here.
"""

from __future__ import annotations

from typing import Final

_SHORT_ESCAPES: Final = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


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
