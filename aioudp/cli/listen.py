"""The program of ``aioudp listen``: print datagrams, or talk to their last sender."""

from __future__ import annotations

import asyncio
from typing import Any

import aioudp

from .._system.addresses import format_address
from . import console
from .escaping import printable
from .formats import Format, summary
from .lines import read_lines
from .payloads import standard_input
from .receiving import print_datagram, print_datagrams
from .running import complain


async def listen(
    addr: aioudp.Address,
    family: int,
    *,
    form: str,
    count: int | None,
    patience: float | None,
) -> int:
    """Print *count* datagrams, or all, until *patience* seconds without any."""
    async with aioudp.bind(addr, family=family) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        return await print_datagrams(
            endpoint, Format(form), count=count, patience=patience
        )


async def converse(
    addr: aioudp.Address, family: int, *, form: str, patience: float | None
) -> int:
    """Print datagrams, and send each line of standard input to the last sender.

    Standard input isn't read until somebody has sent a datagram, so what is piped in
    waits for its receiver. The end of standard input ends it; with *patience*, that
    many seconds without a datagram do.
    """
    fd = standard_input()
    async with aioudp.bind(addr, family=family, packet_info=True) as endpoint:
        console.note(f"listening on {format_address(endpoint.local_addr)}")
        talk = _Conversation(endpoint, Format(form), patience)
        hearing = asyncio.create_task(talk.hear())
        answering = asyncio.create_task(talk.answer(fd))
        try:
            await asyncio.wait(
                [hearing, answering], return_when=asyncio.FIRST_COMPLETED
            )
            if answering.done():
                await answering
                if patience is not None:
                    await hearing
            else:
                await hearing
        finally:
            for task in (hearing, answering):
                task.cancel()
            await asyncio.gather(hearing, answering, return_exceptions=True)
            console.note(summary(endpoint.stats()))
    return 0


class _Conversation:
    """Knows the last sender."""

    def __init__(
        self, endpoint: aioudp.Endpoint[Any], form: Format, patience: float | None
    ) -> None:
        self._endpoint = endpoint
        self._form = form
        self._patience = patience
        self._last: aioudp.Message[Any] | None = None
        self._heard = asyncio.Event()

    async def hear(self) -> None:
        """Print datagrams until there's silence for too long."""
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    message = await self._endpoint.recv_message()
            except TimeoutError:
                return
            if self._last is None or self._last.addr != message.addr:
                sender = printable(format_address(message.addr))
                console.note(f"answering {sender}")
            self._last = message
            self._heard.set()
            print_datagram(aioudp.Datagram(message.data, message.addr), self._form)

    async def answer(self, fd: int) -> None:
        """Send lines to the last sender, until the end of the input."""
        await self._heard.wait()
        async for line in read_lines(fd):
            assert self._last is not None
            try:
                await self._endpoint.reply(self._last, line)
            except (OSError, ValueError) as exc:  # it may be back for the next line
                complain(exc)
