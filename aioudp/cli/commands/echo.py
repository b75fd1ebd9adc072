"""``aioudp echo``."""

from __future__ import annotations

import click

from ..options import (
    address_family,
    family_options,
    json_option,
    listen_address,
    loop_option,
    workers_option,
)
from ..parsing import Command, address_of, only_address

EXAMPLES = [
    ("echo 127.0.0.1:9999", "Echo on this machine only"),
    ("echo 9999 --workers 4", "Echo in four processes that share the port"),
]


@click.command(cls=Command, examples=EXAMPLES)
@listen_address
@workers_option
@json_option("the statistics at the end as a JSON object")
@family_options
@loop_option
def command(
    words: tuple[str, ...],
    workers: int | None,
    as_json: bool,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Send every datagram back to its sender.

    Use it for tests, on a network you trust: two echo servers answer each other
    forever. Prints the address, and at the end the statistics, to standard error.
    Press Ctrl-C to stop.
    """
    addr = address_of(only_address(words))
    family = address_family(ipv4, ipv6)
    if workers is not None:
        if loop != "auto":
            raise click.UsageError("--loop can't be chosen for --workers")

        from ..many import run_workers

        return run_workers(
            lambda data, addr: data, addr, workers, family, as_json=as_json
        )

    from ..echo import echo
    from ..running import run

    return run(echo(addr, family, as_json=as_json), loop=loop, interrupted=0)
