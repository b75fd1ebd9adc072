"""``aioudp subscribe``."""

from __future__ import annotations

import click

from ..options import (
    chosen_format,
    count_option,
    credentials_option,
    format_options,
    loop_option,
    stream_option,
    timeout_option,
)
from ..parsing import Command, argument

EXAMPLES = [
    ("subscribe nats://192.0.2.9 -s statsd", "Print what the fronts receive"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument("url", metavar="URL", help="The NATS server.")
@stream_option
@click.option(
    "--group",
    "-g",
    default="print",
    metavar="NAME",
    help="The group that shares the datagrams.",
)
@format_options
@count_option
@timeout_option
@credentials_option
@loop_option
def command(
    url: str,
    stream: str,
    group: str,
    form: str | None,
    as_json: bool,
    raw: bool,
    count: int | None,
    timeout: float | None,
    credentials: str | None,
    loop: str,
) -> int:
    """Print each datagram of a stream with its sender, and acknowledge it.

    Other commands and programs with the same group get the other datagrams. Press
    Ctrl-C to stop.
    """
    form = chosen_format(form, as_json, raw)

    from ..running import run
    from ..subscribe import subscribe

    program = subscribe(
        url,
        stream,
        group,
        credentials=credentials,
        form=form,
        count=count,
        patience=timeout,
    )
    return run(program, loop=loop, interrupted=0)
