"""One worker: what runs in the child process after the fork.

It inherits its socket from the parent, and has two pipes to it. On one, it reports that
it's ready, and its counters. Nothing is ever written to the other. It's closed when the
parent ends for whatever reason; then the worker drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict
from types import FrameType
from typing import Any, Final, NoReturn

from .._endpoint.dropin import run
from .._endpoint.opening import adopt
from .._errors import EndpointClosedError
from .._types import Stats
from ..signals import until_signal
from .plan import Plan

assert sys.platform != "win32"  # there is no fork

REPORT_EVERY: Final = 0.5
"""Seconds between two reports of a worker's counters."""


def work(plan: Plan) -> NoReturn:
    """Run the worker to its end, then exit, with status 0 if ``main`` returned."""
    status = 1
    try:
        run(_work(plan))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)  # the parent's exit handlers must not run in the worker


async def _work(plan: Plan) -> None:
    async with adopt(plan.sock, **plan.options) as endpoint:
        loop = asyncio.get_running_loop()
        # The kernel's counters belong to the socket, and include earlier workers.
        before = Stats(dropped_kernel=endpoint.stats().dropped_kernel)
        draining = False

        def drain() -> None:
            nonlocal draining
            draining = True
            endpoint.drain()

        def orphaned() -> None:
            loop.remove_reader(plan.lifeline)
            drain()

        def report() -> None:
            _report(plan.reports, {"stats": asdict(endpoint.stats() - before)})

        # A service manager may signal every process of a service (systemd.kill(5)). The
        # parent then sends a second SIGTERM, which must not end a worker that drains.
        # If it takes too long, the parent kills it.
        signal.signal(signal.SIGTERM, _do_nothing)
        async with until_signal(signal.SIGTERM, call=drain):
            # Not earlier: now the handler for SIGTERM is installed.
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            loop.add_reader(plan.lifeline, orphaned)
            task = asyncio.ensure_future(plan.main(endpoint))
            await asyncio.sleep(0)  # main runs until it first waits
            if not task.done():
                _report(plan.reports, {"ready": True})
            try:
                while not task.done():
                    report()
                    await asyncio.wait([task], timeout=REPORT_EVERY)
                await task
            except EndpointClosedError:
                if not draining:
                    raise
            finally:
                loop.remove_reader(plan.lifeline)
                report()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal; unlike SIG_IGN, it keeps one that is pending."""


def _report(pipe: int, what: dict[str, Any]) -> None:
    # Less than PIPE_BUF, so it is written whole or not at all (pipe(7)).
    with contextlib.suppress(OSError):
        os.write(pipe, json.dumps(what).encode() + b"\n")
