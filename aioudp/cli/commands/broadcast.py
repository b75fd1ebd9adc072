"""``aioudp broadcast``."""

from __future__ import annotations

import click

from ..options import (
    brief_loop_option,
    chosen_interfaces,
    hex_option,
    interface_option,
    json_option,
    port_argument,
    texts_argument,
)
from ..parsing import Command

EXAMPLES = [
    ("broadcast 9999 'hello, everybody'", "Send on every interface"),
    ("broadcast 9999 hello -i eth0 -i wlan0", "Send on two interfaces"),
]


@click.command(cls=Command, examples=EXAMPLES)
@port_argument
@texts_argument
@interface_option
@hex_option
@json_option("one JSON object per interface and datagram")
@brief_loop_option
def command(
    port: int,
    texts: tuple[str, ...],
    interfaces: tuple[str, ...],
    hexadecimal: bool,
    as_json: bool,
    loop: str,
) -> int:
    """Send datagrams to everybody on the local networks.

    Prints the outcome for each interface. Exits with status 1 if a datagram could not
    be sent on any interface.
    """
    from ..broadcast import broadcast
    from ..payloads import payloads
    from ..running import run

    program = broadcast(
        port,
        payloads(texts, hexadecimal=hexadecimal),
        interfaces=chosen_interfaces(interfaces),
        as_json=as_json,
    )
    return run(program, loop=loop, brief=True)
