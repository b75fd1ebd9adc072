"""``aioudp record``: write received datagrams to capture files.

Formatting and writing run in a thread, while the event loop receives the next batch.
Two batches take turns, so nothing is allocated for a batch.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer

import aioudp

from .._system.addresses import format_address, parse_address
from .._system.batch_records import BatchRecords
from . import console
from .capture_files import CaptureFiles
from .options import (
    CountOption,
    IPv4Option,
    IPv6Option,
    LocalAddress,
    LoopOption,
    address_family,
)
from .running import Loop, run

_RECEIVE_BUFFER: Final = 8 * 2**20  # bytes; a guess: some milliseconds at 10 Gbit/s


def record(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The pcap file.", show_default=False),
    ],
    address: LocalAddress,
    count: CountOption = None,
    rotate_size: Annotated[
        int | None,
        typer.Option(
            "--rotate-size",
            min=1000,
            metavar="BYTES",
            help="Begin another file before one gets longer than this.",
        ),
    ] = None,
    rotate_time: Annotated[
        float | None,
        typer.Option(
            "--rotate-time",
            min=0.001,
            metavar="SECONDS",
            help="Begin another file after this long.",
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Receive without GRO, so that the number of dropped datagrams is "
            "exact. Slower.",
        ),
    ] = False,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Record received datagrams in a file for Wireshark, tcpdump and aioudp replay.

    Prints the address and the counts to standard error: once a second on a terminal,
    else at the end. Press Ctrl-C to stop: what has arrived by then is recorded first.
    """
    command = _record(
        file,
        address,
        count=count,
        max_bytes=rotate_size,
        max_seconds=rotate_time,
        exact=exact,
        family=address_family(ipv4, ipv6),
    )
    run(command, loop=loop, cancel=False)


async def _record(
    file: Path,
    address: str,
    *,
    count: int | None,
    max_bytes: int | None,
    max_seconds: float | None,
    exact: bool,
    family: int,
) -> int:
    local_addr = parse_address(address)
    if not isinstance(local_addr, tuple):
        raise ValueError(f"a pcap file has no place for UNIX sockets: {address!r}")
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
            console.note(progress.total())
    return 0


async def _receive(
    endpoint: aioudp.Endpoint,
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

    def __init__(self, endpoint: aioudp.Endpoint, files: CaptureFiles) -> None:
        self._endpoint = endpoint
        self._files = files
        self._before = endpoint.stats()
        self._shown_at = asyncio.get_running_loop().time()
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()
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
