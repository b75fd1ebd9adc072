"""``aioudp listen``."""

from __future__ import annotations

import click

from ..options import (
    address_family,
    chosen_format,
    count_option,
    family_options,
    format_options,
    listen_address,
    loop_option,
    timeout_option,
)
from ..parsing import Command, address_of, only_address

EXAMPLES = [
    ("listen 9999", "Print what arrives on port 9999, on any address"),
    ("listen 127.0.0.1:9999 -f hex", "Show every byte"),
    ("listen 9999 --json > datagrams.jsonl", "Keep datagrams as JSON lines"),
    ("listen 9999 --raw -c 1 > file", "Write one payload to a file, unchanged"),
    ("listen 9999 --reply", "Talk to whoever sends: each line goes to the last sender"),
    ("listen 9999 --rates", "Watch who sends how much, and what is dropped"),
]


@click.command(cls=Command, examples=EXAMPLES)
@listen_address
@click.option(
    "--reply",
    is_flag=True,
    help="Send each line of standard input to the last sender. Ends with the input or, "
    "with --timeout, after that long without a datagram.",
)
@click.option(
    "--rates",
    is_flag=True,
    help="Instead of datagrams, show the peers, their rates, drops, and how full the "
    "kernel's buffer is: a table on a terminal, elsewhere a line per second.",
)
@format_options
@count_option
@timeout_option
@family_options
@loop_option
def command(
    words: tuple[str, ...],
    reply: bool,
    rates: bool,
    form: str | None,
    as_json: bool,
    raw: bool,
    count: int | None,
    timeout: float | None,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Print each received datagram with its sender.

    Prints the address, and at the end the statistics, to standard error. Press Ctrl-C
    to stop.
    """
    addr = address_of(only_address(words))
    family = address_family(ipv4, ipv6)
    form = chosen_format(form, as_json, raw)
    if reply and rates:
        raise click.UsageError("--reply and --rates are mutually exclusive")
    if reply and count is not None:
        raise click.UsageError("--reply and --count are mutually exclusive")
    if rates and form not in ("text", "json"):
        raise click.UsageError("--rates has no format but --json")

    from .. import listen
    from ..running import run

    if rates:
        from ..watch import watch

        program = watch(
            addr, family, as_json=form == "json", count=count, patience=timeout
        )
    elif reply:
        program = listen.converse(addr, family, form=form, patience=timeout)
    else:
        program = listen.listen(addr, family, form=form, count=count, patience=timeout)
    return run(program, loop=loop, interrupted=0)
