"""A line of rates on standard error, which a terminal shows in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from .live import Live


class Rates:
    """Shows how fast counters grow; a context manager. Shows nothing if piped.

    The line is removed at the end.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, int] = {}
        self._time = time.monotonic()
        self._live = Live(sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(exc_type, exc, traceback)

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the rates since the last call; call it about once a second."""
        if not self._live.active:
            return
        now = time.monotonic()
        seconds = max(now - self._time, 1e-3)
        line = ", ".join(
            f"{(count - self._before.get(name, 0)) / seconds:,.0f} {name}/s"
            for name, count in counts.items()
        )
        self._before, self._time = dict(counts), now
        self._live.show(line)
