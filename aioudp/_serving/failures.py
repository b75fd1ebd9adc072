"""Failures of a handler: each is counted, and each kind is logged once.

Peers control the handler's input, and therefore how often it fails. So they could fill
a log that grows with each failure or contains payloads. The log contains the class of
the exception, the place where it was raised, and the peer's address, but not the
exception's message, because that may quote the payload.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final

from .._types import Address

logger = logging.getLogger("aioudp")

_KINDS: Final = 64
"""Maximum number of kinds of failure to log. A handler doesn't have many."""


class Failures:
    """The failures of one server."""

    __slots__ = ("_kinds", "count")

    def __init__(self) -> None:
        self._kinds: set[tuple[type[BaseException], str]] = set()
        self.count: int = 0
        """The number of failures."""

    def note(self, doing: str, exc: BaseException, addr: Address) -> None:
        """Count a failure, and log it if it's the first of its kind."""
        self.count += 1
        where = _place(exc.__traceback__)
        kind = type(exc), where
        if kind in self._kinds or len(self._kinds) == _KINDS:
            return
        self._kinds.add(kind)
        name = type(exc).__qualname__
        logger.error(
            "%s raised %s%s, for a datagram from %s; further ones of this kind are "
            "counted and not logged",
            doing,
            name,
            where,
            ascii(addr),
        )


def _place(traceback: TracebackType | None) -> str:
    """Return the innermost place in a traceback."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f" in {code.co_qualname} ({code.co_filename}:{traceback.tb_lineno})"
