"""What a sending command sends: its arguments, or the lines of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

from .lines import read_lines


async def payloads(texts: list[str], *, hexadecimal: bool) -> AsyncIterator[bytes]:
    """Yield each text as bytes; each line of standard input if there is none.

    Raises:
        OSError: If standard input cannot be read.
        ValueError: If it is closed, a line is too long, or, where *hexadecimal* is
            asked for, something is not.
    """
    decode = _from_hex if hexadecimal else bytes
    if texts:
        # All are looked at before the first is sent. The bytes are those of the
        # command line, whatever its encoding.
        for payload in [decode(os.fsencode(text)) for text in texts]:
            yield payload
        return
    if sys.stdin is None:  # closed by the caller
        raise ValueError("standard input is closed, and there is no TEXT")
    async for line in read_lines(sys.stdin.fileno()):
        yield decode(line)


def _from_hex(text: bytes) -> bytes:
    readable = text.decode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(readable)
    except ValueError:
        raise ValueError(f"not hexadecimal: {readable}") from None
