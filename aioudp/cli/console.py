"""Standard output and standard error, line by line.

Payloads go to standard output; everything else (the listening address, statistics,
errors) goes to standard error, so that the output can be piped. Every line is flushed,
so the reader of a pipe sees each datagram when it arrives.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final, TextIO

from .escaping import printable as printable

_STDERR: Final = 2


def emit(line: str) -> None:
    """Write a line to standard output.

    Raises:
        BrokenPipeError: If the reader has closed the pipe.
    """
    _write(sys.stdout, line)


def note(line: str) -> None:
    """Write a line to standard error."""
    _write(sys.stderr, line)


def emit_bytes(data: bytes) -> None:
    """Write bytes to standard output, unchanged.

    Raises:
        BrokenPipeError: If the reader has closed the pipe.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def on_terminal() -> bool:
    """Return whether standard error is a terminal, where a display can be updated."""
    return sys.stderr is not None and sys.stderr.isatty()


def prepare() -> None:
    """Make the standard streams safe to use, whatever the parent process passed.

    Opens closed descriptors on the null device; otherwise the first socket would get
    the number 0, 1 or 2. Makes standard output accept every character: those outside
    its encoding are escaped.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def abandon_broken() -> None:
    """Redirect streams that can't be written any more (a closed pipe, a full disk).

    The interpreter flushes the streams again at exit, and would print an error.
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
    if stream is not None:  # closed by the parent process: do nothing, like print()
        stream.write(f"{line}\n")
        stream.flush()
