"""``aioudp replay``."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import json_option, loop_option
from ..parsing import Command, address_of, argument, only_address

EXAMPLES = [
    ("replay traffic.pcap 192.0.2.1:9999", "Send it as it was recorded"),
    ("replay traffic.pcap 9999 --speed max", "Send it to this machine, without pauses"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    metavar="FILE",
    help="The pcap file.",
)
@argument(
    "words",
    nargs=-1,
    metavar="ADDRESS",
    help="The destination: HOST:PORT, HOST PORT, [IPV6]:PORT, unix:PATH, or PORT on "
    "this machine.",
)
@click.option(
    "--speed",
    default="1",
    metavar="FACTOR",
    help="2 is twice as fast as recorded; max doesn't wait.",
)
@json_option("the counts at the end as a JSON object")
@loop_option
def command(
    file: str, words: tuple[str, ...], speed: str, as_json: bool, loop: str
) -> int:
    """Send the payloads of a capture file, with the pauses that were recorded.

    Reads files of aioudp record, tcpdump and Wireshark; packets that aren't complete
    UDP datagrams are skipped. Prints what it sent to standard error.
    """
    peer = address_of(only_address(words), default_host="127.0.0.1", sending=True)

    from ..replay import factor_of, replay
    from ..running import run

    program = replay(Path(file), peer, factor_of(speed), as_json=as_json)
    return run(program, loop=loop)
