"""A line of rates on standard error, which a terminal shows in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class Rates:
    """Shows how fast counters grow; a context manager. Shows nothing if piped.

    The line is removed at the end. No thread is started, so forking stays safe.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, int] = {}
        self._time = time.monotonic()
        self._live = None
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True, highlight=False),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the rates since the last call; call it about once a second."""
        if self._live is None:
            return
        now = time.monotonic()
        seconds = max(now - self._time, 1e-3)
        line = ", ".join(
            f"{(count - self._before.get(name, 0)) / seconds:,.0f} {name}/s"
            for name, count in counts.items()
        )
        self._before, self._time = dict(counts), now
        if not self._live.is_started:
            self._live.start()
        self._live.update(line, refresh=True)
