"""Pure: a server's replies to recent requests, for requests that are repeated.

A client that gets no answer repeats its request with the same id. The handler must not
run twice, so the reply is kept and sent again (RFC 7252 section 4.5). The table is
limited in time, in number and in bytes; the oldest requests are forgotten first.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

SECONDS: Final = 247.0
"""How long to remember a request: EXCHANGE_LIFETIME of RFC 7252 section 4.8.2."""

REQUESTS: Final = 65_536
"""Maximum number of requests to remember. A guess."""

SIZE: Final = 16 * 1024 * 1024
"""Maximum bytes of replies to keep. A guess."""


class Request:
    """A remembered request, with its replies once the handler has returned."""

    __slots__ = ("key", "replies", "since")

    def __init__(self, key: Hashable, since: float) -> None:
        self.key: Hashable = key
        self.since: float = since
        self.replies: tuple[bytes, ...] | None = None
        """``None`` while the handler is running."""


class Recent:
    """The recent requests."""

    __slots__ = ("_limit", "_requests", "_seconds", "_size", "size")

    def __init__(
        self, seconds: float = SECONDS, requests: int = REQUESTS, size: int = SIZE
    ) -> None:
        self._seconds = seconds
        self._limit = requests
        self._size = size
        self._requests: dict[Hashable, Request] = {}  # the oldest first
        self.size: int = 0
        """Total size of the replies, in bytes."""

    def __len__(self) -> int:
        return len(self._requests)

    def find(self, key: Hashable, now: float) -> Request | None:
        """Return the remembered request with this key, if any."""
        while self._requests:
            oldest = next(iter(self._requests.values()))
            if now - oldest.since < self._seconds:
                break
            self.forget(oldest)
        return self._requests.get(key)

    def begin(self, key: Hashable, now: float) -> Request:
        """Remember a new request."""
        if len(self._requests) >= self._limit:
            self.forget(next(iter(self._requests.values())))
        request = self._requests[key] = Request(key, now)
        return request

    def finish(self, request: Request, replies: tuple[bytes, ...]) -> None:
        """Store the replies, if the request is still remembered."""
        if self._requests.get(request.key) is not request:
            return
        request.replies = replies
        self.size += sum(map(len, replies))
        while self.size > self._size:
            self.forget(next(iter(self._requests.values())))

    def forget(self, request: Request) -> None:
        """Forget a request, so that the handler runs if it comes again. Idempotent."""
        if self._requests.get(request.key) is request:
            del self._requests[request.key]
            self.size -= sum(map(len, request.replies or ()))
