"""The selector transport with the error queue: it gets ICMP errors with details.

Without the queue, an unconnected socket gets no ICMP errors, and a connected one
doesn't get the datagram that an error is about. With it, both get all errors, but the
kernel behaves differently in two ways (ip(7)): the socket is ready with EPOLLERR until
the queue has been read, and until then the next call fails with the error, even if it
sends to another peer.

So the queue is emptied whenever the socket is ready with an error, even while reading
is paused: the socket is in its own epoll instance, which reports errors separately from
other events. Calls that fail because of ICMP are repeated, and only the queue reports
the error.
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

_MAX_UNDELIVERED: Final = 1024
"""Errors to report in one iteration of the loop: as many as an endpoint keeps."""

_T = TypeVar("_T")


class ErrorQueueTransport(SelectorTransport):
    """A selector transport that reads the error queue of its socket."""

    __slots__ = (
        "_cut",
        "_dropped_undelivered",
        "_error_queue",
        "_errors",
        "_undelivered",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._error_queue = ErrorQueue(self._sock)
        self._undelivered: list[NetworkError] = []  # read, but not delivered yet
        self._dropped_undelivered = 0
        self._cut = 0  # truncated datagrams that were reported to the protocol

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
        """Read the errors that made the socket ready, and deliver them."""
        try:
            self._read_errors()
        except OSError as exc:  # the socket would be ready again at once
            self._errors.pause(ERROR_PAUSE)
            self._report(exc)
        self._deliver_errors()

    def _read_errors(self) -> set[int | None]:
        """Empty the queue, and return the errno of each error."""
        errors = self._error_queue.read()
        self._undelivered += errors
        if (excess := len(self._undelivered) - _MAX_UNDELIVERED) > 0:
            del self._undelivered[:excess]
            self._receive_errors += excess
            self._dropped_undelivered += excess
        return {error.error.errno for error in errors}

    def _read_errors_aside(self) -> set[int | None]:
        """The same in the middle of another call; errors are delivered later."""
        before = bool(self._undelivered)
        try:
            numbers = self._read_errors()
        except OSError:  # the next event reports it
            return set()
        if self._undelivered and not before:
            self._loop.call_soon(self._deliver_errors)
        return numbers

    def _deliver_errors(self) -> None:
        errors, self._undelivered = self._undelivered, []
        for error in errors:
            self._receive_errors += 1
            wanted = hasattr(type(self._protocol), "network_error_received")
            if wanted and self._state is State.OPEN:
                self._call_protocol(self._protocol.network_error_received, error)

    def poll_batch(self, batch: DatagramBatch, max_datagrams: int) -> int | None:
        return None  # only _receive repeats a read that meets an ICMP error

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
        """Return whether a read error comes from ICMP, not from truncation."""
        was_cut = self._io.truncated > self._cut
        self._cut = self._io.truncated
        return not was_cut and error.errno in FROM_ICMP

    def _send_again(
        self, error: OSError, send: Callable[[], _T], data: Payload, addr: Any
    ) -> _T:
        """Repeat a send that met a stale error; raise the datagram's own error.

        If an error comes again, it's this datagram's, unless the queue held another one
        with the same number meanwhile.
        """
        before: int | None = None
        for _ in range(MAX_STALE_ERRORS):
            queued = self._read_errors_aside()
            own = error.errno == before and error.errno not in queued
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
        dropped = self._error_queue.unreadable + self._dropped_undelivered
        return replace(super().stats(), dropped_errors=dropped)
