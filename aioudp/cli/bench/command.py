"""The programs of ``aioudp bench``: a server, a client, or both on one machine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import aioudp

from ..._system.addresses import format_address, parse_address
from .. import console
from ..formats import json_object, summary
from ..running import INTERRUPTED
from .client import Client
from .intervals import Interval, Intervals
from .report import Report
from .sending import Plan
from .server import Server

_PATIENCE: Final = 15.0  # seconds to wait for the server process


async def run_server(host: str, port: int) -> NoReturn:
    """Serve clients until cancelled."""
    async with aioudp.bind((host, port)) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        server = Server(endpoint)
        try:
            await server.serve()
        finally:
            console.note(f"{summary(endpoint.stats())}, ignored {server.ignored}")


async def run_client(
    host: str | None, port: int, plan: Plan, *, interval: float, as_json: bool
) -> int:
    """Measure, with a server on another machine or one of our own; print the result."""

    def show(one: Interval) -> None:
        console.emit(json_object(one.as_json()) if as_json else one.line())

    # The only interval of a short run would be the result itself.
    shown = show if 0 < interval < plan.seconds else None
    if host is not None:
        addr = await aioudp.resolve(host, port)
        reports, status = await measure(addr, plan, interval, shown)
    else:
        async with _server_process() as addr:
            reports, status = await measure(addr, plan, interval, shown)
    for index, report in enumerate(reports):
        if as_json:
            console.emit(json_object(report.as_json()))
            continue
        if index or shown is not None:
            console.emit("")
        if len(reports) > 1:
            console.emit(report.direction.replace("-", " the "))
        for line in report.as_text():
            console.emit(line)
    return status


async def measure(
    addr: aioudp.IPAddress,
    plan: Plan,
    interval: float = 0.0,
    show: Callable[[Interval], None] | None = None,
) -> tuple[list[Report], int]:
    """Return the reports and the exit status; on Ctrl-C, the results so far.

    With *show*, it's called with each interval.
    """
    status = 0
    async with Client(addr, plan) as client:
        try:
            await client.start()
        except ConnectionRefusedError as exc:
            reason = f"{format_address(addr)}: nobody listens there"
            raise ConnectionRefusedError(exc.errno, reason) from None
        except TimeoutError:
            raise TimeoutError(f"{format_address(addr)} does not answer") from None
        showing = None
        if show is not None:
            intervals = Intervals(client, interval, show)
            showing = asyncio.create_task(intervals.run())
        try:
            await client.send()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            status = INTERRUPTED
        finally:
            if showing is not None:
                failed = showing.done()
                showing.cancel()
                if failed:
                    await showing  # its output is a closed pipe, for example
        await client.finish()
        return await client.reports(), status


@asynccontextmanager
async def _server_process() -> AsyncIterator[aioudp.IPAddress]:
    """Run a server on loopback in a separate process; yield its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aioudp", "bench", "--server", "--host", "127.0.0.1"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must reach this process only
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            line = (await process.stderr.readline()).decode().strip()
        if not line.startswith("listening on "):
            raise OSError(f"the server did not start: {line}")
        addr: Any = parse_address(line.removeprefix("listening on "))
        yield addr
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
