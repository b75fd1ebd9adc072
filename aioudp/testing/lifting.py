"""Reverting a change to a network."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self


class Lifting:
    """A change to a network that can be reverted.

    It's a context manager: the end of the block reverts the change. Without one, the
    change stays until :meth:`lift` is called.
    """

    __slots__ = ("_lift",)

    def __init__(self, lift: Callable[[], None]) -> None:
        self._lift: Callable[[], None] | None = lift

    @property
    def lifted(self) -> bool:
        """Whether the change was reverted."""
        return self._lift is None

    def lift(self) -> None:
        """Revert the change. Idempotent."""
        lift, self._lift = self._lift, None
        if lift is not None:
            lift()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lift()
