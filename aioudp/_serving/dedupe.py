"""Pure: the replies of a server to recent requests, for those that are sent again.

A client that gets no answer sends its request again, with the same id. The handler must
not run twice, so the reply is kept and sent once more (RFC 7252 section 4.5). What is
kept is limited in time, in number and in bytes; the oldest makes room for the newest.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

SECONDS: Final = 247.0
"""How long to remember a request: EXCHANGE_LIFETIME of RFC 7252 section 4.8.2."""

REQUESTS: Final = 65_536
"""How many requests to remember. A guess."""

SIZE: Final = 16 * 1024 * 1024
"""Bytes of replies to keep. A guess."""


class Request:
    """A request that is remembered, and its replies once there are any."""

    __slots__ = ("key", "replies", "since")

    def __init__(self, key: Hashable, since: float) -> None:
        self.key = key
        self.since = since
        self.replies: tuple[bytes, ...] | None = None
        """``None`` while the handler is at work."""


class Recent:
    """The requests of the last time."""

    __slots__ = ("_limit", "_requests", "_seconds", "_size", "size")

    def __init__(
        self, seconds: float = SECONDS, requests: int = REQUESTS, size: int = SIZE
    ) -> None:
        self._seconds = seconds
        self._limit = requests
        self._size = size
        self._requests: dict[Hashable, Request] = {}  # the oldest first
        self.size: int = 0
        """Bytes of the replies that are kept."""

    def __len__(self) -> int:
        return len(self._requests)

    def find(self, key: Hashable, now: float) -> Request | None:
        """Return the request that was remembered under *key*, if any still is."""
        while self._requests:
            oldest = next(iter(self._requests.values()))
            if now - oldest.since < self._seconds:
                break
            self.forget(oldest)
        return self._requests.get(key)

    def begin(self, key: Hashable, now: float) -> Request:
        """Remember a request that is not remembered yet."""
        if len(self._requests) >= self._limit:
            self.forget(next(iter(self._requests.values())))
        request = self._requests[key] = Request(key, now)
        return request

    def finish(self, request: Request, replies: tuple[bytes, ...]) -> None:
        """Keep the replies, if the request is still remembered."""
        if self._requests.get(request.key) is not request:
            return
        request.replies = replies
        self.size += sum(map(len, replies))
        while self.size > self._size:
            self.forget(next(iter(self._requests.values())))

    def forget(self, request: Request) -> None:
        """Let the handler run again if the request comes again. Idempotent."""
        if self._requests.get(request.key) is request:
            del self._requests[request.key]
            self.size -= sum(map(len, request.replies or ()))
