"""The payloads that a command sends: arguments, lines of standard input, or a file."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final

from .lines import InputError, read_chunks, read_lines
from .running import Failure

MAX_PAYLOAD: Final = 65_507
"""Bytes: the longest payload of an IPv4 datagram (65,535 with both headers)."""


async def payloads(texts: Sequence[str], *, hexadecimal: bool) -> AsyncIterator[bytes]:
    """Yield each text as bytes, or each line of standard input if there are no texts.

    Raises:
        InputError: If a line is too long or, with *hexadecimal*, isn't hexadecimal.
        Failure: If standard input is closed.
        OSError: If it can't be read.
        ValueError: If a text isn't hexadecimal.
    """
    if texts:
        # Check all of them before sending the first one. The bytes are those of the
        # command line, whatever its encoding.
        given = [os.fsencode(text) for text in texts]
        for payload in [_from_hex(one) if hexadecimal else one for one in given]:
            yield payload
        return
    async for line in read_lines(standard_input()):
        try:
            yield _from_hex(line) if hexadecimal else line
        except ValueError as exc:
            raise InputError(str(exc)) from None


async def file_payloads(path: str, *, split: int | None) -> AsyncIterator[bytes]:
    """Yield the content of a file, as one payload or *split* into several.

    *path* ``-`` is standard input. An empty file is one empty payload.

    Raises:
        ValueError: If the content is too long for one datagram.
        OSError: If the file can't be read.
    """
    fd = standard_input() if path == "-" else os.open(path, os.O_RDONLY)
    try:
        if split is not None:
            async for chunk in read_chunks(fd, split):
                yield chunk
            return
        async for content in read_chunks(fd, MAX_PAYLOAD + 1):
            if len(content) > MAX_PAYLOAD:
                size = os.fstat(fd).st_size
                length = f"{size:,} bytes long, and " if size else ""
                raise ValueError(
                    f"the file is {length}longer than a datagram, which holds "
                    f"{MAX_PAYLOAD:,} bytes; --split cuts it"
                )
            yield content
    finally:
        if path != "-":
            os.close(fd)


def standard_input() -> int:
    """Return the descriptor of standard input.

    Raises:
        Failure: If the parent process has closed it.
    """
    if sys.stdin is None:
        raise Failure("standard input is closed")
    return sys.stdin.fileno()


def _from_hex(text: bytes) -> bytes:
    readable = text.decode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(readable)
    except ValueError:
        raise ValueError(f"not hexadecimal: {readable}") from None
