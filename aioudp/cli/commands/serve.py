"""``aioudp serve``."""

from __future__ import annotations

from typing import Any

import click

from ..options import (
    address_family,
    credentials_option,
    family_options,
    json_option,
    loop_option,
    workers_option,
)
from ..parsing import Command, Handler, address_of, argument

EXAMPLES = [
    ("serve handlers:answer 9999", "Call answer(data, addr) of handlers.py"),
    ("serve handlers:answer 9999 -w 4", "Do it in four processes"),
    (
        "serve handlers:answer nats://192.0.2.9 -s sensors -g answers",
        "Answer what other machines have forwarded",
    ),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "handler",
    type=Handler(),
    metavar="MODULE:HANDLER",
    help="A function in a module of this directory, or an installed one.",
)
@argument(
    "address",
    metavar="ADDRESS|URL",
    help="The address to listen on, as for echo. Or the URL of the NATS server to "
    "which other machines forward.",
)
@workers_option
@click.option("--stream", "-s", metavar="NAME", help="With a URL: the stream's name.")
@click.option(
    "--group",
    "-g",
    metavar="NAME",
    help="With a URL: the group that shares the datagrams.",
)
@credentials_option
@json_option("the counts at the end as a JSON object")
@family_options
@loop_option
def command(
    handler: str,
    address: str,
    workers: int | None,
    stream: str | None,
    group: str | None,
    credentials: str | None,
    as_json: bool,
    ipv4: bool,
    ipv6: bool,
    loop: str,
) -> int:
    """Answer each datagram with what a function returns.

    The function is called with the payload and the sender's address, as by
    aioudp.serve. A terminal shows the rates, once a second. Ctrl-C and SIGTERM drain:
    what has arrived is answered first. Press Ctrl-C again to stop at once.
    """
    family = address_family(ipv4, ipv6)
    options: dict[str, Any] = {"family": family}
    where: Any = address
    if "://" in address:
        if stream is None or group is None:
            raise click.UsageError("a URL needs --stream and --group")
        if workers is not None or family:
            raise click.UsageError("--workers, -4 and -6 need an address, not a URL")
        options = {"stream": stream, "group": group, "credentials": credentials}
    elif any(given is not None for given in (stream, group, credentials)):
        raise click.UsageError("--stream, --group and --credentials need a URL")
    else:
        where = address_of(address)
    if workers is not None and loop != "auto":
        raise click.UsageError("--loop can't be chosen for --workers")

    from .. import serve
    from ..running import run

    function = serve.load(handler)
    if workers is not None:
        from ..many import run_workers

        return run_workers(function, where, workers, family, as_json=as_json)
    program = serve.serve(function, where, options, as_json=as_json)
    return run(program, loop=loop, interrupted=0)
