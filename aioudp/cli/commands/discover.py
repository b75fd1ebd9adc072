"""``aioudp discover``."""

from __future__ import annotations

import click

from ..options import (
    brief_loop_option,
    chosen_format,
    chosen_interfaces,
    format_options,
    hex_option,
    interface_option,
    port_argument,
)
from ..parsing import Command, argument

EXAMPLES = [
    ("discover 9999 'who is there?'", "Ask by broadcast, for three seconds"),
    ("discover 5000 hello -g ff02::1234%eth0", "Ask a multicast group on one link"),
]


@click.command(cls=Command, examples=EXAMPLES)
@port_argument
@argument("text", metavar="TEXT", help="The request.")
@click.option(
    "--group",
    "-g",
    metavar="GROUP",
    help="Send to this multicast group. Default: broadcast.",
)
@click.option(
    "--timeout",
    "-t",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    metavar="SECONDS",
    help="Duration of the search.",
)
@click.option(
    "--repeat",
    "-r",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    help="How many requests to send.",
)
@interface_option
@hex_option
@format_options
@brief_loop_option
def command(
    port: int,
    text: str,
    group: str | None,
    timeout: float,
    repeat: int,
    interfaces: tuple[str, ...],
    hexadecimal: bool,
    form: str | None,
    as_json: bool,
    raw: bool,
    loop: str,
) -> int:
    """Send a request on every interface, and print each distinct reply.

    At the end, standard error lists the interfaces on which the request could not be
    sent, and the number of replies. Exits with status 1 if there was no reply.
    """
    form = chosen_format(form, as_json, raw)

    from ..discover import discover
    from ..running import run

    program = discover(
        port,
        text,
        hexadecimal=hexadecimal,
        group=group,
        seconds=timeout,
        repeat=repeat,
        interfaces=chosen_interfaces(interfaces),
        form=form,
    )
    return run(program, loop=loop, brief=True)
