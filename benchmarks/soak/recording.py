"""The result file: JSON that is complete after each sample, so a run may be killed.

A sample is a row of numbers; ``columns`` says which. Those of the operations and of the
faults have the names of ``kinds``, after ``done.`` and ``faults.``. All counters are
totals since the beginning of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from .kinds import DONE, FAULTS

FORMAT: Final = 1
"""The version of the file's layout."""

FIGURES: Final = (
    "seconds",
    "cpu",
    "rss",
    "peak",
    "pss",
    "private",
    "blocks",
    "descriptors",
    "objects",
    "objects_aioudp",
    "objects_asyncio",
    "objects_uvloop",
    "objects_socket",
    "tasks",
    "threads",
    "sent",
    "received",
    "dropped",
    "left",
    "unaccounted",
    "unexpected",
    "warnings",
    "warnings_due",
    "warnings_most",
)

COLUMNS: Final = (
    "loop",
    *FIGURES,
    *(f"done.{name}" for name in DONE),
    *(f"faults.{name}" for name in FAULTS),
)

_END: Final = b"\n]}\n"


def row_of(loop: str, sample: Mapping[str, Any]) -> list[Any]:
    """Return a sample as a row."""
    return [
        loop,
        *(sample[name] for name in FIGURES),
        *(sample["done"].get(name, 0) for name in DONE),
        *(sample["faults"].get(name, 0) for name in FAULTS),
    ]


class Recorder:
    """Writes a result file, row by row."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = json.dumps({"format": FORMAT, **head, "columns": COLUMNS}, indent=1)
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._file.write(
            begin.removesuffix("\n}").encode() + b',\n "samples": [' + _END
        )
        self._first = True

    def add(self, loop: str, sample: Mapping[str, Any]) -> None:
        """Add a sample, in one write."""
        row = json.dumps(row_of(loop, sample), separators=(",", ":"))
        comma = b"" if self._first else b","
        self._first = False
        self._file.seek(-len(_END), os.SEEK_END)
        self._file.write(comma + b"\n" + row.encode() + _END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A result file."""

    date: str
    commit: str | None
    machine: dict[str, Any]
    versions: dict[str, str]
    conditions: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By event loop, in the order of their time."""


def read(path: Path) -> Recorded:
    """Read a result file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it's not a result file, or one of another layout.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not a result file of format {FORMAT}")
    columns: Sequence[str] = content.pop("columns")
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in content.pop("samples"):
        sample: dict[str, Any] = {"done": {}, "faults": {}}
        for column, value in zip(columns, row, strict=True):
            group, _, name = column.partition(".")
            if name:
                sample[group][name] = value
            else:
                sample[column] = value
        samples.setdefault(sample["loop"], []).append(sample)
    return Recorded(**content, samples=samples)
