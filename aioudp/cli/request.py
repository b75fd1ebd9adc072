"""The program of ``aioudp request``: ask, again if need be, and print the answer."""

from __future__ import annotations

import aioudp

from . import console
from .formats import Format
from .payloads import payloads
from .receiving import print_datagram


async def request(
    addr: aioudp.Address,
    data: str,
    *,
    hexadecimal: bool,
    family: int,
    seconds: float,
    retries: int,
    form: str,
) -> int:
    """Send *data* until it's answered, and print the answer."""
    question = await anext(payloads([data], hexadecimal=hexadecimal))
    async with aioudp.open_client(
        addr, timeout=seconds, retries=retries, family=family
    ) as client:
        answer = await client.request(question)
        print_datagram(answer, Format(form))
        times = client.stats().retransmitted + 1
    console.note(f"sent {'once' if times == 1 else f'{times} times'}")
    return 0
