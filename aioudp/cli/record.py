"""The program of ``aioudp record``: write received datagrams to capture files.

Formatting and writing run in a thread, while the event loop receives the next batch.
Two batches take turns, so nothing is allocated for a batch.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import aioudp

from .._system.addresses import format_address
from .._system.batch_records import BatchRecords
from . import console
from .capture_files import CaptureFiles
from .formats import json_object

_RECEIVE_BUFFER: Final = 8 * 2**20  # bytes; a guess: some milliseconds at 10 Gbit/s


async def record(
    file: Path,
    local_addr: aioudp.Address,
    *,
    count: int | None,
    max_bytes: int | None,
    max_seconds: float | None,
    exact: bool,
    family: int,
    as_json: bool,
) -> int:
    """Record *count* datagrams, or all until a signal."""
    async with aioudp.bind(
        local_addr,
        family=family,
        packet_info=True,
        offload=not exact,
        receive_buffer=_RECEIVE_BUFFER,
    ) as endpoint:
        files = CaptureFiles(file, max_bytes=max_bytes, max_seconds=max_seconds)
        progress = _Progress(endpoint, files)
        try:
            async with aioudp.until_signal(call=endpoint.drain):
                console.note(f"listening on {format_address(endpoint.local_addr)}")
                await _receive(endpoint, files, progress, count)
        finally:
            files.complete()
            if as_json:
                console.emit(json_object(progress.counts()))
            else:
                console.note(progress.total())
    return 0


async def _receive(
    endpoint: aioudp.Endpoint[Any],
    files: CaptureFiles,
    progress: _Progress,
    left: int | None,
) -> None:
    """Record *left* datagrams, or all until the endpoint is drained."""
    records = BatchRecords(int(endpoint.local_addr[1]))

    def write(batch: aioudp.DatagramBatch) -> None:
        files.write(records.of(batch, time.time_ns()))

    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    written = free = None
    with ThreadPoolExecutor(1) as thread:
        try:
            while left is None or left > 0:
                try:
                    async with asyncio.timeout_at(progress.next_at):
                        batch = await endpoint.recv_batch(left, into=free)
                except aioudp.EndpointClosedError:
                    return
                except TimeoutError:
                    batch = None
                if batch is not None:
                    free = None  # it's in use now
                if writing is not None:
                    await writing
                    writing, free = None, written
                if batch is not None:
                    left = None if left is None else left - len(batch)
                    written = batch
                    writing = loop.run_in_executor(thread, write, batch)
                if loop.time() >= progress.next_at:
                    if writing is None:
                        await loop.run_in_executor(thread, files.rotate_by_time)
                    progress.show()
        finally:
            if writing is not None:
                await writing


class _Progress:
    """Counts and rates, in lines."""

    def __init__(self, endpoint: aioudp.Endpoint[Any], files: CaptureFiles) -> None:
        self._endpoint = endpoint
        self._files = files
        self._before = endpoint.stats()
        self._shown_at = asyncio.get_running_loop().time()
        self._on_terminal = console.on_terminal()
        self.next_at = self._shown_at + 1
        """When to show the next line, by the clock of the event loop."""

    def show(self) -> None:
        """Print the rates since the last call, on a terminal."""
        now = asyncio.get_running_loop().time()
        seconds, stats = now - self._shown_at, self._endpoint.stats()
        new = stats - self._before
        self._shown_at, self._before, self.next_at = now, stats, now + 1
        if self._on_terminal:
            rate, size = new.received / seconds, new.received_bytes / seconds / 1e6
            console.note(f"{rate:,.0f} datagrams/s, {size:,.1f} MB/s, {self.total()}")

    def counts(self) -> dict[str, object]:
        """Return the same as :meth:`total`, for JSON."""
        stats, files = self._endpoint.stats(), self._files
        return {
            "received": stats.received,
            "received_bytes": stats.received_bytes,
            "recorded": files.recorded,
            "files": files.completed,
            "dropped": stats.dropped_kernel,
            "dropped_max": stats.dropped_kernel_max,
        }

    def total(self) -> str:
        """Return what has been received, recorded and dropped so far."""
        stats, files = self._endpoint.stats(), self._files
        lost = stats.dropped_kernel
        drops = str(lost)
        if not stats.dropped_kernel_exact:
            drops = f"{lost} to {stats.dropped_kernel_max}"
        noun = "file" if files.completed == 1 else "files"
        return (
            f"received {stats.received} ({stats.received_bytes} bytes), "
            f"recorded {files.recorded} in {files.completed} complete {noun}, "
            f"dropped {drops}"
        )
