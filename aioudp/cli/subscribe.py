"""``aioudp subscribe``: print the datagrams that other machines received."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

import aioudp

from . import console
from .formats import Format, show
from .forward import CredentialsOption, StreamOption
from .options import CountOption, FormatOption, LoopOption, TimeoutOption
from .running import FAILURE, Loop, run


def subscribe(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="The NATS server.", show_default=False),
    ],
    stream: StreamOption,
    group: Annotated[
        str,
        typer.Option(
            "--group", "-g", metavar="NAME", help="The group that shares the datagrams."
        ),
    ] = "print",
    form: FormatOption = Format.TEXT,
    count: CountOption = None,
    timeout: TimeoutOption = None,
    credentials: CredentialsOption = None,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Print each datagram of a stream with its sender, and acknowledge it.

    Other commands and programs with the same group get the other datagrams. Press
    Ctrl-C to stop.
    """
    command = _subscribe(url, stream, group, credentials, form, count, timeout)
    run(command, loop=loop, interrupted=0)


async def _subscribe(
    url: str,
    stream: str,
    group: str,
    credentials: str | None,
    form: Format,
    count: int | None,
    patience: float | None,
) -> int:
    printed = 0
    async with aioudp.subscribe(
        url, stream=stream, group=group, credentials=credentials
    ) as batches:
        console.note(f"subscribed to {stream} as {group}")
        while count is None or printed < count:
            try:
                async with asyncio.timeout(patience):
                    batch = await anext(batches)
            except TimeoutError:
                return 0 if count is None else FAILURE
            for message in batch.messages():
                datagram = aioudp.Datagram(message.data, message.addr)
                console.emit(show(datagram, form, message.timestamp or 0.0))
            await batch.ack()
            printed += len(batch)
    return 0
