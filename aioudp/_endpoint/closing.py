"""``async with`` for objects with ``aclose``, which have one owner."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import NoReturn, Self, SupportsIndex


class ClosedAtTheEnd:
    """Closes at the end of an ``async with`` block."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close, and return when done."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse to be copied or pickled: the end of a copy would close the original.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object")
