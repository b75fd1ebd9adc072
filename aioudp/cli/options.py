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
        help="Where to listen: PORT or :PORT (every address of this machine), "
        "HOST:PORT, [IPV6]:PORT, [IPV6%ZONE]:PORT or unix:PATH. "
        "Port 0 lets the system choose.",
        show_default=False,
    ),
]

PortArgument = Annotated[
    int,
    typer.Argument(
        metavar="PORT", min=1, max=65535, help="Where they listen.", show_default=False
    ),
]

InterfaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        "-i",
        metavar="INTERFACE",
        help="A name, an index or a local address; may be repeated. "
        "Default: every interface that is up and can do it.",
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
        help="text: one line each, unprintable characters escaped. "
        "hex: a hex dump. json: one JSON object per line.",
    ),
]

CountOption = Annotated[
    int | None,
    typer.Option("--count", "-c", min=1, help="End after this many datagrams."),
]

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        "-t",
        min=0,
        metavar="SECONDS",
        help="End when nothing has come for so long; "
        "with status 1 if --count was not reached.",
    ),
]

LoopOption = Annotated[
    Loop, typer.Option("--loop", help="The event loop. auto: uvloop if installed.")
]

IPv4Option = Annotated[bool, typer.Option("-4", help="Use IPv4 only.")]
IPv6Option = Annotated[bool, typer.Option("-6", help="Use IPv6 only.")]


def chosen_interfaces(names: list[str] | None) -> list[str | int] | None:
    """Return what was asked for; a number is an index."""
    if not names:
        return None
    return [int(name) if name.isascii() and name.isdigit() else name for name in names]


def address_family(ipv4: bool, ipv6: bool) -> int:
    """Return the family that the options -4 and -6 ask for; 0 is any.

    Raises:
        typer.BadParameter: If both are given.
    """
    if ipv4 and ipv6:
        raise typer.BadParameter("-4 and -6 exclude each other")
    if ipv4:
        return socket.AF_INET
    return socket.AF_INET6 if ipv6 else 0
