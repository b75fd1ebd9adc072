"""The arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .parsing import Interface, argument

_F = TypeVar("_F", bound=Callable[..., Any])

FORMATS = ("text", "hex", "json", "raw")

listen_address: Callable[[Any], Any] = argument(
    "words",
    nargs=-1,
    metavar="ADDRESS",
    help="The address to listen on: PORT or :PORT (all addresses of this machine), "
    "HOST:PORT, HOST PORT, [IPV6]:PORT, [IPV6%ZONE]:PORT or unix:PATH. "
    "Port 0 lets the system choose.",
)

port_argument: Callable[[Any], Any] = argument(
    "port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The destination port.",
)

TEXT_HELP = (
    "Each TEXT is one datagram. Default: each line of standard input, without its "
    "line ending."
)

texts_argument: Callable[[Any], Any] = argument(
    "texts", nargs=-1, metavar="[TEXT]...", rows=[("TEXT", TEXT_HELP)]
)

interface_option: Callable[[Any], Any] = click.option(
    "--interface",
    "-i",
    "interfaces",
    type=Interface(),
    multiple=True,
    metavar="INTERFACE",
    help="A name, an index or a local address; repeatable. "
    "Default: every suitable interface that is up.",
)

hex_option: Callable[[Any], Any] = click.option(
    "--hex",
    "hexadecimal",
    is_flag=True,
    help="Read payloads as hexadecimal, spaces allowed.",
)

count_option: Callable[[Any], Any] = click.option(
    "--count",
    "-c",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after this many datagrams.",
)

timeout_option: Callable[[Any], Any] = click.option(
    "--timeout",
    "-t",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop after this long without a datagram; "
    "exit with status 1 if --count wasn't reached.",
)

loop_option: Callable[[Any], Any] = click.option(
    "--loop",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    default="auto",
    help="The event loop. auto: uvloop if installed.",
)

brief_loop_option: Callable[[Any], Any] = click.option(
    "--loop",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    default="auto",
    help="The event loop. auto: asyncio, which starts sooner than uvloop.",
)
"""For commands that are over in a moment."""

workers_option: Callable[[Any], Any] = click.option(
    "--workers",
    "-w",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Run N processes on one port (Linux). Default: this process alone.",
)

stream_option: Callable[[Any], Any] = click.option(
    "--stream", "-s", required=True, metavar="NAME", help="The name of the stream."
)

credentials_option: Callable[[Any], Any] = click.option(
    "--credentials",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A NATS credentials file.",
)


def json_option(what: str) -> Callable[[Any], Any]:
    """Declare ``--json``; *what* describes the objects."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


def format_options(function: _F) -> _F:
    """Declare how received datagrams are shown."""
    for option in (
        click.option(
            "--raw", is_flag=True, help="Write payloads unchanged; short for -f raw."
        ),
        json_option("one JSON object per datagram; short for -f json"),
        click.option(
            "--format",
            "-f",
            "form",
            type=click.Choice(FORMATS),
            help="text: one line per datagram, unprintable characters escaped (the "
            "default). hex: a hex dump. json: one JSON object per line. raw: the "
            "payloads, with nothing between them.",
        ),
    ):
        function = option(function)
    return function


def family_options(function: _F) -> _F:
    """Declare -4 and -6."""
    for option in (
        click.option("-6", "ipv6", is_flag=True, help="Use IPv6 only."),
        click.option("-4", "ipv4", is_flag=True, help="Use IPv4 only."),
    ):
        function = option(function)
    return function


def chosen_format(form: str | None, as_json: bool, raw: bool) -> str:
    """Return the one format that was chosen.

    Raises:
        click.UsageError: If several were.
    """
    chosen = {form} if form else set()
    chosen |= {"json"} if as_json else set()
    chosen |= {"raw"} if raw else set()
    if len(chosen) > 1:
        raise click.UsageError("--format, --json and --raw are mutually exclusive")
    return chosen.pop() if chosen else "text"


def chosen_interfaces(names: Sequence[str]) -> list[str | int] | None:
    """Return the requested interfaces; a number is an index."""
    if not names:
        return None
    return [int(name) if name.isascii() and name.isdigit() else name for name in names]


def address_family(ipv4: bool, ipv6: bool) -> int:
    """Return the family selected by the options -4 and -6; 0 for any.

    Raises:
        click.UsageError: If both are given.
    """
    import socket

    if ipv4 and ipv6:
        raise click.UsageError("-4 and -6 are mutually exclusive")
    if ipv4:
        return socket.AF_INET
    return socket.AF_INET6 if ipv6 else 0
