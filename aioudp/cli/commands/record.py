"""``aioudp record``."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import (
    address_family,
    count_option,
    family_options,
    json_option,
    listen_address,
    loop_option,
)
from ..parsing import Command, address_of, argument, only_address

EXAMPLES = [
    ("record traffic.pcap 9999", "Record what arrives on port 9999"),
    ("record traffic.pcap 9999 --rotate-time 3600", "Begin another file every hour"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument("file", type=click.Path(), metavar="FILE", help="The pcap file.")
@listen_address
@count_option
@click.option(
    "--rotate-size",
    type=click.IntRange(min=1000),
    metavar="BYTES",
    help="Begin another file before one gets longer than this.",
)
@click.option(
    "--rotate-time",
    type=click.FloatRange(min=0.001),
    metavar="SECONDS",
    help="Begin another file after this long.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Receive without GRO, so that the number of dropped datagrams is exact. "
    "Slower.",
)
@json_option("the counts at the end as a JSON object")
@family_options
@loop_option
def command(
    file: str,
    words: tuple[str, ...],
    count: int | None,
    rotate_size: int | None,
    rotate_time: float | None,
    exact: bool,
    as_json: bool,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Record received datagrams in a file for Wireshark, tcpdump and aioudp replay.

    Prints the address and the counts to standard error: once a second on a terminal,
    else at the end. Press Ctrl-C to stop: what has arrived by then is recorded first.
    """
    addr = address_of(only_address(words))
    if not isinstance(addr, tuple):
        raise click.UsageError(f"a pcap file has no place for UNIX sockets: {words[0]}")
    family = address_family(ipv4, ipv6)

    from ..record import record
    from ..running import run

    program = record(
        Path(file),
        addr,
        count=count,
        max_bytes=rotate_size,
        max_seconds=rotate_time,
        exact=exact,
        family=family,
        as_json=as_json,
    )
    return run(program, loop=loop, cancel=False)
