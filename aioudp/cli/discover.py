"""``aioudp discover``: send a request to everybody, and print the replies."""

from __future__ import annotations

import time
from typing import Annotated

import typer

import aioudp

from . import console
from .formats import Format, show
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


def discover(
    port: PortArgument,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="The request.", show_default=False)
    ],
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            "-g",
            metavar="GROUP",
            help="Send to this multicast group. Default: broadcast.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", "-t", metavar="SECONDS", help="Duration of the search."
        ),
    ] = 3.0,
    repeat: Annotated[
        int,
        typer.Option("--repeat", "-r", min=1, help="How many requests to send."),
    ] = 3,
    interface: InterfaceOption = None,
    hexadecimal: HexOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per reply.")
    ] = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send a request on every interface, and print each distinct reply.

    At the end, standard error lists the interfaces on which the request could not be
    sent, and the number of replies. Exits with status 1 if there was no reply.
    """
    command = _discover(
        port,
        text,
        hexadecimal=hexadecimal,
        group=group,
        seconds=timeout,
        repeat=repeat,
        interfaces=chosen_interfaces(interface),
        form=Format.JSON if as_json else Format.TEXT,
    )
    run(command, loop=loop)


async def _discover(
    port: int,
    text: str,
    *,
    hexadecimal: bool,
    group: str | None,
    seconds: float,
    repeat: int,
    interfaces: list[str | int] | None,
    form: Format,
) -> int:
    request = await anext(payloads([text], hexadecimal=hexadecimal))
    replies = 0
    async with aioudp.discover(
        request,
        port,
        timeout=seconds,
        repeat=repeat,
        interfaces=interfaces,
        group=group,
        key=lambda reply: reply,  # one device may send several replies
    ) as search:
        async for reply in search:
            replies += 1
            console.emit(show(reply, form, time.time()))
    for line in show_outcomes(
        [outcome for outcome in search.outcomes if not outcome.sent], as_json=False
    ):
        console.note(f"not sent: {line}")
    console.note(f"{replies} {'reply' if replies == 1 else 'replies'}")
    return 0 if replies else FAILURE
