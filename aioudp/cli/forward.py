"""``aioudp forward``: publish received datagrams to NATS JetStream, or show counts."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

import aioudp

from .._forwarding.status import Overview, watch
from .._system.addresses import format_address, parse_address
from . import console
from .options import LoopOption
from .running import Loop, run

StreamOption = Annotated[
    str,
    typer.Option("--stream", "-s", metavar="NAME", help="The name of the stream."),
]
CredentialsOption = Annotated[
    str | None,
    typer.Option("--credentials", metavar="FILE", help="A NATS credentials file."),
]

_STATUS_TIME = 2.5  # seconds: each process reports once a second


def forward(
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="[ADDRESS] URL",
            help="The address to listen on, and the NATS server. "
            "With --status only the server.",
            show_default=False,
        ),
    ],
    stream: StreamOption,
    status: Annotated[
        bool, typer.Option("--status", help="Show the counts of all processes.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as one JSON object.")
    ] = False,
    packet_info: Annotated[
        bool,
        typer.Option(
            "--packet-info",
            help="Forward kernel timestamps and local addresses; "
            "workers' replies then leave from the address that was asked.",
        ),
    ] = False,
    by_source: Annotated[
        bool,
        typer.Option("--by-source", help="Keep the datagrams of each source in order."),
    ] = False,
    credentials: CredentialsOption = None,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Receive datagrams, and publish them in batches to NATS JetStream.

    Press Ctrl-C to stop: everything received by then is published and acknowledged
    first. Press it again to stop at once.
    """
    if len(where) != (1 if status else 2):
        raise typer.BadParameter(
            "only the URL of a server goes with --status"
            if status
            else "an address and the URL of a server are required"
        )
    if status:
        run(
            _status(where[0], stream, as_json, credentials),
            loop=loop,
            interrupted=0,
        )
    options: dict[str, Any] = {"credentials": credentials}
    if by_source:
        options["partition"] = "source"
    run(
        _forward(where[0], where[1], stream, packet_info, options),
        loop=loop,
        interrupted=0,
    )


async def _forward(
    address: str, url: str, stream: str, packet_info: bool, options: dict[str, Any]
) -> int:
    async with aioudp.bind(parse_address(address), packet_info=packet_info) as endpoint:
        forwarder = aioudp.forward(endpoint, url, stream=stream, **options)
        try:
            async with aioudp.until_signal(call=endpoint.drain):
                console.note(
                    f"forwarding from {format_address(endpoint.local_addr)} to {stream}"
                )
                await forwarder
        finally:
            counts = forwarder.stats().as_dict()
            console.note(
                "{received} received, {acknowledged} acknowledged, {dropped} dropped, "
                "{refused} refused, {unknown} unknown".format(**counts)
            )
    return 0


async def _status(url: str, stream: str, as_json: bool, credentials: str | None) -> int:
    overview = Overview()
    async for found in watch(
        url, stream, interval=_STATUS_TIME, credentials=credentials
    ):
        overview = found
        break
    if as_json:
        found_all = {"fronts": overview.fronts, "workers": overview.workers}
        console.emit(json.dumps(found_all))
    else:
        _print_tables(overview)
    await asyncio.sleep(0)
    return 0


def _print_tables(overview: Overview) -> None:
    from rich.console import Console
    from rich.table import Table

    fronts = Table(title="fronts", title_justify="left")
    columns = ("received", "dropped", "published", "acknowledged", "refused", "unknown")
    for name in ("front", *columns, "batches", "had by workers"):
        fronts.add_column(name, justify="right" if name != "front" else "left")
    for front, status in sorted(overview.fronts.items()):
        fronts.add_row(
            f"{status.get('host')}:{status.get('pid')}",
            *(f"{status.get(name, 0):,}" for name in columns),
            f"{status.get('published_batches', 0):,}",
            f"{overview.had(front):,}",
        )
    workers = Table(title="workers", title_justify="left")
    counts = ("consumed", "repeated", "acknowledged", "damaged")
    for name in ("worker", "group", *counts):
        workers.add_column(name, justify="right" if name in counts else "left")
    for status in overview.workers.values():
        workers.add_row(
            f"{status.get('host')}:{status.get('pid')}",
            str(status.get("group")),
            *(f"{status.get(name, 0):,}" for name in counts),
        )
    out = Console(soft_wrap=True)
    out.print(fronts)
    out.print(workers)
