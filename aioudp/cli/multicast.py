"""``aioudp multicast``: send to a group on every interface, or listen to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

import aioudp

from .._system.addresses import format_address, parse_address
from . import console
from .formats import Format
from .options import (
    CountOption,
    FormatOption,
    HexOption,
    InterfaceOption,
    LoopOption,
    TimeoutOption,
    chosen_interfaces,
)
from .outcomes import show_outcomes
from .payloads import payloads
from .receiving import print_datagrams
from .running import FAILURE, Loop, run

multicast: typer.Typer = typer.Typer(
    help="Send to a multicast group, or listen to one.", no_args_is_help=True
)

GroupArgument = Annotated[
    str,
    typer.Argument(
        metavar="GROUP",
        help="A group and its port: 239.1.2.3:5000, [ff15::1234]:5000 or, on one "
        "interface, [ff02::1234%eth0]:5000.",
        show_default=False,
    ),
]


@multicast.command()
def send(
    group: GroupArgument,
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
    ttl: Annotated[
        int,
        typer.Option(
            "--ttl", min=0, max=255, help="Number of links a datagram may cross."
        ),
    ] = 1,
    no_loopback: Annotated[
        bool,
        typer.Option("--no-loopback", help="Don't deliver to listeners here."),
    ] = False,
    hexadecimal: HexOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per interface.")
    ] = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send datagrams to a group, and print the outcome for each interface.

    Exits with status 1 if a datagram could not be sent on any interface.
    """
    command = _send(
        group,
        payloads(texts or [], hexadecimal=hexadecimal),
        interfaces=chosen_interfaces(interface),
        ttl=ttl,
        loopback=not no_loopback,
        as_json=as_json,
    )
    run(command, loop=loop)


@multicast.command()
def listen(
    group: GroupArgument,
    interface: InterfaceOption = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="HOST", help="Receive only from this host."),
    ] = None,
    form: FormatOption = Format.TEXT,
    count: CountOption = None,
    timeout: TimeoutOption = None,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Join a group, and print each received datagram with its sender.

    Prints the address, and at the end the statistics, to standard error. Press Ctrl-C
    to stop.
    """
    command = _listen(
        group,
        interfaces=chosen_interfaces(interface),
        source=source,
        form=form,
        count=count,
        patience=timeout,
    )
    run(command, loop=loop, interrupted=0)


async def _send(
    group: str,
    datagrams: AsyncIterator[bytes],
    *,
    interfaces: list[str | int] | None,
    ttl: int,
    loopback: bool,
    as_json: bool,
) -> int:
    host, port = _group_and_port(group)
    if not port:
        raise ValueError(f"cannot send to port 0: {group!r}")
    status = 0
    async with aioudp.open_multicast(
        host, port, interfaces=interfaces, ttl=ttl, loop=loopback
    ) as endpoint:
        async for data in datagrams:
            outcomes = await endpoint.send(data)
            for line in show_outcomes(outcomes, as_json=as_json):
                console.emit(line)
            if not any(outcome.sent for outcome in outcomes):
                status = FAILURE
    return status


async def _listen(
    group: str,
    *,
    interfaces: list[str | int] | None,
    source: str | None,
    form: Format,
    count: int | None,
    patience: float | None,
) -> int:
    host, port = _group_and_port(group)
    async with aioudp.open_multicast(
        host, port, interfaces=interfaces, source=source
    ) as endpoint:
        there = host, int(endpoint.local_addr[1])
        console.note(f"listening on {format_address(there)}")
        return await print_datagrams(endpoint, form, count=count, patience=patience)


def _group_and_port(group: str) -> tuple[str, int]:
    addr = parse_address(group)
    if not isinstance(addr, tuple) or not addr[0]:
        raise ValueError(
            f"expected a group and a port, such as 239.1.2.3:5000, got {group}"
        )
    return addr[0], addr[1]
