"""``aioudp broadcast``: send a broadcast on every interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

import aioudp

from . import console
from .options import (
    HexOption,
    InterfaceOption,
    LoopOption,
    PortArgument,
    chosen_interfaces,
)
from .outcomes import show_outcomes
from .payloads import payloads
from .running import FAILURE, Loop, run


def broadcast(
    port: PortArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Each TEXT is one datagram. Default: each line of standard input, "
            "without its line ending.",
            show_default=False,
        ),
    ] = None,
    interface: InterfaceOption = None,
    hexadecimal: HexOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per interface.")
    ] = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send datagrams to everybody on the local networks.

    Prints the outcome for each interface. Exits with status 1 if a datagram could not
    be sent on any interface.
    """
    command = _broadcast(
        port,
        payloads(texts or [], hexadecimal=hexadecimal),
        interfaces=chosen_interfaces(interface),
        as_json=as_json,
    )
    run(command, loop=loop)


async def _broadcast(
    port: int,
    datagrams: AsyncIterator[bytes],
    *,
    interfaces: list[str | int] | None,
    as_json: bool,
) -> int:
    status = 0
    # Use a separate port, so as not to receive datagrams meant for other programs.
    async with aioudp.open_broadcast(0, interfaces=interfaces) as endpoint:
        async for data in datagrams:
            outcomes = await endpoint.send(data, port)
            for line in show_outcomes(outcomes, as_json=as_json):
                console.emit(line)
            if not any(outcome.sent for outcome in outcomes):
                status = FAILURE
    return status
