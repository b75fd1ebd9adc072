"""The inside of one measured Python process: its commands and its reports.

``python -m benchmarks.worker '{"target": "benchmarks.subjects.with_trio:send", ...}'``
calls the target with a :class:`Job` and the options. Standard output is for lines of
JSON, the result last:

    a listener    {"port": ...}       it is bound
    a talker      {"ready": true}     it waits for a line on standard input

The harness marks the begin and the end of the flood of a listener with a datagram of
:data:`MARK` bytes, so that all listeners learn of it in the same way, the blocking ones
too, and pay the same for it: a look at the length of each datagram. The result of both
is ``{"datagrams": ..., "seconds": ..., "cpu_seconds": ...}``, and what the target adds.

Imports nothing of a library that is measured; the target does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

HOST: Final = "127.0.0.1"

MARK: Final = 1
"""Bytes of the datagram that marks the begin and the end. No payload is as short."""

TIMESTAMP: Final = struct.Struct("=q")
"""A payload: ``time.monotonic_ns()`` when it was sent. One clock for all processes."""

MAX_DATAGRAM: Final = 65535
"""Bytes; more than any UDP payload."""

BURST: Final = 64
"""Datagrams that a talker sends between two looks at the clock."""


MANY: Final = 1024
"""Datagrams of one call that takes many."""

PEERS: Final = 1000
"""Peers that a talker to many has: 127.0.0.1 and what follows, on one port."""


class Job:
    """What a target is to do, and the clocks that it starts and stops.

    Args:
        port: Where a talker sends to, on :data:`HOST`; 0 for a listener.
        payload: Bytes of each datagram.
        seconds: How long a talker sends.
    """

    def __init__(
        self, *, port: int = 0, payload: int = 0, seconds: float = 0.0
    ) -> None:
        self.peer = (HOST, port)
        self.payload = b"x" * payload
        self.seconds = seconds

    def listening(self, addr: Any) -> None:
        """Report the listener's address to the harness."""
        say({"port": addr[1]})

    def wait_for_go(self) -> None:
        """Wait, as a talker, until everybody is ready. Blocks."""
        say({"ready": True})
        if not sys.stdin.readline():
            raise EOFError("the harness has gone")

    def start(self) -> None:
        """Start the clocks."""
        self._cpu_start = time.process_time()
        self._start = time.perf_counter()

    def bursts(self) -> Iterator[int]:
        """Start the clocks, and count bursts until the time is over, from 1 on."""
        self.start()
        deadline = self._start + self.seconds
        burst = 0
        while time.perf_counter() < deadline:
            burst += 1
            yield burst

    def stop(self, datagrams: int, **more: float) -> None:
        """Stop the clocks, and report the result to the harness."""
        seconds = time.perf_counter() - self._start
        cpu_seconds = time.process_time() - self._cpu_start
        say(
            {
                "datagrams": datagrams,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                **more,
            }
        )


def say(message: dict[str, Any]) -> None:
    """Write one line of JSON to the harness."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def run(target: Callable[[Job], Any], loop: str, job: Job) -> None:
    """Call *target* with *job* on *loop*: a module, or none."""
    if loop == "none":
        target(job)
    elif loop == "trio":
        import trio

        trio.run(target, job)
    else:
        asyncio_run(target(job), loop)


def asyncio_run(main: Awaitable[None], loop: str) -> None:
    """Run *main* on a new event loop of the module *loop*."""
    module = importlib.import_module(loop)
    factory = getattr(module, "new_event_loop", None) or module.Loop  # talyn's

    async def wrapped() -> None:
        await main

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(wrapped())


def main() -> None:
    """Run the job described by the JSON on the command line."""
    spec = json.loads(sys.argv[1])
    os.environ.update(spec["environment"])
    module, _, function = spec["target"].partition(":")
    target = getattr(importlib.import_module(module), function)
    run(partial(target, **spec["options"]), spec["loop"], Job(**spec["job"]))


if __name__ == "__main__":
    main()
