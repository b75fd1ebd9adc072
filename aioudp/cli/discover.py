"""The program of ``aioudp discover``: ask everybody, and print the replies."""

from __future__ import annotations

import aioudp

from . import console
from .formats import Format
from .outcomes import show_outcomes
from .payloads import payloads
from .receiving import print_datagram
from .running import FAILURE


async def discover(
    port: int,
    text: str,
    *,
    hexadecimal: bool,
    group: str | None,
    seconds: float,
    repeat: int,
    interfaces: list[str | int] | None,
    form: str,
) -> int:
    """Ask on every interface for so many seconds; print each distinct reply."""
    request = await anext(payloads([text], hexadecimal=hexadecimal))
    replies = 0
    async with aioudp.discover(
        request,
        port,
        timeout=seconds,
        repeat=repeat,
        interfaces=interfaces,
        group=group,
        key=lambda reply: reply,  # one device may send several replies
    ) as search:
        async for reply in search:
            replies += 1
            print_datagram(reply, Format(form))
    for line in show_outcomes(
        [outcome for outcome in search.outcomes if not outcome.sent], as_json=False
    ):
        console.note(f"not sent: {line}")
    console.note(f"{replies} {'reply' if replies == 1 else 'replies'}")
    return 0 if replies else FAILURE
