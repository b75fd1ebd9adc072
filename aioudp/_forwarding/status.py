"""The status that fronts and workers publish, combined into an overview.

Each publishes its counters once a second. They aren't stored: to see them, listen for a
while. A worker also publishes which batches it has received since it started. The union
over all workers shows which batches of a front no worker has received.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import names
from .engine import Engine
from .ranges import Ranges

logger = logging.getLogger("aioudp")

Status = dict[str, Any]

_INTERVAL: Final = 1.0  # seconds


async def publish_regularly(
    engine: Engine, stream: str, about: Status, counts: Callable[[], Status]
) -> None:
    """Publish the counts of a process once a second, while there is a connection."""
    about = {**about, "host": socket.gethostname(), "pid": os.getpid()}
    while True:
        await asyncio.sleep(_INTERVAL)
        if (client := engine.client) is None:
            continue
        status = json.dumps({**about, **counts()}).encode()
        try:
            await client.publish(names.status_subject(stream), status)
        except Exception as exc:
            logger.debug("%s %s: %s", about["kind"], about["id"], exc)


@dataclass(slots=True)
class Overview:
    """The last status of each front and each worker. Pure."""

    fronts: dict[str, Status] = field(default_factory=dict)
    workers: dict[str, Status] = field(default_factory=dict)

    def add(self, status: Status) -> None:
        """Add a status, which replaces an earlier one of the same process."""
        kind = self.fronts if status.get("kind") == "front" else self.workers
        kind[str(status.get("id"))] = status

    def had(self, front: str) -> int:
        """Return how many batches of a front the current workers have received.

        A batch that came to several workers counts once, unless that was long ago: a
        status has only the latest ranges, and how many batches came altogether.
        """
        together: dict[str, Ranges] = {}
        earlier = 0
        for worker in self.workers.values():
            for name, pairs in worker.get("batches", {}).items():
                if name.partition(".")[0] == front:
                    known = together.setdefault(name, Ranges())
                    own = Ranges(pairs)
                    for start, end in own.pairs():
                        known.update(start, end)
                    had = worker.get("had", {}).get(name, 0)
                    earlier += max(0, had - len(own))
        return earlier + sum(map(len, together.values()))

    def total(self, name: str) -> int:
        """Return the sum of one count over all fronts, or over all workers."""
        everybody = (*self.fronts.values(), *self.workers.values())
        return sum(int(status.get(name, 0)) for status in everybody)


async def watch(
    url: str | Sequence[str], stream: str, *, interval: float = 1.0, **security: Any
) -> AsyncIterator[Overview]:
    """Yield the overview every *interval* seconds."""
    overview = Overview()

    async def connected(client: Any) -> None:
        await client.subscribe(names.status_subject(stream), cb=received)

    async def received(message: Any) -> None:
        try:
            status = json.loads(message.data)
        except ValueError:
            return
        if isinstance(status, dict):
            overview.add(status)

    engine = Engine(url, name="aioudp status", connected=connected, **security)
    await engine.start()
    try:
        while True:
            await asyncio.sleep(interval)
            yield overview
    finally:
        await engine.aclose()
