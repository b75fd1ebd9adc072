"""Standard output and standard error, line by line.

Payloads go to standard output; what is said about them (the address listened on,
statistics, errors) to standard error, so that the output can be piped. Every line is
flushed: the reader of a pipe sees a datagram when it comes.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final, TextIO

from .formats import printable

_STDERR: Final = 2


def emit(line: str) -> None:
    """Write a line to standard output.

    Raises:
        BrokenPipeError: If nobody reads it any more.
    """
    _write(sys.stdout, line)


def note(line: str) -> None:
    """Write a line to standard error."""
    _write(sys.stderr, line)


def complain(error: Exception) -> None:
    """Say in one line what went wrong."""
    reason = error.strerror if isinstance(error, OSError) else None
    note(f"aioudp: {printable(reason or str(error))}")


def prepare() -> None:
    """Make the standard streams safe to use, whatever the caller handed over.

    A closed descriptor is opened on the null device, or else the first socket would
    get its number: 0, 1 or 2. Standard output takes every character; one that its
    encoding does not have is shown as an escape.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def abandon_broken() -> None:
    """Give up a stream that takes nothing more: an unread pipe, a full disk.

    The interpreter flushes the streams once more at exit, and would print an error.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            assert stream is not None
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, stream.fileno())
            os.close(sink)


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # closed by the caller: say nothing, as print() does
        stream.write(f"{line}\n")
        stream.flush()
