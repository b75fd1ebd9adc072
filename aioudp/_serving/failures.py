"""What goes wrong in a handler: counted each time, logged once for each kind.

A peer decides what a handler sees, and so how often it fails. So a log that grew with
each failure, or that held the payload, would be the peer's to fill. Logged are the
class of the exception, where it was raised, and the peer's address; never what the
exception says, because it may quote the payload.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final

from .._types import Address

logger = logging.getLogger("aioudp")

_KINDS: Final = 64
"""How many kinds of failure are logged. A handler has not many."""


class Failures:
    """The failures of one server."""

    __slots__ = ("_kinds", "count")

    def __init__(self) -> None:
        self._kinds: set[tuple[type[BaseException], str]] = set()
        self.count: int = 0
        """How many there were."""

    def note(self, doing: str, exc: Exception, addr: Address) -> None:
        """Count a failure, and log it if it is the first of its kind."""
        self.count += 1
        where = _place(exc.__traceback__)
        kind = type(exc), where
        if kind in self._kinds or len(self._kinds) == _KINDS:
            return
        self._kinds.add(kind)
        name = type(exc).__qualname__
        logger.error(
            "%s raised %s%s, for a datagram from %s; the next ones of this kind are "
            "counted and not logged",
            doing,
            name,
            where,
            ascii(addr),
        )


def _place(traceback: TracebackType | None) -> str:
    """Return where an exception was raised, as far down as the traceback goes."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f" in {code.co_qualname} ({code.co_filename}:{traceback.tb_lineno})"
