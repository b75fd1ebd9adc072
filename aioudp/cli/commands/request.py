"""``aioudp request``."""

from __future__ import annotations

import click

from ..options import (
    address_family,
    brief_loop_option,
    chosen_format,
    family_options,
    format_options,
    hex_option,
)
from ..parsing import Command, address_of, argument, leading_address

EXAMPLES = [
    ("request 192.0.2.1 9999 status", "Ask, up to four times, and print the answer"),
    (
        "request '[::1]:9999' status -t 0.2 -r 9",
        "Ask ten times, first after 0.2 seconds",
    ),
    ("request 192.0.2.1:9999 --hex '01 ff' -f hex", "Speak a binary protocol"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "words",
    nargs=-1,
    metavar="ADDRESS DATA",
    rows=[
        (
            "ADDRESS",
            "Whom to ask: HOST PORT, HOST:PORT, [IPV6]:PORT, or PORT on this machine.",
        ),
        ("DATA", "The request."),
    ],
)
@click.option(
    "--timeout",
    "-t",
    type=click.FloatRange(min=0.001),
    default=1.0,
    metavar="SECONDS",
    help="How long to wait for the first answer; each wait is twice as long as the one "
    "before.",
)
@click.option(
    "--retries",
    "-r",
    type=click.IntRange(min=0),
    default=3,
    metavar="N",
    help="How often to ask again.",
)
@format_options
@hex_option
@family_options
@brief_loop_option
def command(
    words: tuple[str, ...],
    timeout: float,
    retries: int,
    form: str | None,
    as_json: bool,
    raw: bool,
    hexadecimal: bool,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Send a request until it's answered, and print the answer.

    Exits with status 1 if no answer comes, or nobody listens there. Standard error
    reports how often the request was sent.
    """
    text, data = leading_address(words)
    if len(data) != 1:
        raise click.UsageError(
            f"one request is needed, in quotes if it has spaces; got {len(data)}"
        )
    host = "::1" if ipv6 else "127.0.0.1"
    addr = address_of(text, default_host=host, sending=True)
    family = address_family(ipv4, ipv6)
    form = chosen_format(form, as_json, raw)

    from ..request import request
    from ..running import run

    program = request(
        addr,
        data[0],
        hexadecimal=hexadecimal,
        family=family,
        seconds=timeout,
        retries=retries,
        form=form,
    )
    return run(program, loop=loop, brief=True)
