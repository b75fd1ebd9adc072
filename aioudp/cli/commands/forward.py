"""``aioudp forward``."""

from __future__ import annotations

from typing import Any

import click

from ..options import credentials_option, json_option, loop_option, stream_option
from ..parsing import Command, address_of, argument

EXAMPLES = [
    ("forward 8125 nats://192.0.2.9 -s statsd", "Publish what arrives on port 8125"),
    ("forward --status nats://192.0.2.9 -s statsd", "Show the counts of all processes"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "where",
    nargs=-1,
    metavar="[ADDRESS] URL",
    help="The address to listen on, and the NATS server. "
    "With --status only the server.",
)
@stream_option
@click.option("--status", is_flag=True, help="Show the counts of all processes.")
@json_option("the counts as one JSON object")
@click.option(
    "--packet-info",
    is_flag=True,
    help="Forward kernel timestamps and local addresses; workers' replies then leave "
    "from the address that was asked.",
)
@click.option(
    "--by-source", is_flag=True, help="Keep the datagrams of each source in order."
)
@credentials_option
@loop_option
def command(
    where: tuple[str, ...],
    stream: str,
    status: bool,
    as_json: bool,
    packet_info: bool,
    by_source: bool,
    credentials: str | None,
    loop: str,
) -> int:
    """Receive datagrams, and publish them in batches to NATS JetStream.

    Press Ctrl-C to stop: everything received by then is published and acknowledged
    first. Press it again to stop at once.
    """
    if len(where) != (1 if status else 2):
        raise click.UsageError(
            "only the URL of a server goes with --status"
            if status
            else "an address and the URL of a server are required"
        )
    addr = None if status else address_of(where[0])

    from .. import forward
    from ..running import run

    if addr is None:
        program = forward.status(
            where[0], stream, credentials=credentials, as_json=as_json
        )
    else:
        options: dict[str, Any] = {"credentials": credentials}
        if by_source:
            options["partition"] = "source"
        program = forward.forward(
            addr,
            where[1],
            stream,
            packet_info=packet_info,
            options=options,
            as_json=as_json,
        )
    return run(program, loop=loop, interrupted=0)
