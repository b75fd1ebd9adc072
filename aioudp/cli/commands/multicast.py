"""``aioudp multicast listen`` and ``aioudp multicast send``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..options import (
    brief_loop_option,
    chosen_format,
    chosen_interfaces,
    count_option,
    format_options,
    hex_option,
    interface_option,
    json_option,
    loop_option,
    texts_argument,
    timeout_option,
)
from ..parsing import Command, Entry, Group, address_of, argument

group_argument: Callable[[Any], Any] = argument(
    "group",
    metavar="GROUP",
    help="A group and its port: 239.1.2.3:5000, [ff15::1234]:5000 or, on one "
    "interface, [ff02::1234%eth0]:5000.",
)

ENTRIES = {
    "listen": Entry("Commands", "Join a group, and print each received datagram"),
    "send": Entry("Commands", "Send to a group on every interface"),
}


@click.command(
    cls=Command,
    examples=[
        ("multicast send 239.1.2.3:5000 hello", "Send on every interface"),
        (
            "multicast send '[ff15::1234]:5000' hello --ttl 4",
            "Let the datagram cross three routers",
        ),
    ],
)
@group_argument
@texts_argument
@interface_option
@click.option(
    "--ttl",
    type=click.IntRange(0, 255),
    default=1,
    metavar="N",
    help="Number of links a datagram may cross.",
)
@click.option("--no-loopback", is_flag=True, help="Don't deliver to listeners here.")
@hex_option
@json_option("one JSON object per interface and datagram")
@brief_loop_option
def send(
    group: str,
    texts: tuple[str, ...],
    interfaces: tuple[str, ...],
    ttl: int,
    no_loopback: bool,
    hexadecimal: bool,
    as_json: bool,
    loop: str,
) -> int:
    """Send datagrams to a group, and print the outcome for each interface.

    Exits with status 1 if a datagram could not be sent on any interface.
    """
    host, port = _group_and_port(group, sending=True)

    from .. import multicast
    from ..payloads import payloads
    from ..running import run

    program = multicast.send(
        host,
        port,
        payloads(texts, hexadecimal=hexadecimal),
        interfaces=chosen_interfaces(interfaces),
        ttl=ttl,
        loopback=not no_loopback,
        as_json=as_json,
    )
    return run(program, loop=loop, brief=True)


@click.command(
    cls=Command,
    examples=[
        ("multicast listen 239.1.2.3:5000", "Join a group on every interface"),
        ("multicast listen '[ff15::1234]:5000' -i eth0 --json", "IPv6, as JSON"),
    ],
)
@group_argument
@interface_option
@click.option("--source", metavar="HOST", help="Receive only from this host.")
@format_options
@count_option
@timeout_option
@loop_option
def listen(
    group: str,
    interfaces: tuple[str, ...],
    source: str | None,
    form: str | None,
    as_json: bool,
    raw: bool,
    count: int | None,
    timeout: float | None,
    loop: str,
) -> int:
    """Join a group, and print each received datagram with its sender.

    Prints the address, and at the end the statistics, to standard error. Press Ctrl-C
    to stop.
    """
    host, port = _group_and_port(group, sending=False)
    form = chosen_format(form, as_json, raw)

    from .. import multicast
    from ..running import run

    program = multicast.listen(
        host,
        port,
        interfaces=chosen_interfaces(interfaces),
        source=source,
        form=form,
        count=count,
        patience=timeout,
    )
    return run(program, loop=loop, interrupted=0)


def _group_and_port(group: str, *, sending: bool) -> tuple[str, int]:
    addr = address_of(group, sending=sending)
    if not isinstance(addr, tuple) or not addr[0]:
        raise click.UsageError(
            f"expected a group and a port, such as 239.1.2.3:5000, got {group}"
        )
    return addr[0], addr[1]


class _Multicast(Group):
    """Both of its commands are in this module."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return {"listen": listen, "send": send}.get(cmd_name)


command: click.Command = _Multicast(
    "multicast",
    package="",
    entries=ENTRIES,
    help="Send to a multicast group, or listen to one.",
)
