"""Undoing what was done to a network."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self


class Lifting:
    """Something that was done to a network, until it is lifted.

    A context manager: the end of the block lifts it. Without one it holds until
    :meth:`lift` is called, or for good.
    """

    __slots__ = ("_lift",)

    def __init__(self, lift: Callable[[], None]) -> None:
        self._lift: Callable[[], None] | None = lift

    @property
    def lifted(self) -> bool:
        """Whether it was undone."""
        return self._lift is None

    def lift(self) -> None:
        """Undo it. Idempotent."""
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
