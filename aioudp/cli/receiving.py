"""Print the datagrams that an endpoint receives, up to a count or a timeout."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, Protocol

import aioudp

from . import console
from .formats import Format, show, summary
from .running import FAILURE


class Receiver(Protocol):
    """The part that all kinds of endpoints have in common."""

    async def recv(self) -> aioudp.Datagram[Any]: ...
    def stats(self) -> aioudp.Stats: ...


def print_datagram(
    datagram: aioudp.Datagram[Any], form: Format, at: float | None = None
) -> None:
    """Print one datagram, received at the time *at*; by default, now."""
    if form is Format.RAW:
        console.emit_bytes(datagram.data)
    else:
        console.emit(show(datagram, form, time.time() if at is None else at))


async def print_datagrams(
    endpoint: Receiver, form: Format, *, count: int | None, patience: float | None
) -> int:
    """Print *count* datagrams, or all; stop after *patience* seconds without any.

    Prints the statistics at the end, even when cancelled. Returns the exit status: a
    timeout is a failure only with a *count*.
    """
    try:
        for _ in itertools.count() if count is None else range(count):
            try:
                async with asyncio.timeout(patience):
                    datagram = await endpoint.recv()
            except TimeoutError:
                return 0 if count is None else FAILURE
            print_datagram(datagram, form)
        return 0
    finally:
        console.note(summary(endpoint.stats()))
