"""The arguments and options that several commands share."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from .formats import Format
from .running import Loop

LocalAddress = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="The address to listen on: PORT or :PORT (all addresses of this machine), "
        "HOST:PORT, [IPV6]:PORT, [IPV6%ZONE]:PORT or unix:PATH. "
        "Port 0 lets the system choose.",
        show_default=False,
    ),
]

PortArgument = Annotated[
    int,
    typer.Argument(
        metavar="PORT",
        min=1,
        max=65535,
        help="The destination port.",
        show_default=False,
    ),
]

InterfaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        "-i",
        metavar="INTERFACE",
        help="A name, an index or a local address; repeatable. "
        "Default: every suitable interface that is up.",
    ),
]

HexOption = Annotated[
    bool,
    typer.Option("--hex", help="Read payloads as hexadecimal, spaces allowed."),
]

FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        help="text: one line per datagram, unprintable characters escaped. "
        "hex: a hex dump. json: one JSON object per line.",
    ),
]

CountOption = Annotated[
    int | None,
    typer.Option("--count", "-c", min=1, help="Stop after this many datagrams."),
]

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        "-t",
        min=0,
        metavar="SECONDS",
        help="Stop after this long without a datagram; "
        "exit with status 1 if --count wasn't reached.",
    ),
]

LoopOption = Annotated[
    Loop, typer.Option("--loop", help="The event loop. auto: uvloop if installed.")
]

IPv4Option = Annotated[bool, typer.Option("-4", help="Use IPv4 only.")]
IPv6Option = Annotated[bool, typer.Option("-6", help="Use IPv6 only.")]


def chosen_interfaces(names: list[str] | None) -> list[str | int] | None:
    """Return the requested interfaces; a number is an index."""
    if not names:
        return None
    return [int(name) if name.isascii() and name.isdigit() else name for name in names]


def address_family(ipv4: bool, ipv6: bool) -> int:
    """Return the family selected by the options -4 and -6; 0 for any.

    Raises:
        typer.BadParameter: If both are given.
    """
    if ipv4 and ipv6:
        raise typer.BadParameter("-4 and -6 are mutually exclusive")
    if ipv4:
        return socket.AF_INET
    return socket.AF_INET6 if ipv6 else 0
