"""The program of ``aioudp forward``: publish to NATS JetStream, or show counts."""

from __future__ import annotations

import asyncio
from typing import Any

import aioudp

from .._forwarding.status import Overview, watch
from .._system.addresses import format_address
from . import console
from .formats import json_object

_STATUS_TIME = 2.5  # seconds: each process reports once a second


async def forward(
    addr: aioudp.Address,
    url: str,
    stream: str,
    *,
    packet_info: bool,
    options: dict[str, Any],
    as_json: bool,
) -> int:
    async with aioudp.bind(addr, packet_info=packet_info) as endpoint:
        forwarder = aioudp.forward(endpoint, url, stream=stream, **options)
        try:
            async with aioudp.until_signal(call=endpoint.drain):
                console.note(
                    f"forwarding from {format_address(endpoint.local_addr)} to {stream}"
                )
                await forwarder
        finally:
            counts = forwarder.stats().as_dict()
            if as_json:
                console.emit(json_object(counts))
            else:
                console.note(
                    "{received} received, {acknowledged} acknowledged, "
                    "{dropped} dropped, {refused} refused, {unknown} unknown".format(
                        **counts
                    )
                )
    return 0


async def status(
    url: str, stream: str, *, credentials: str | None, as_json: bool
) -> int:
    """Print the counts of all fronts and workers."""
    overview = Overview()
    async for found in watch(
        url, stream, interval=_STATUS_TIME, credentials=credentials
    ):
        overview = found
        break
    if as_json:
        found_all = {"fronts": overview.fronts, "workers": overview.workers}
        console.emit(json_object(found_all))
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
    for front, one in sorted(overview.fronts.items()):
        fronts.add_row(
            f"{one.get('host')}:{one.get('pid')}",
            *(f"{one.get(name, 0):,}" for name in columns),
            f"{one.get('published_batches', 0):,}",
            f"{overview.had(front):,}",
        )
    workers = Table(title="workers", title_justify="left")
    counts = ("consumed", "repeated", "acknowledged", "damaged")
    for name in ("worker", "group", *counts):
        workers.add_column(name, justify="right" if name in counts else "left")
    for one in overview.workers.values():
        workers.add_row(
            f"{one.get('host')}:{one.get('pid')}",
            str(one.get("group")),
            *(f"{one.get(name, 0):,}" for name in counts),
        )
    out = Console(soft_wrap=True)
    out.print(fronts)
    out.print(workers)
