"""Run a handler in several processes, for ``echo`` and ``serve``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

import aioudp

from .._serving.service import Handler
from .._system.addresses import format_address, parse_address
from . import console
from .formats import summary
from .rates import Rates
from .running import FAILURE, Loop

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=1,
        max=1024,
        metavar="N",
        help="Run N processes on one port (Linux). Default: this process alone.",
    ),
]


def run_workers(
    handler: Handler, address: str, workers: int, family: int, loop: Loop
) -> NoReturn:
    """Answer with *handler* in so many processes, and exit at their end."""
    if loop is not Loop.AUTO:
        raise typer.BadParameter("--loop can't be chosen for --workers")
    console.prepare()
    first = _once()

    async def main(endpoint: aioudp.Endpoint) -> None:
        async with aioudp.serve(handler, endpoint) as server:
            if first():
                console.note(f"listening on {format_address(server.local_addr)}")
            await server.serve_forever()

    def show(stats: aioudp.WorkersStats) -> None:
        total = stats.total
        rates.show({"received": total.received, "sent": total.sent})

    status = 0
    try:
        with Rates() as rates:
            stats = aioudp.run_workers(
                main,
                parse_address(address),
                workers=workers,
                on_stats=show,
                family=family,
            )
        console.note(summary(stats.total))
    except (OSError, ValueError) as exc:
        console.complain(exc)
        status = FAILURE
    raise typer.Exit(status)


def _once() -> Callable[[], bool]:
    """Return a function that returns true once, in the first process that calls it."""
    reader, writer = os.pipe()
    os.write(writer, b"1")
    os.close(writer)
    return lambda: os.read(reader, 1) != b""  # the end follows the byte
