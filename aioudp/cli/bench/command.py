"""``aioudp bench``: the options, both ends on one machine, and the display."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import aioudp

from ..._system.addresses import format_address, parse_address
from .. import console
from ..formats import summary
from ..options import LoopOption
from ..running import INTERRUPTED, Loop, run
from . import wire
from .client import Client, Plan
from .report import Report
from .server import MAX_FLOWS, Server

_PATIENCE: Final = 15.0  # seconds to wait for the server process
_REFRESH: Final = 0.1  # seconds between updates of the display


def bench(
    server: Annotated[
        bool, typer.Option("--server", help="Run the server for a remote client.")
    ] = False,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="HOST", help="Measure the path to a server."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The server's address; empty for all addresses.")
    ] = "",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="The server's port; 0 for any free port."),
    ] = 0,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="DATAGRAMS",
            help="Datagrams per second, over all flows. Default: as fast as possible.",
        ),
    ] = None,
    payload: Annotated[
        int,
        typer.Option(min=wire.HEADER_SIZE, max=65507, help="Bytes per datagram."),
    ] = 1200,
    segment_size: Annotated[
        int | None,
        typer.Option(
            min=wire.HEADER_SIZE,
            max=32500,
            help="Send trains of datagrams of this many bytes; replaces --payload.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", "-t", min=0.05, help="Duration of sending.")
    ] = 5.0,
    flows: Annotated[
        int, typer.Option(min=1, max=MAX_FLOWS, help="Number of sending sockets.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Measure loss, latency and ordering of datagrams.

    Without --server and --client, both ends run on this machine, in two processes.
    Ctrl-C stops sending early, and prints the results so far.
    """
    if server and client is not None:
        raise typer.BadParameter("--server and --client are mutually exclusive")
    if server:
        run(_serve(host, port), loop=loop, interrupted=0)
    if client is not None and not port:
        raise typer.BadParameter("--client needs the --port of the server")
    plan = Plan(
        payload=segment_size or payload,
        seconds=seconds,
        rate=rate,
        flows=flows,
        trains=segment_size is not None,
    )
    run(_measure(client, port, plan, as_json=as_json), loop=loop)


async def _serve(host: str, port: int) -> NoReturn:
    async with aioudp.bind((host, port)) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        server = Server(endpoint)
        try:
            await server.serve()
        finally:
            console.note(f"{summary(endpoint.stats())}, ignored {server.ignored}")


async def _measure(host: str | None, port: int, plan: Plan, *, as_json: bool) -> int:
    if host is not None:
        addr = await aioudp.resolve(host, port)
        report, status = await measure(addr, plan)
    else:
        async with _server_process() as addr:
            report, status = await measure(addr, plan)
    if as_json:
        console.emit(json.dumps(report.as_json()))
    else:
        Console(file=sys.stdout).print(report.as_table())
    return status


async def measure(addr: aioudp.IPAddress, plan: Plan) -> tuple[Report, int]:
    """Return the report and the exit status; on Ctrl-C, the results so far."""
    status = 0
    async with Client(addr, plan) as client:
        try:
            await client.start()
        except ConnectionRefusedError as exc:
            reason = f"{format_address(addr)}: nobody listens there"
            raise ConnectionRefusedError(exc.errno, reason) from None
        except TimeoutError:
            raise TimeoutError(f"{format_address(addr)} does not answer") from None
        try:
            async with _display(client, plan):
                await client.send()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            status = INTERRUPTED
        await client.finish()
        return await client.report(), status


@asynccontextmanager
async def _display(client: Client, plan: Plan) -> AsyncIterator[None]:
    """Show the progress, on a terminal."""
    progress = Progress(
        TextColumn("sending"),
        BarColumn(),
        TextColumn("{task.fields[sent]:,} datagrams"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        auto_refresh=False,
    )

    async def refresh() -> None:
        shown = progress.add_task("", total=plan.seconds, sent=0)
        while True:
            await asyncio.sleep(_REFRESH)
            progress.update(shown, advance=_REFRESH, sent=client.sent, refresh=True)

    if not progress.console.is_terminal:
        yield
        return
    with progress:
        refreshing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            refreshing.cancel()


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
