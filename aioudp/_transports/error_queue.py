"""The selector transport with the error queue: it hears what ICMP says, and of whom.

Without the queue an unconnected socket hears of no ICMP error, and a connected one does
not learn which datagram it was about. With it the kernel tells both, and gets two more
habits (ip(7)): the socket is ready with EPOLLERR until the queue has been read, and
until then the next call, whatever it is and to whomever it sends, fails with the error.

So the queue is emptied whenever the socket is ready with an error, also while reading
is paused: the socket is in an epoll instance of its own, which knows that event apart
from the others. And what fails on account of ICMP is repeated, and told by nobody but
the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from .._system.datagram_batch import DatagramBatch
from .._system.error_queue import ErrorQueue
from .._types import NetworkError, Payload, Received, Stats
from .base import State
from .exact import FROM_ICMP, MAX_STALE_ERRORS
from .selector import ERROR_PAUSE, SelectorTransport
from .watcher import EpollWatcher

_MAX_UNHEARD: Final = 1024
"""Errors to report in one iteration of the loop: as many as an endpoint keeps."""

_T = TypeVar("_T")


class ErrorQueueTransport(SelectorTransport):
    """A selector transport that reads the error queue of its socket."""

    __slots__ = ("_cut", "_dropped_unheard", "_error_queue", "_errors", "_unheard")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._error_queue = ErrorQueue(self._sock)
        self._unheard: list[NetworkError] = []  # read, and not told to the protocol
        self._dropped_unheard = 0
        self._cut = 0  # datagrams that were cut off, of which the protocol was told

    def _make_watcher(self) -> EpollWatcher:
        self._errors = self._make_error_watcher()
        return self._errors

    def _make_error_watcher(self) -> EpollWatcher:
        return EpollWatcher(self._loop, self._on_error)

    async def start(self) -> None:
        self._errors.watch_errors(self._fd)
        await super().start()

    def _close_socket(self) -> None:
        self._errors.ignore_errors(self._fd)
        super()._close_socket()

    def _take_errors(self) -> None:
        self._on_error()

    def _on_error(self) -> None:
        """Read the errors that made the socket ready, and tell of them."""
        try:
            self._read_errors()
        except OSError as exc:  # it would be ready again at once
            self._errors.rest(ERROR_PAUSE)
            self._report(exc)
        self._tell_errors()

    def _read_errors(self) -> set[int | None]:
        """Empty the queue, and return which errors were in it."""
        errors = self._error_queue.read()
        self._unheard += errors
        if (excess := len(self._unheard) - _MAX_UNHEARD) > 0:
            del self._unheard[:excess]
            self._receive_errors += excess
            self._dropped_unheard += excess
        return {error.error.errno for error in errors}

    def _read_errors_aside(self) -> set[int | None]:
        """Do so in the midst of another call: the protocol is told a turn later."""
        before = bool(self._unheard)
        try:
            numbers = self._read_errors()
        except OSError:  # the next event will show
            return set()
        if self._unheard and not before:
            self._loop.call_soon(self._tell_errors)
        return numbers

    def _tell_errors(self) -> None:
        errors, self._unheard = self._unheard, []
        for error in errors:
            self._receive_errors += 1
            hears = hasattr(type(self._protocol), "network_error_received")
            if hears and self._state is State.OPEN:
                self._tell(self._protocol.network_error_received, error)

    def poll_batch(self, batch: DatagramBatch, max_datagrams: int) -> int | None:
        return None  # a read that meets an ICMP error is repeated by _receive alone

    def _receive(self, wanted: int, *, thorough: bool = False) -> list[Received]:
        for _ in range(MAX_STALE_ERRORS):
            try:
                datagrams: list[Received] = self._io.receive(wanted, thorough=thorough)
            except OSError as exc:
                if not self._is_in_the_queue(exc):
                    self._on_read_error(exc)
                    return []
                self._read_errors_aside()
            else:
                if datagrams:
                    self._fruitless = 0
                if self._io.pending is not None:
                    self._loop.call_soon(self._on_pending_error)
                return self._admit(datagrams) if self._admits else datagrams
        return []

    def _on_pending_error(self) -> None:
        error = self._io.pending
        if error is not None and self._is_in_the_queue(error):
            self._io.pending = None
            self._read_errors_aside()
        super()._on_pending_error()

    def _is_in_the_queue(self, error: OSError) -> bool:
        """Say whether the error of a read is ICMP's, and not of a datagram cut off."""
        was_cut = self._io.truncated > self._cut
        self._cut = self._io.truncated
        return not was_cut and error.errno in FROM_ICMP

    def _send_again(
        self, error: OSError, send: Callable[[], _T], data: Payload, addr: Any
    ) -> _T:
        """Repeat a send that met an earlier datagram's error; raise its own.

        An error that comes again is this datagram's, unless the queue tells of another
        one that came in between.
        """
        before: int | None = None
        for _ in range(MAX_STALE_ERRORS):
            heard = self._read_errors_aside()
            own = error.errno == before and error.errno not in heard
            if own or error.errno not in FROM_ICMP:
                raise self._explained(error, data, addr) from None
            before = error.errno
            try:
                return send()
            except BlockingIOError:
                raise
            except OSError as exc:
                error = exc
        raise BlockingIOError(error.errno, "errors of earlier datagrams keep coming")

    def stats(self) -> Stats:
        dropped = self._error_queue.unreadable + self._dropped_unheard
        return replace(super().stats(), dropped_errors=dropped)
