"""Files that appear complete: written under another name first, then renamed.

A file is written as ``NAME.part`` and renamed when it's complete, so a program that
finds ``NAME`` finds all of it. With a limit of size or time there are many files, with
numbers in their names: ``NAME-00001.pcap``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path

from .._system.pcap import FILE_HEADER


class CaptureFiles:
    """Writes records to one capture file, or to one after the other.

    Args:
        path: The name of the file.
        max_bytes: Begin another file before one gets longer. A run of datagrams that
            is longer by itself gets its own.
        max_seconds: Begin another file when one has been open for so long.

    Raises:
        FileExistsError: If the file exists, complete or not. The same goes for
            :meth:`write`.
    """

    def __init__(
        self, path: Path, *, max_bytes: int | None, max_seconds: float | None
    ) -> None:
        self.recorded: int = 0
        """Datagrams in the files."""
        self.completed: int = 0
        """Files that have got their name."""
        self._path = path
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._name = path
        self._file: io.FileIO | None = None
        self._size = 0
        self._opened_at = 0.0
        self._open()

    def write(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Write runs of records, each with its number of datagrams.

        If the system refuses, the file is cut back to its last complete record.
        """
        self.rotate_by_time()
        parts: list[bytes] = []
        datagrams = size = 0
        for count, run in records:
            filled = self._size + size
            if (
                self._max_bytes is not None
                and filled + len(run) > self._max_bytes
                and (filled > len(FILE_HEADER) or self._file is None)
            ):
                self._append(b"".join(parts), datagrams)
                parts, datagrams, size = [], 0, 0
                self.complete()
            parts.append(run)
            datagrams += count
            size += len(run)
        self._append(b"".join(parts), datagrams)

    def rotate_by_time(self) -> None:
        """Complete the file if it has been open long enough and isn't empty."""
        if (
            self._max_seconds is not None
            and self._size > len(FILE_HEADER)
            and time.monotonic() - self._opened_at >= self._max_seconds
        ):
            self.complete()

    def complete(self) -> None:
        """Close the file and give it its name."""
        if self._file is not None:
            self._file.close()
            self._file, self._size = None, 0
            _unfinished(self._name).rename(self._name)
            self.completed += 1

    def _append(self, data: bytes, datagrams: int) -> None:
        if not data:
            return
        if self._file is None:
            self._open()
        file = self._file
        assert file is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(self._size)
            raise
        self._size += len(data)
        self.recorded += datagrams

    def _open(self) -> None:
        path = self._path
        if self._max_bytes is not None or self._max_seconds is not None:
            path = path.with_name(
                f"{path.stem}-{self.completed + 1:05}{path.suffix or '.pcap'}"
            )
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        unfinished = _unfinished(path)
        try:
            self._file = io.FileIO(unfinished, "xb")
        except FileExistsError:
            raise FileExistsError(
                f"{unfinished} exists already: another program writes it, or was ended"
            ) from None
        self._name = path
        self._opened_at = time.monotonic()
        self._size = 0
        self._append(FILE_HEADER, 0)


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
