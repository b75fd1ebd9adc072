"""The program of ``aioudp replay``: send what a capture file contains."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

import aioudp

from .._system.pcap import read_datagrams
from . import console
from .formats import json_object
from .lines import InputError
from .running import FAILURE

_READ: Final = 1024  # packets at once; the file is read in a thread

_Packets: TypeAlias = Iterator[tuple[int, bytes | None]]


def factor_of(text: str) -> float:
    """Return how many times as fast as recorded; infinity for "max"."""
    if text == "max":
        return math.inf
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise click.UsageError(
            f"--speed: a positive number or max is required, not {text!r}"
        )
    return factor


async def replay(
    path: Path, peer: aioudp.Address, speed: float, *, as_json: bool
) -> int:
    """Send the datagrams of a file, *speed* times as fast as they were recorded."""
    skipped = 0
    with path.open("rb") as file:
        async with aioudp.connect(peer) as endpoint:
            pace = _Pace(speed)
            packets: _Packets = read_datagrams(file)
            try:
                while True:
                    read, damage = await asyncio.to_thread(_take, packets)
                    found = [(at, data) for at, data in read if data is not None]
                    skipped += len(read) - len(found)
                    await _send(endpoint, found, pace)
                    if damage is not None:
                        raise InputError(f"{path}: {damage}") from None
                    if not read:
                        break
            finally:
                stats = endpoint.stats()
                errors = stats.send_errors + stats.receive_errors
                seconds = pace.elapsed()
                if as_json:
                    entry = {
                        "sent": stats.sent,
                        "sent_bytes": stats.sent_bytes,
                        "seconds": round(seconds, 6),
                        "skipped": skipped,
                        "errors": errors,
                    }
                    console.emit(json_object(entry))
                else:
                    console.note(
                        f"sent {stats.sent} ({stats.sent_bytes} bytes) "
                        f"in {seconds:.3f} s, skipped {skipped}, errors {errors}"
                    )
    return FAILURE if errors else 0


def _take(packets: _Packets) -> tuple[list[tuple[int, bytes | None]], Any]:
    """Return the next packets, and the error that ended them, if one did."""
    taken: list[tuple[int, bytes | None]] = []
    try:
        for packet in islice(packets, _READ):
            taken.append(packet)  # noqa: PERF402  # kept if the next one is damaged
    except ValueError as exc:
        return taken, exc
    return taken, None


async def _send(
    endpoint: aioudp.Endpoint[Any], datagrams: list[tuple[int, bytes]], pace: _Pace
) -> None:
    at = 0
    while at < len(datagrams):
        await pace.wait_for(datagrams[at][0])
        end = at + 1
        while end < len(datagrams) and pace.is_due(datagrams[end][0]):
            end += 1
        try:
            await endpoint.send_many((data, None) for _, data in datagrams[at:end])
        except aioudp.SendManyError:
            pass  # they count as errors
        at = end


class _Pace:
    """When to send what was recorded at which time."""

    def __init__(self, speed: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._per_second = speed * 1e9  # nanoseconds of the recording
        self._started = self._clock()
        self._first: int | None = None
        self._now = 0.0

    def elapsed(self) -> float:
        """Return the seconds since the first datagram."""
        return self._clock() - self._started

    async def wait_for(self, time_ns: int) -> None:
        """Wait until a datagram of *time_ns* is due."""
        if self._first is None:
            self._first, self._started = time_ns, self._clock()
        delay = (time_ns - self._first) / self._per_second - self.elapsed()
        if delay > 0:
            await asyncio.sleep(delay)
        self._now = self.elapsed()

    def is_due(self, time_ns: int) -> bool:
        """Return whether a datagram of *time_ns* was due when the wait ended."""
        assert self._first is not None
        return (time_ns - self._first) / self._per_second <= self._now
