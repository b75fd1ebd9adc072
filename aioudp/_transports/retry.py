"""When to retry a send that found no room.

Normally, once the event loop reports that the socket is writable. But some sockets are
reported as writable and refuse again: an unconnected UNIX socket whose peer has a full
queue does (unix_dgram_poll() in net/unix/af_unix.c only checks the connected peer). So
a second refusal in a row waits for a timer instead; and so does the first one, if the
event loop can't watch the socket.

Uses callbacks only, no socket and no transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_FIRST: Final = 0.001  # seconds; doubled with every refusal in a row ...
_LAST: Final = 0.05  # ... up to this
_MOST_REFUSALS: Final = 16  # enough to reach it


class Retry:
    """Calls *again* once for each :meth:`arm`, unless disarmed before.

    *watch* arranges a call of *again* when the socket is writable, and returns whether
    that's possible; *unwatch* undoes it.
    """

    __slots__ = (
        "_again",
        "_loop",
        "_refusals",
        "_sent",
        "_timer",
        "_unwatch",
        "_watch",
        "armed",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watch: Callable[[], bool],
        unwatch: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._watch = watch
        self._unwatch = unwatch
        self._again = again
        self.armed: bool = False
        """Whether a call of *again* is pending."""
        self._timer: asyncio.TimerHandle | None = None
        self._refusals = 0  # in a row
        self._sent = -1

    def arm(self, sent: int) -> None:
        """Schedule a retry. *sent* is the total number of sent datagrams so far."""
        if self.armed:
            return
        if sent != self._sent:  # datagrams were sent in between
            self._sent = sent
            self._refusals = 0
        if self._refusals or not self._watch():
            delay = min(_FIRST * 2**self._refusals, _LAST)
            self._timer = self._loop.call_later(delay, self._again)
        self.armed = True
        self._refusals = min(self._refusals + 1, _MOST_REFUSALS)

    def disarm(self) -> None:
        """Cancel the pending call, or note that it was made."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self.armed:
            self._unwatch()
        self.armed = False
