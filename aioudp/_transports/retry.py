"""When a send that found no room is tried again.

Once the socket is writable, says the event loop. But some sockets claim to be writable
and refuse all the same: an unconnected UNIX socket whose peer has a full queue does
(unix_dgram_poll() in net/unix/af_unix.c looks at the connected peer only). So a second
refusal in a row waits for a timer, not for another false promise; and so does the
first, where nobody watches the socket for us.

Knows neither socket nor transport: it is given what to call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_FIRST: Final = 0.001  # seconds; doubled with every refusal in a row ...
_LAST: Final = 0.05  # ... up to this
_MOST_REFUSALS: Final = 16  # enough to reach it


class Retry:
    """Has *again* called once for each :meth:`arm`, unless disarmed before.

    *watch* has *again* called when the socket is writable and returns whether that is
    possible; *unwatch* undoes it.
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
        """Whether *again* is still to be called."""
        self._timer: asyncio.TimerHandle | None = None
        self._refusals = 0  # in a row
        self._sent = -1

    def arm(self, sent: int) -> None:
        """Try again in a while. *sent* datagrams went out so far, in all."""
        if self.armed:
            return
        if sent != self._sent:  # something got through in between
            self._sent = sent
            self._refusals = 0
        if self._refusals or not self._watch():
            delay = min(_FIRST * 2**self._refusals, _LAST)
            self._timer = self._loop.call_later(delay, self._again)
        self.armed = True
        self._refusals = min(self._refusals + 1, _MOST_REFUSALS)

    def disarm(self) -> None:
        """Do not call *again* any more; or it was called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self.armed:
            self._unwatch()
        self.armed = False
