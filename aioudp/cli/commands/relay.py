"""``aioudp relay``."""

from __future__ import annotations

from typing import Any

import click

from ..options import json_option, loop_option
from ..parsing import Argument, Command, address_of

EXAMPLES = [
    (
        "relay 127.0.0.1:7000 127.0.0.1:9999 --loss 0.1 --delay 0.05",
        "Lose every tenth datagram, and delay the others by 50 milliseconds",
    ),
    ("relay 7000 192.0.2.1:9999 --rate 125000", "Make a link of 1 Mbit/s"),
]

_PROBABILITY = click.FloatRange(0, 1)
_SECONDS = click.FloatRange(min=0)


@click.command(cls=Command, examples=EXAMPLES)
@click.argument(
    "address",
    cls=Argument,
    metavar="ADDRESS",
    help="The address to listen on: PORT or :PORT (all addresses of this machine), "
    "HOST:PORT or [IPV6]:PORT. Port 0 lets the system choose.",
)
@click.argument(
    "server",
    cls=Argument,
    metavar="SERVER",
    help="The address to relay to: HOST:PORT, [IPV6]:PORT, or PORT on this machine.",
)
@click.option(
    "--loss", type=_PROBABILITY, default=0.0, help="The probability of losing one."
)
@click.option(
    "--delay", type=_SECONDS, default=0.0, metavar="SECONDS", help="The delay."
)
@click.option(
    "--jitter",
    type=_SECONDS,
    default=0.0,
    metavar="SECONDS",
    help="The most random delay on top.",
)
@click.option(
    "--duplicate", type=_PROBABILITY, default=0.0, help="The probability of a copy."
)
@click.option(
    "--reorder",
    type=_PROBABILITY,
    default=0.0,
    help="The probability of being overtaken.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    metavar="BYTES",
    help="Bytes a second, each direction.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    default=1000,
    metavar="N",
    help="Datagrams that wait for the rate.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    metavar="N",
    help="What the random decisions depend on.",
)
@json_option("what has become of the datagrams, at the end, as a JSON object")
@loop_option
def command(
    address: str, server: str, seed: int, as_json: bool, loop: str, **faults: Any
) -> int:
    """Relay datagrams to a server and back, as a bad network would.

    Clients send to ADDRESS instead of SERVER. A terminal shows what becomes of the
    datagrams, once a second; the last line says it in any case. Press Ctrl-C to stop.
    """
    local_addr = address_of(address)
    peer = address_of(server, default_host="127.0.0.1", sending=True)

    from ..relay import relay
    from ..running import run

    program = relay(local_addr, peer, seed, faults, as_json=as_json)
    return run(program, loop=loop, interrupted=0)
