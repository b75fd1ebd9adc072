"""``aioudp listen``: print each received datagram with its sender."""

from __future__ import annotations

import aioudp

from .._system.addresses import format_address, parse_address
from . import console
from .formats import Format
from .options import (
    CountOption,
    FormatOption,
    IPv4Option,
    IPv6Option,
    LocalAddress,
    LoopOption,
    TimeoutOption,
    address_family,
)
from .receiving import print_datagrams
from .running import Loop, run


def listen(
    address: LocalAddress,
    form: FormatOption = Format.TEXT,
    count: CountOption = None,
    timeout: TimeoutOption = None,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Print each received datagram with its sender.

    Prints the address, and at the end the statistics, to standard error. Press Ctrl-C
    to stop.
    """
    family = address_family(ipv4, ipv6)
    command = _listen(address, family, form=form, count=count, patience=timeout)
    run(command, loop=loop, interrupted=0)


async def _listen(
    address: str,
    family: int,
    *,
    form: Format,
    count: int | None,
    patience: float | None,
) -> int:
    async with aioudp.bind(parse_address(address), family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        return await print_datagrams(endpoint, form, count=count, patience=patience)
