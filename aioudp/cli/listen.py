"""``aioudp listen``: show every datagram that comes, and who sent it."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Annotated

import typer

import aioudp

from .._address import format_address, parse_address
from . import console
from .formats import Format, show, summary
from .options import (
    FormatOption,
    IPv4Option,
    IPv6Option,
    LocalAddress,
    LoopOption,
    address_family,
)
from .running import FAILURE, Loop, run


def listen(
    address: LocalAddress,
    form: FormatOption = Format.TEXT,
    count: Annotated[
        int | None,
        typer.Option("--count", "-c", min=1, help="End after this many datagrams."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            "-t",
            min=0,
            metavar="SECONDS",
            help="End when nothing has come for so long; "
            "with status 1 if --count was not reached.",
        ),
    ] = None,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Print each datagram that comes, and who sent it.

    The first line on standard error tells the address, the last one the statistics.
    Ctrl-C ends it.
    """
    family = address_family(ipv4, ipv6)
    command = _listen(address, family, form=form, count=count, patience=timeout)
    run(command, loop=loop, interrupted=0)


async def _listen(
    address: str,
    family: int,
    *,
    form: Format,
    count: int | None,
    patience: float | None,
) -> int:
    async with aioudp.bind(parse_address(address), family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        try:
            for _ in itertools.count() if count is None else range(count):
                try:
                    async with asyncio.timeout(patience):
                        datagram = await endpoint.recv()
                except TimeoutError:
                    return 0 if count is None else FAILURE
                console.emit(show(datagram, form, time.time()))
            return 0
        finally:
            console.note(summary(endpoint.stats()))
