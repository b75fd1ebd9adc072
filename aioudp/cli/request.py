"""``aioudp request``: ask, again if need be, and print the answer."""

from __future__ import annotations

import time
from typing import Annotated

import typer

import aioudp

from . import console
from .formats import Format, show
from .options import (
    FormatOption,
    HexOption,
    IPv4Option,
    IPv6Option,
    LoopOption,
    address_family,
)
from .payloads import payloads
from .running import Loop, run


def request(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="Whom to ask.", show_default=False)
    ],
    port: Annotated[
        int,
        typer.Argument(metavar="PORT", min=1, max=65535, show_default=False),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The request.", show_default=False)
    ],
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            "-t",
            min=0.001,
            metavar="SECONDS",
            help="How long to wait for the first answer; each wait is twice as long "
            "as the one before.",
        ),
    ] = 1.0,
    retries: Annotated[
        int, typer.Option("--retries", "-r", min=0, help="How often to ask again.")
    ] = 3,
    form: FormatOption = Format.TEXT,
    hexadecimal: HexOption = False,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send a request until it's answered, and print the answer.

    Ends with status 1 if no answer comes, or nobody listens there. Standard error
    reports how often the request was sent.
    """
    command = _request(
        (host, port),
        data,
        hexadecimal=hexadecimal,
        family=address_family(ipv4, ipv6),
        seconds=timeout,
        retries=retries,
        form=form,
    )
    run(command, loop=loop)


async def _request(
    addr: tuple[str, int],
    data: str,
    *,
    hexadecimal: bool,
    family: int,
    seconds: float,
    retries: int,
    form: Format,
) -> int:
    question = await anext(payloads([data], hexadecimal=hexadecimal))
    async with aioudp.open_client(
        addr, timeout=seconds, retries=retries, family=family
    ) as client:
        answer = await client.request(question)
        console.emit(show(answer, form, time.time()))
        times = client.stats().retransmitted + 1
    console.note(f"sent {'once' if times == 1 else f'{times} times'}")
    return 0
