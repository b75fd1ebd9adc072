"""``aioudp relay``: a bad network between two real programs."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any, NoReturn

import typer

from .._system.addresses import format_address, parse_address
from . import console
from .options import LocalAddress, LoopOption
from .running import Loop, run


def relay(
    address: LocalAddress,
    server: Annotated[
        str,
        typer.Argument(
            metavar="SERVER",
            help="The address to relay to: HOST:PORT or [IPV6]:PORT.",
            show_default=False,
        ),
    ],
    loss: Annotated[
        float,
        typer.Option("--loss", min=0, max=1, help="The probability of losing one."),
    ] = 0.0,
    delay: Annotated[
        float, typer.Option("--delay", min=0, metavar="SECONDS", help="The delay.")
    ] = 0.0,
    jitter: Annotated[
        float,
        typer.Option(
            "--jitter",
            min=0,
            metavar="SECONDS",
            help="The most random delay on top.",
        ),
    ] = 0.0,
    duplicate: Annotated[
        float,
        typer.Option("--duplicate", min=0, max=1, help="The probability of a copy."),
    ] = 0.0,
    reorder: Annotated[
        float,
        typer.Option(
            "--reorder", min=0, max=1, help="The probability of being overtaken."
        ),
    ] = 0.0,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=1, metavar="BYTES", help="Bytes a second, each direction."
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option("--queue", min=0, help="Datagrams that wait for the rate."),
    ] = 1000,
    seed: Annotated[
        int, typer.Option("--seed", help="What the random decisions depend on.")
    ] = 0,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Relay datagrams to a server and back, as a bad network would.

    Clients send to ADDRESS instead of SERVER. Prints the address, and what has become
    of the datagrams, to standard error: once a second on a terminal, else at the end.
    Press Ctrl-C to stop.
    """
    faults: dict[str, Any] = {
        "loss": loss,
        "delay": delay,
        "jitter": jitter,
        "duplicate": duplicate,
        "reorder": reorder,
        "rate": rate,
        "queue": queue,
    }
    run(_relay(address, server, seed, faults), loop=loop, interrupted=0)


async def _relay(
    address: str, server: str, seed: int, faults: dict[str, Any]
) -> NoReturn:
    from ..testing.relay import LossyRelay

    async with LossyRelay(
        parse_address(address), parse_address(server), seed=seed, **faults
    ) as bad:
        console.note(f"listening on {format_address(bad.local_addr)}")
        shown, on_terminal = "", sys.stderr is not None and sys.stderr.isatty()
        try:
            while True:
                await asyncio.sleep(1)
                if on_terminal and (now := _summary(bad)) != shown:
                    shown = now
                    console.note(shown)
        finally:
            console.note(_summary(bad))


def _summary(bad: Any) -> str:
    fates = bad.history.fates()
    total = bad.history.forgotten + sum(1 for one in bad.history if not one.copy)
    counts = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
    return f"{total} datagrams of {bad.clients} clients: {counts or 'none yet'}"
