"""Workers that send back what they receive, or only receive it.

    python -m benchmarks.subjects.group echo|sink WORKERS STEERING DIRECTORY

Each worker writes its port and how many datagrams it has handled to a file in
DIRECTORY, named after its process: two numbers of 8 bytes, which others may read at any
time.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Any

import aioudp

from ..worker import HOST


def _numbers(directory: Path) -> Any:
    with (directory / str(os.getpid())).open("w+b") as file:
        file.truncate(16)
        return memoryview(mmap.mmap(file.fileno(), 16)).cast("q")


def main() -> None:
    """Run the workers until a signal ends them."""
    kind, workers, steering, directory = sys.argv[1:]

    async def echo(endpoint: aioudp.Endpoint[Any]) -> None:
        numbers = _numbers(Path(directory))
        numbers[0] = endpoint.local_addr[1]
        while True:
            datagrams = await endpoint.recv_many()
            await endpoint.send_many(datagrams)
            numbers[1] += len(datagrams)

    async def sink(endpoint: aioudp.Endpoint[Any]) -> None:
        numbers = _numbers(Path(directory))
        numbers[0] = endpoint.local_addr[1]
        batch = aioudp.DatagramBatch()
        while True:
            await endpoint.recv_batch(into=batch)
            numbers[1] += len(batch)

    chosen: Any = steering
    aioudp.run_workers(
        {"echo": echo, "sink": sink}[kind],
        (HOST, 0),
        workers=int(workers),
        steering=chosen,
        queue_size=1024,
    )


if __name__ == "__main__":
    main()
