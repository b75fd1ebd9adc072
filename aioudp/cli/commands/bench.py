"""``aioudp bench``."""

from __future__ import annotations

import click

from ..options import json_option, loop_option
from ..parsing import Command

_MIN_PAYLOAD = 31
_MAX_FLOWS = 1024

EXAMPLES = [
    ("bench", "Measure this machine: both ends, five seconds, as fast as possible"),
    ("bench --server --port 5201", "Serve clients of other machines"),
    ("bench --client 192.0.2.1 --port 5201", "Send to such a server"),
    ("bench --client 192.0.2.1 --port 5201 -R", "Let the server send"),
    ("bench --client 192.0.2.1 --port 5201 --both --rate 10000", "Let both send"),
]


@click.command(cls=Command, examples=EXAMPLES)
@click.option("--server", is_flag=True, help="Run the server for a remote client.")
@click.option("--client", metavar="HOST", help="Measure the path to a server.")
@click.option(
    "--host", default="", metavar="HOST", help="The server's address. Default: all."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="The server's port; 0 for any free port.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    metavar="DATAGRAMS",
    help="Datagrams per second, over all flows. Default: as fast as possible.",
)
@click.option(
    "--payload",
    type=click.IntRange(_MIN_PAYLOAD, 65507),
    default=1200,
    metavar="BYTES",
    help="Bytes per datagram.",
)
@click.option(
    "--segment-size",
    type=click.IntRange(_MIN_PAYLOAD, 32500),
    metavar="BYTES",
    help="Send trains of datagrams of this many bytes; replaces --payload.",
)
@click.option(
    "--seconds",
    "-t",
    type=click.FloatRange(min=0.05),
    default=5.0,
    metavar="SECONDS",
    help="Duration of sending.",
)
@click.option(
    "--flows",
    type=click.IntRange(1, _MAX_FLOWS),
    default=1,
    metavar="N",
    help="Number of sending sockets.",
)
@click.option("--reverse", "-R", is_flag=True, help="Let the server send.")
@click.option("--both", is_flag=True, help="Let both ends send at the same time.")
@click.option(
    "--interval",
    "-i",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="SECONDS",
    help="Print a line each time that so much time has passed; 0 for none.",
)
@json_option("one JSON object per interval, and one per direction at the end")
@loop_option
def command(
    server: bool,
    client: str | None,
    host: str,
    port: int,
    rate: float | None,
    payload: int,
    segment_size: int | None,
    seconds: float,
    flows: int,
    reverse: bool,
    both: bool,
    interval: float,
    as_json: bool,
    loop: str,
) -> int:
    """Measure throughput, loss, latency and order of datagrams on a path.

    Without --server and --client, both ends run on this machine, in two processes.
    A percentile is printed only if there are enough samples for it. Ctrl-C stops
    early, and prints the results so far.
    """
    if server and client is not None:
        raise click.UsageError("--server and --client are mutually exclusive")
    if client is not None and not port:
        raise click.UsageError("--client needs the --port of the server")

    if reverse and both:
        raise click.UsageError("--reverse and --both are mutually exclusive")

    from ..bench.command import run_client, run_server
    from ..bench.sending import Plan
    from ..running import run

    if server:
        return run(run_server(host, port), loop=loop, interrupted=0)
    plan = Plan(
        payload=segment_size or payload,
        seconds=seconds,
        rate=rate,
        flows=flows,
        trains=segment_size is not None,
        direction="both" if both else "to-client" if reverse else "to-server",
    )
    program = run_client(client, port, plan, interval=interval, as_json=as_json)
    return run(program, loop=loop)
