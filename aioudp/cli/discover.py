"""``aioudp discover``: ask everybody, and show who answers."""

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
        str, typer.Argument(metavar="TEXT", help="The question.", show_default=False)
    ],
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            "-g",
            metavar="GROUP",
            help="Ask this multicast group. Default: everybody, by broadcast.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", "-t", metavar="SECONDS", help="When to end the search."
        ),
    ] = 3.0,
    repeat: Annotated[
        int, typer.Option("--repeat", "-r", min=1, help="How often to ask.")
    ] = 3,
    interface: InterfaceOption = None,
    hexadecimal: HexOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per answer.")
    ] = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Ask on every interface, and print each distinct answer when it comes.

    Standard error tells at the end by which interfaces nobody could be asked, and
    how many answered. Ends with status 1 if nobody did.
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
    question = await anext(payloads([text], hexadecimal=hexadecimal))
    answers = 0
    async with aioudp.discover(
        question,
        port,
        timeout=seconds,
        repeat=repeat,
        interfaces=interfaces,
        group=group,
        key=lambda answer: answer,  # one device may say several things
    ) as search:
        async for answer in search:
            answers += 1
            console.emit(show(answer, form, time.time()))
    for line in show_outcomes(
        [outcome for outcome in search.outcomes if not outcome.sent], as_json=False
    ):
        console.note(f"not asked: {line}")
    console.note(f"{answers} answer{'' if answers == 1 else 's'}")
    return 0 if answers else FAILURE
