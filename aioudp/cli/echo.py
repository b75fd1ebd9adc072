"""``aioudp echo``: send every datagram back."""

from __future__ import annotations

from typing import NoReturn

import aioudp

from .._system.addresses import format_address, parse_address
from . import console
from .formats import summary
from .many import WorkersOption, run_workers
from .options import IPv4Option, IPv6Option, LocalAddress, LoopOption, address_family
from .running import Loop, run


def echo(
    address: LocalAddress,
    workers: WorkersOption = None,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Send every datagram back to its sender.

    Use it for tests, on a network you trust: two echo servers answer each other
    forever. Prints the address, and at the end the statistics, to standard error.
    Press Ctrl-C to stop.
    """
    family = address_family(ipv4, ipv6)
    if workers is not None:
        run_workers(lambda data, addr: data, address, workers, family, loop)
    run(_echo(address, family), loop=loop, interrupted=0)


async def _echo(address: str, family: int) -> NoReturn:
    unanswered = 0
    async with aioudp.bind(parse_address(address), family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        try:
            while True:
                try:
                    data, addr = await endpoint.recv()
                    await endpoint.send(data, addr)
                except OSError:
                    pass  # counted in the statistics; the next sender may be reachable
                except ValueError:  # from port 0, or from an unnamed UNIX socket
                    unanswered += 1
        finally:
            console.note(summary(endpoint.stats(), unanswered=unanswered))
