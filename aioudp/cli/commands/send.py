"""``aioudp send``."""

from __future__ import annotations

import click

from ..options import (
    TEXT_HELP,
    address_family,
    brief_loop_option,
    chosen_format,
    family_options,
    format_options,
    hex_option,
)
from ..parsing import Command, File, address_of, argument, leading_address

EXAMPLES = [
    ("send 192.0.2.1:9999 hello", "Send one datagram"),
    ("send 192.0.2.1:9999 < lines.txt", "Send each line of a file"),
    ("send 192.0.2.1:9999 --file packet.bin", "Send a file as one datagram"),
    (
        "send 192.0.2.1:9999 --file big.iso --split 1200 --rate 10000",
        "Cut a file into datagrams, and send 10,000 of them a second",
    ),
    ("send '[::1]:9999' ping --wait 1", "Print what comes back within a second"),
    ("send -b 9999 hello", "Send to everybody on the local network"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "words",
    nargs=-1,
    metavar="ADDRESS [TEXT]...",
    rows=[
        (
            "ADDRESS",
            (
                "The destination: HOST:PORT, HOST PORT, [IPV6]:PORT, "
                "[IPV6%ZONE]:PORT, unix:PATH, or PORT on this machine "
                "(with --broadcast: 255.255.255.255)."
            ),
        ),
        ("TEXT", TEXT_HELP),
    ],
)
@click.option(
    "--file",
    type=File(),
    metavar="FILE",
    help="Send the content of a file, as one datagram. - is standard input.",
)
@click.option(
    "--split",
    type=click.IntRange(1, 65507),
    metavar="BYTES",
    help="Cut the file into datagrams of this size; the last may be shorter.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Send at most this many datagrams a second. Default: no limit.",
)
@click.option(
    "--wait",
    "-w",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Print replies until this long after the last datagram.",
)
@format_options
@hex_option
@click.option("--broadcast", "-b", is_flag=True, help="Allow a broadcast address.")
@click.option("--local", metavar="ADDRESS", help="Send from this address.")
@family_options
@brief_loop_option
def command(
    words: tuple[str, ...],
    file: str | None,
    split: int | None,
    rate: float | None,
    wait: float | None,
    form: str | None,
    as_json: bool,
    raw: bool,
    hexadecimal: bool,
    broadcast: bool,
    local: str | None,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Send the arguments, the lines of standard input, or a file, as datagrams.

    Exits with status 1 if the peer refuses them. Prints statistics to standard error.
    """
    text, texts = leading_address(words)
    host = "255.255.255.255" if broadcast else "::1" if ipv6 else "127.0.0.1"
    peer = address_of(text, default_host=host, sending=True)
    local_addr = None if local is None else address_of(local)
    family = address_family(ipv4, ipv6)
    form = chosen_format(form, as_json, raw)
    if file is not None and (texts or hexadecimal):
        raise click.UsageError("--file is instead of TEXT and --hex")
    if split is not None and file is None:
        raise click.UsageError("--split needs --file")

    from ..payloads import file_payloads, payloads
    from ..running import run
    from ..send import send

    if file is None:
        datagrams = payloads(texts, hexadecimal=hexadecimal)
    else:
        datagrams = file_payloads(file, split=split)
    program = send(
        peer,
        datagrams,
        broadcast=broadcast,
        local_addr=local_addr,
        family=family,
        wait=wait,
        rate=rate,
        form=form,
    )
    return run(program, loop=loop, brief=True)
