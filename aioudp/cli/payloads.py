"""The payloads that a command sends: its arguments, or lines of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

from .lines import read_lines


async def payloads(texts: list[str], *, hexadecimal: bool) -> AsyncIterator[bytes]:
    """Yield each text as bytes, or each line of standard input if there are no texts.

    Raises:
        OSError: If standard input can't be read.
        ValueError: If it's closed, if a line is too long, or, with *hexadecimal*, if a
            text isn't hexadecimal.
    """
    decode = _from_hex if hexadecimal else bytes
    if texts:
        # Check all of them before sending the first one. The bytes are those of the
        # command line, whatever its encoding.
        for payload in [decode(os.fsencode(text)) for text in texts]:
            yield payload
        return
    if sys.stdin is None:  # closed by the parent process
        raise ValueError("standard input is closed, and there is no TEXT")
    async for line in read_lines(sys.stdin.fileno()):
        yield decode(line)


def _from_hex(text: bytes) -> bytes:
    readable = text.decode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(readable)
    except ValueError:
        raise ValueError(f"not hexadecimal: {readable}") from None
