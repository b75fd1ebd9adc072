"""Run a handler in several processes, for ``echo`` and ``serve``."""

from __future__ import annotations

import os
from collections.abc import Callable

import aioudp

from .._serving.service import Handler
from .._system.addresses import format_address
from . import console
from .formats import counts, json_object, summary
from .rates import Rates
from .running import complain, status_of


def run_workers(
    handler: Handler,
    addr: aioudp.Address,
    workers: int,
    family: int,
    *,
    as_json: bool,
) -> int:
    """Answer with *handler* in so many processes; return the status at their end."""
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
                addr,
                workers=workers,
                on_stats=show,
                family=family,
            )
        if as_json:
            console.emit(json_object(counts(stats.total)))
        else:
            console.note(summary(stats.total))
    except (OSError, ValueError) as exc:
        complain(exc)
        status = status_of(exc)
    return status


def _once() -> Callable[[], bool]:
    """Return a function that returns true once, in the first process that calls it."""
    reader, writer = os.pipe()
    os.write(writer, b"1")
    os.close(writer)
    return lambda: os.read(reader, 1) != b""  # the end follows the byte
