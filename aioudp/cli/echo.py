"""The program of ``aioudp echo``: send every datagram back."""

from __future__ import annotations

from typing import NoReturn

import aioudp

from .._system.addresses import format_address
from . import console
from .formats import counts, json_object, summary


async def echo(addr: aioudp.Address, family: int, *, as_json: bool) -> NoReturn:
    """Echo until cancelled; then print the statistics."""
    unanswered = 0
    async with aioudp.bind(addr, family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        try:
            while True:
                try:
                    data, sender = await endpoint.recv()
                    await endpoint.send(data, sender)
                except OSError:
                    pass  # counted in the statistics; the next sender may be reachable
                except ValueError:  # from port 0, or from an unnamed UNIX socket
                    unanswered += 1
        finally:
            stats = endpoint.stats()
            if as_json:
                console.emit(json_object(counts(stats, unanswered=unanswered)))
            else:
                console.note(summary(stats, unanswered=unanswered))
