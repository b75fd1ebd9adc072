"""When to retry a send that the kernel had no room for.

Normally, when the event loop reports that the socket is writable. But some sockets
claim to be writable and refuse again: an unconnected UNIX socket whose peer has a full
queue does, because unix_dgram_poll() in net/unix/af_unix.c checks the connected peer
only. So after a second refusal in a row, a timer decides. It also decides if the loop
can't watch the socket.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

_FIRST: Final = 0.001  # seconds; doubled with every refusal in a row ...
_LAST: Final = 0.05  # ... up to this
_MOST_REFUSALS: Final = 16  # enough to reach it


class Blocked(Protocol):
    """What a retry needs from its transport."""

    def _watch_writable(self) -> bool:
        """Have :meth:`_on_writable` called when the socket is writable, if possible."""

    def _unwatch_writable(self) -> None:
        """Undo :meth:`_watch_writable`."""

    def _on_writable(self) -> None:
        """Try again."""


class Retry:
    """Calls ``_on_writable`` of its transport once per :meth:`arm`."""

    __slots__ = ("_loop", "_refusals", "_sent", "_timer", "_transport", "armed")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Blocked) -> None:
        self._loop = loop
        self._transport = transport
        self.armed: bool = False
        """Whether a call is still to come."""
        self._timer: asyncio.TimerHandle | None = None
        self._refusals = 0  # in a row
        self._sent = -1

    def arm(self, sent: int) -> None:
        """Retry in a while. *sent* is the number of datagrams sent so far."""
        if self.armed:
            return
        if sent != self._sent:  # some were sent since the last refusal
            self._sent = sent
            self._refusals = 0
        if self._refusals or not self._transport._watch_writable():
            delay = min(_FIRST * 2**self._refusals, _LAST)
            again = self._transport._on_writable
            self._timer = self._loop.call_later(delay, again)
        self.armed = True
        self._refusals = min(self._refusals + 1, _MOST_REFUSALS)

    def disarm(self) -> None:
        """Cancel the call, or note that it has happened."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self.armed:
            self._transport._unwatch_writable()
        self.armed = False
