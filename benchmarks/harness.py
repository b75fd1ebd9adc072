"""Run listener and talker, round after round.

When both are ready, the harness sends the mark to the listener and starts the talker.
When the talker has reported its result, the harness reads the drops of the listener's
socket, before more marks could add to them. Then it sends the mark until the listener
has reported its result.

Rounds are interleaved, A B C A B C, so that other load on the machine affects all
subjects.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from .catalogue import Subject
from .parties import Parties
from .processes import Command, MeasurementError, started
from .results import Round
from .worker import HOST, MARK

READY_PATIENCE: Final = 15.0  # seconds, to start Python and import a library
RESULT_PATIENCE: Final = 10.0  # seconds, besides the time of the measurement
_MARK_INTERVAL: Final = 0.002  # seconds


class Observation(NamedTuple):
    """The reports of a listener and a talker, and what the kernel dropped."""

    heard: dict[str, Any]
    told: dict[str, Any]
    kernel_drops: int | None


async def measure(parties: Parties, subject: Subject, payload: int) -> Round:
    """Run one round of *subject*.

    Raises:
        MeasurementError: If a process failed.
    """
    listener, talker = parties.of(subject)
    heard, told, drops = await _observe(
        parties.listener(listener),
        lambda port: parties.talker(talker, port, payload),
        RESULT_PATIENCE + parties.seconds,
    )
    measured = told if subject.scenario == "send" else heard
    received = told["received"] if subject.scenario == "echo" else heard["datagrams"]
    return Round(
        sent=told["datagrams"],
        received=received,
        lost=told["datagrams"] - received,
        kernel_drops=drops,
        seconds=(heard if subject.scenario == "receive" else told)["seconds"],
        cpu_seconds=measured["cpu_seconds"],
        p50_seconds=told.get("p50_seconds"),
        p99_seconds=told.get("p99_seconds"),
    )


async def _observe(
    listener: Command, talker: Callable[[int], Command], patience: float
) -> Observation:
    async with started(listener) as listening:
        port = (await listening.read(READY_PATIENCE))["port"]
        async with started(talker(port)) as talking:
            await talking.read(READY_PATIENCE)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
                mark = b"m" * MARK
                marker.sendto(mark, (HOST, port))
                talking.go()
                try:
                    told = await talking.read(patience)
                except MeasurementError:
                    if listening.has_ended():  # and it is why
                        raise MeasurementError(await listening.end()) from None
                    raise
                drops = kernel_drops(port)
                hearing = asyncio.create_task(listening.read(patience))
                while not hearing.done():
                    marker.sendto(mark, (HOST, port))
                    await asyncio.wait({hearing}, timeout=_MARK_INTERVAL)
                return Observation(await hearing, told, drops)


def kernel_drops(port: int) -> int | None:
    """Return the drops of the socket bound to *port* of :data:`HOST`, or of any.

    The last column of /proc/net/udp (proc(5)); ``None`` where there is none.
    """
    # The kernel prints the address as a number of its own byte order.
    host = int.from_bytes(socket.inet_aton(HOST), sys.byteorder)
    local_addresses = f"{host:08X}:{port:04X}", f"{0:08X}:{port:04X}"
    try:
        lines = Path("/proc/net/udp").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if fields[1] in local_addresses:
            return int(fields[-1])
    return None


async def run_rounds(
    parties: Parties,
    cells: Sequence[tuple[Subject, int]],
    *,
    rounds: int,
    limit: float,
    done: Callable[[Subject, int, Round | MeasurementError], None],
) -> int:
    """Measure each cell, a subject and a payload, once per round.

    A round only starts if it would end within *limit* seconds, judging by the longest
    one so far; the first always starts. *done* is called after each measurement. A cell
    that has failed is left out from then on.

    Returns:
        The number of rounds.
    """
    begin = time.monotonic()
    longest = 0.0
    healthy = list(cells)
    for number in range(rounds):
        round_begin = time.monotonic()
        if number and round_begin + longest > begin + limit:
            return number
        for cell in list(healthy):
            outcome: Round | MeasurementError
            try:
                outcome = await measure(parties, *cell)
            except MeasurementError as exc:
                outcome = exc
                healthy.remove(cell)
            done(*cell, outcome)
        longest = max(longest, time.monotonic() - round_begin)
    return rounds
