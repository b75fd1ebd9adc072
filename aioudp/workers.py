"""Workers: several processes on one port, so that a server can use all cores.

This module checks the arguments and opens the sockets. ``_workers.supervisor`` is the
parent's part, ``_workers.worker`` the child's.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Unpack, get_args

from ._endpoint.dropin import run
from ._endpoint.opening import LocalAddress, bound_socket
from ._endpoint.options import Options, check
from ._system.addresses import check_number, host_and_port, is_path
from ._system.steering import Steering, steer
from ._types import Counts, Stats
from ._workers.plan import Main

_QUEUE_SIZE: Final = 64
"""How many datagrams a worker reads ahead; they're lost if it's killed. A guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersStats(Counts):
    """Counters of :func:`run_workers`, as far as the workers have reported them.

    Workers report twice a second, and when they end. If a worker is killed, what it
    counted since its last report is missing.
    """

    total: Stats = field(default_factory=Stats)
    """The sum over all workers, including those that have ended."""

    workers: tuple[Stats, ...] = ()
    """The counters of each running worker, by its number."""

    restarts: int = 0
    """How many workers died and were replaced."""


def run_workers(
    main: Main,
    local_addr: LocalAddress,
    *,
    workers: int | None = None,
    steering: Steering = "kernel",
    drain: float = 10.0,
    on_stats: Callable[[WorkersStats], object] | None = None,
    **options: Unpack[Options],
) -> WorkersStats:
    """Run *main* in several processes on one port, until a signal ends them.

    ::

        async def main(endpoint):
            async for data, addr in endpoint:
                await endpoint.send(data, addr)

        if __name__ == "__main__":
            aioudp.run_workers(main, ("", 9999))

    Each process awaits ``main(endpoint)`` with its own endpoint, on its own event loop
    (:func:`aioudp.new_event_loop`). The processes are forked from this one, which opens
    all sockets before the first fork and keeps them open. So if a worker dies, its
    successor receives what is in the socket's buffer; only what the worker had already
    read is lost. A worker whose *main* returns or raises is replaced, too. A worker
    that was ready is replaced within a second; one that dies before it's ready is
    started again after 0.05 to 10 seconds.

    A worker is ready when its *main* waits for the first time.

    ======= ===================================================================
    signal  what happens
    ======= ===================================================================
    SIGTERM Every worker drains its endpoint: iterating over it ends when the
            queues are empty. Those that haven't returned from *main* after
            *drain* seconds are killed. A second signal kills them at once.
    SIGINT  The same.
    SIGHUP  The workers are replaced one by one. Each new one is ready
            before the old one drains.
    ======= ===================================================================

    To answer with a function, *main* can serve its endpoint::

        async def main(endpoint):
            async with aioudp.serve(handler, endpoint) as server:
                await server.serve_forever()

    If this process dies, the workers drain, then exit.

    Call it in the main thread of a process that has no other threads and no event loop
    yet, because only such a process can be forked safely. Linux only.

    Args:
        main: Called with the :class:`~aioudp.Endpoint` of its process.
        local_addr: Where to listen, as in :func:`aioudp.bind`. It can't be a path.
        workers: The number of processes. Default: the number of cores that this process
            may use.
        steering: How the worker for a datagram is chosen. ``"kernel"``: by a hash of
            both addresses, so that a sender stays with one worker. ``"peer"``: by the
            sender's address and port only, whatever address it sends to. ``"random"``:
            at random, so that a heavy sender is spread over all workers.
        drain: How long workers may take to finish, in seconds.
        on_stats: Called in this process about once a second, and at the end.
        options: See :class:`aioudp.Options`. ``reuse_port`` is always on, and
            ``queue_size`` is 64 by default, because what a worker has read ahead is
            lost if it's killed.

    Returns:
        The counters at the end.

    Raises:
        OSError: If the system refuses; the message names the address.
        RuntimeError: If this isn't the main thread, or an event loop is running.
        SystemExit: With status 1, if a worker had to be killed or failed at the end.
        TypeError: If an argument has the wrong type, or an option is unknown.
        ValueError: If a number or an option is out of range, or this isn't Linux.
    """
    if not callable(main):
        raise TypeError(f"main must be callable, got {main!r}")
    if on_stats is not None and not callable(on_stats):
        raise TypeError(f"on_stats must be callable, got {on_stats!r}")
    if is_path(local_addr):
        raise ValueError(f"a path has one socket only, and no workers: {local_addr!r}")
    _, port = host_and_port(local_addr)
    if sys.platform != "linux":
        raise ValueError("run_workers is not supported on this system")
    from ._workers import supervisor  # which needs fork

    if workers is None:
        workers = len(os.sched_getaffinity(0))
    check_number("workers", workers, 1, 1024)
    if steering not in get_args(Steering):
        listed = ", ".join(map(repr, get_args(Steering)))
        raise ValueError(f"steering must be one of {listed}; got {steering!r}")
    if not isinstance(drain, (int, float)) or isinstance(drain, bool):
        raise TypeError(f"drain must be a number of seconds, got {drain!r}")
    if not 0 <= drain < math.inf:
        raise ValueError(f"drain must be finite and not negative, got {drain}")
    settings = check({**options, "reuse_port": True}, run_workers)
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run_workers works in the main thread only")

    last = WorkersStats()

    def note(total: Stats, present: tuple[Stats, ...], restarts: int) -> None:
        nonlocal last
        last = WorkersStats(total=total, workers=present, restarts=restarts)
        if on_stats is not None:
            on_stats(last)

    socks: list[socket.socket] = []
    try:
        for _ in range(workers):
            socks.append(run(bound_socket(_at(local_addr, port), settings)))
            port = socks[0].getsockname()[1]
        steer(socks[0], steering, workers)
        options.setdefault("queue_size", _QUEUE_SIZE)
        parent = supervisor.Supervisor(
            main, socks, _for_adopting(options), drain=drain, on_stats=note, every=1.0
        )
        clean = parent.run()
    finally:
        for sock in socks:
            sock.close()
    if not clean:
        raise SystemExit(1)
    return last


def _at(local_addr: Any, port: int) -> LocalAddress:
    """Return the same address with the port of the first socket."""
    host, _, *rest = local_addr
    at: Any = (host, port, *rest)
    return at  # type: ignore[no-any-return]


def _for_adopting(options: Options) -> Options:
    """Return the options that opening the sockets didn't apply."""
    decided = ("family", "reuse_port")
    rest: Any = {name: options[name] for name in options if name not in decided}  # type: ignore[literal-required]
    return rest  # type: ignore[no-any-return]
