"""The parent of the workers: starts, replaces and ends them.

It has no event loop and no threads, so it can fork at any time. It waits for signals,
reports and the next deadline in a single ``select``.

The parent owns the sockets: they exist before any worker starts, and stay open. If a
worker dies, its socket and the datagrams in it stay, and its successor continues to
read. So the group of sockets never changes, and no peer moves to another socket.

Two processes may read the same socket: in a rolling restart, the new worker is ready
before the old one drains, so there is always one that reads.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from .._endpoint.options import Options
from .._types import Stats
from .plan import Main, Plan

assert sys.platform != "win32"  # there is no fork

from .worker import work  # noqa: E402  # which asserts the same

logger = logging.getLogger("aioudp")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_SETTLED: Final = 1.0
"""Seconds after which a ready worker is no longer new."""

_FIRST_DELAY: Final = 0.05
_DELAY_IF_READY: Final = 0.4
_LONGEST_DELAY: Final = 10.0
"""Seconds before a worker is replaced: doubled each time that one dies young. At most
the second if it had been ready, so that it is back within a second whatever kills it;
at most the third if not, since then something is wrong with ``main``. Guesses."""


class Worker:
    """A worker process, as seen by its parent."""

    __slots__ = ("kill_at", "pid", "ready_at", "reports", "rest", "stats")

    def __init__(self, pid: int, reports: int) -> None:
        self.pid = pid
        self.reports = reports
        self.rest = b""
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.stats = Stats()


class Slot:
    """One socket of the group, and the workers that read it."""

    __slots__ = ("current", "failures", "next", "retiring", "sock", "start_at")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.current: Worker | None = None
        self.next: Worker | None = None
        self.retiring: list[Worker] = []
        self.failures = 0
        self.start_at: float | None = 0.0

    def workers(self) -> list[Worker]:
        known = [self.current, self.next, *self.retiring]
        return [worker for worker in known if worker is not None]


class Supervisor:
    """Keeps one worker on each socket until a signal ends it all."""

    def __init__(
        self,
        main: Main,
        socks: list[socket.socket],
        options: Options,
        *,
        drain: float,
        on_stats: Callable[[Stats, tuple[Stats, ...], int], None],
        every: float,
    ) -> None:
        self._main = main
        self._options = options
        self._drain = drain
        self._on_stats = on_stats
        self._every = every
        self._slots = [Slot(sock) for sock in socks]
        self._rolling: deque[Slot] = deque()
        self._signals: deque[int] = deque()
        self._stopping = False
        self._clean = True
        self._past = Stats()
        self.restarts: int = 0
        """Workers that died and were replaced."""

    def run(self) -> bool:
        """Return after all workers have ended, and whether they ended by themselves.

        Raises:
            RuntimeError: If this isn't the main thread.
        """
        self._selector = selectors.DefaultSelector()
        self._wakeup, waking = socket.socketpair()
        self._lifeline, self._held = os.pipe()
        self._inherited: list[Any] = [self._selector, self._wakeup, waking]
        for sock in (self._wakeup, waking):
            sock.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        handlers = {}
        old = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            for number in _SIGNALS:
                handlers[number] = signal.signal(number, self._on_signal)
            self._supervise()
        finally:
            self._kill_all()
            signal.set_wakeup_fd(old)
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)
            self._selector.close()
            self._wakeup.close()
            waking.close()
            os.close(self._lifeline)
            os.close(self._held)
        return self._clean

    def _supervise(self) -> None:
        next_stats = time.monotonic()
        while True:
            self._act()
            if self._stopping and not any(slot.workers() for slot in self._slots):
                self._on_stats(*self.stats())
                return
            now = time.monotonic()
            if now >= next_stats:
                next_stats = now + self._every
                self._on_stats(*self.stats())
            due = [next_stats]
            for slot in self._slots:
                due += [slot.start_at] if slot.start_at is not None else []
                due += [one.kill_at for one in slot.workers() if one.kill_at]
            for key, _ in self._selector.select(max(0.0, min(due) - now)):
                if key.data is None:
                    self._wakeup.recv(4096)
                else:
                    self._read(key.data)

    def stats(self) -> tuple[Stats, tuple[Stats, ...], int]:
        """Return the sum, the counters of each current worker, and the restarts."""
        total = self._past
        for slot in self._slots:
            for worker in slot.workers():
                total += worker.stats
        present = [
            slot.current.stats if slot.current else Stats() for slot in self._slots
        ]
        return total, tuple(present), self.restarts

    # -- signals

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _act(self) -> None:
        """Do what is due now."""
        while self._signals:
            number = self._signals.popleft()
            if number == signal.SIGHUP:
                self._roll()
            elif number != signal.SIGCHLD:
                self._stop()
        for slot in self._slots:
            for worker in slot.workers():
                self._reap(slot, worker)
        now = time.monotonic()
        for slot in self._slots:
            for worker in slot.workers():
                if worker.kill_at is not None and now >= worker.kill_at:
                    worker.kill_at = None
                    self._clean = False
                    logger.warning("worker %d did not drain in time", worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
            if slot.start_at is not None and now >= slot.start_at:
                slot.start_at = None
                slot.current = self._start(slot)
        self._roll_on()

    def _stop(self) -> None:
        if self._stopping:
            self._clean = False
            self._kill_all()
            return
        self._stopping = True
        self._rolling.clear()
        for slot in self._slots:
            slot.start_at = None
            for worker in slot.workers():
                self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        if worker.kill_at is None:
            worker.kill_at = time.monotonic() + self._drain
            os.kill(worker.pid, signal.SIGTERM)

    def _kill_all(self) -> None:
        for slot in self._slots:
            for worker in slot.workers():
                os.kill(worker.pid, signal.SIGKILL)

    # -- a rolling restart: one socket after the other

    def _roll(self) -> None:
        if not self._stopping:
            self._rolling.extend(one for one in self._slots if one not in self._rolling)

    def _roll_on(self) -> None:
        while self._rolling:
            slot = self._rolling[0]
            if slot.current is None or slot.retiring:
                return  # being replaced already, or its last worker still runs
            if slot.next is None:
                slot.next = self._start(slot)
                return
            if slot.next.ready_at is None:
                return
            slot.retiring.append(slot.current)
            self._retire(slot.current)
            slot.current, slot.next = slot.next, None
            self._rolling.popleft()

    # -- processes

    def _start(self, slot: Slot) -> Worker:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        # Until the child has its own handlers, it mustn't use the parent's.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._become_worker(slot, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        worker = Worker(pid, reading)
        self._selector.register(reading, selectors.EVENT_READ, worker)
        return worker

    def _become_worker(self, slot: Slot, reports: int) -> None:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:  # Ctrl-C goes to every process of a terminal
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in self._slots:
            for worker in other.workers():
                os.close(worker.reports)
            if other is not slot:
                other.sock.close()
        os.close(self._held)
        for inherited in self._inherited:
            inherited.close()
        work(
            Plan(
                self._main,
                slot.sock,
                self._options,
                reports=reports,
                lifeline=self._lifeline,
            )
        )

    def _read(self, worker: Worker) -> bool:
        """Read a worker's reports; return whether there were any."""
        try:
            data = os.read(worker.reports, 65_536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(worker.reports)
            return False
        *lines, worker.rest = (worker.rest + data).split(b"\n")
        for line in lines:
            report = json.loads(line)
            if "ready" in report:
                worker.ready_at = time.monotonic()
            else:
                worker.stats = Stats(**report["stats"])
        return True

    def _reap(self, slot: Slot, worker: Worker) -> None:
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if not pid:
            return
        while worker.reports in self._selector.get_map() and self._read(worker):
            pass  # its last words
        if worker.reports in self._selector.get_map():  # a child of the worker has it
            self._selector.unregister(worker.reports)
        os.close(worker.reports)
        self._past += worker.stats
        code = os.waitstatus_to_exitcode(status)
        if worker in slot.retiring:
            slot.retiring.remove(worker)
        elif worker is slot.next:
            slot.next = None
            if self._rolling and self._rolling[0] is slot:
                self._rolling.popleft()
            logger.error("a new worker died (%s); the old one goes on", _ending(code))
        else:
            slot.current = None
            if not self._stopping:
                self._replace(slot, worker, code)
        if self._stopping and code != 0:
            self._clean = False

    def _replace(self, slot: Slot, worker: Worker, code: int) -> None:
        now = time.monotonic()
        ready = worker.ready_at is not None
        settled = worker.ready_at is not None and now - worker.ready_at >= _SETTLED
        delay = 0.0
        if settled:
            slot.failures = 0
        else:
            limit = _DELAY_IF_READY if ready else _LONGEST_DELAY
            delay = min(_FIRST_DELAY * 2.0 ** min(slot.failures, 20), limit)
            slot.failures += 1
        self.restarts += 1
        slot.start_at = now + delay
        logger.error(
            "worker %d died (%s); another one starts in %.2f seconds",
            worker.pid,
            _ending(code),
            delay,
        )


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"
