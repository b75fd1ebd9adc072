"""A display that is updated in place, on a terminal. Elsewhere there's none.

Rich is imported only where there's a terminal. It starts no thread here, so forking
stays safe.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType


class Live:
    """A display on *stream*; a context manager.

    Args:
        stream: Standard output or standard error; ``None`` if the parent process has
            closed it.
        keep: Whether the last state stays on the screen at the end.
    """

    def __init__(self, stream: TextIO | None, *, keep: bool = False) -> None:
        self.active: bool = stream is not None and stream.isatty()
        """Whether anything is displayed."""
        if self.active:
            from rich.console import Console
            from rich.live import Live as RichLive

            self._live = RichLive(
                console=Console(file=stream, highlight=False),
                auto_refresh=False,
                transient=not keep,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def show(self, what: RenderableType) -> None:
        """Replace what is displayed."""
        if self.active:
            if not self._live.is_started:
                self._live.start()
            self._live.update(what, refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.active:
            self._live.stop()
