"""Print what an endpoint receives, until there was enough or nothing comes."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Protocol

import aioudp

from . import console
from .formats import Format, show, summary
from .running import FAILURE


class Receiver(Protocol):
    """What every kind of endpoint has."""

    async def recv(self) -> aioudp.Datagram: ...
    def stats(self) -> aioudp.Stats: ...


async def print_datagrams(
    endpoint: Receiver, form: Format, *, count: int | None, patience: float | None
) -> int:
    """Print *count* datagrams, or all; give up after *patience* seconds of silence.

    Ends with the statistics, also when cancelled. Returns the status of the command:
    silence is a failure only if datagrams were counted on.
    """
    try:
        for _ in itertools.count() if count is None else range(count):
            try:
                async with asyncio.timeout(patience):
                    datagram = await endpoint.recv()
            except TimeoutError:
                return 0 if count is None else FAILURE
            console.emit(show(datagram, form, time.time()))
        return 0
    finally:
        console.note(summary(endpoint.stats()))
