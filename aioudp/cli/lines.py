"""Lines or chunks of a file descriptor, without blocking the event loop.

The event loop can't read them: epoll refuses regular files, and asyncio's pipe
transport makes the descriptor non-blocking for every process that shares the terminal.
So a thread reads one chunk at a time, and only when asked, which also applies
back-pressure. It's a daemon thread, because nothing can wake a thread that waits for a
terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator
from typing import Final

_CHUNK: Final = 65536  # bytes of one read

MAX_LINE: Final = 65536
"""Bytes; a longer line doesn't fit in a datagram."""


class InputError(ValueError):
    """The input, rather than the command line, is wrong."""


async def read_lines(fd: int) -> AsyncGenerator[bytes, None]:
    """Yield each line without its line ending (LF or CR LF), until the end of the file.

    Raises:
        OSError: If the descriptor cannot be read.
        InputError: If a line is longer than any datagram.
    """
    partial = b""
    number = 0
    while chunk := await _read(fd):
        *lines, partial = (partial + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield _checked(line.removesuffix(b"\r"), number)
        _checked(partial, number + 1)
    if partial:
        yield partial.removesuffix(b"\r")


async def read_chunks(fd: int, size: int) -> AsyncGenerator[bytes, None]:
    """Yield chunks of *size* bytes until the end of the file; the last may be shorter.

    An empty file is one empty chunk.

    Raises:
        OSError: If the descriptor cannot be read.
    """
    held = bytearray()
    empty = True
    while chunk := await _read(fd):
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
            empty = False
    if held or empty:
        yield bytes(held)


def _checked(line: bytes, number: int) -> bytes:
    if len(line) > MAX_LINE:
        raise InputError(f"line {number} of the input is too long for a datagram")
    return line


async def _read(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def deliver(result: bytes | OSError) -> None:
        if future.done():  # cancelled while the thread was waiting
            return
        if isinstance(result, OSError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def work() -> None:
        result: bytes | OSError
        try:
            result = os.read(fd, _CHUNK)
        except OSError as exc:
            result = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=work, name="aioudp-stdin", daemon=True).start()
    return await future
