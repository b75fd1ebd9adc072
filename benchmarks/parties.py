"""The two parties of a measurement, and the commands that make processes of them.

A subject is one party; ``load``, in Python or in C, is the other one. Imports
``catalogue``, ``processes``, and the probe of ``load.source``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .catalogue import Subject
from .load import source
from .processes import Command
from .worker import HOST


class Pinning(NamedTuple):
    """The CPUs that the two processes stay on; ``None``: where the system puts them."""

    listener: int | None = None
    talker: int | None = None


class Party(NamedTuple):
    """What one process runs."""

    target: str
    """``module:function`` below this package; for C, the program and its mode."""
    loop: str
    """The event loop; ``"native"`` for a C program."""
    compiled: bool = True
    """Whether aioudp may use its compiled batch I/O."""


class Parties:
    """Who measures with whom, where, and how long.

    Args:
        programs: The directory of the C programs; ``None`` to do without them.
        seconds: How long a talker talks.
        pinning: On which CPUs.
    """

    def __init__(
        self, programs: Path | None, *, seconds: float, pinning: Pinning
    ) -> None:
        self._programs = programs
        self._pinning = pinning
        self.seconds = seconds
        self.has_trains = source.trains_work()
        """Whether the kernel has UDP_SEGMENT."""

    def flood(self, *, trains: bool) -> Party:
        """Return who floods a listener, with trains or with single datagrams."""
        kind = "trains" if trains else "singles"
        if self._programs is None:
            return Party(f"load.source:send_{kind}", "none")
        return Party(f"send {kind}", "native")

    def of(self, subject: Subject) -> tuple[Party, Party]:
        """Return the listener and the talker that *subject* is measured with."""
        loop = "native" if subject.native else subject.loop
        me = Party(subject.target, loop, subject.compiled)
        if subject.scenario == "receive":
            if subject.sources:
                return me, Party(f"send {subject.sources}", "native")
            return me, self.flood(trains=self.has_trains)
        if subject.scenario == "send":
            return self._load("receive gro", "load.sink:drain"), me
        return me, self._load("ping", "load.ping:ping")

    def listener(
        self, party: Party, options: Mapping[str, object] | None = None
    ) -> Command:
        """Return the command of a listener."""
        if party.loop == "native":
            program, mode = party.target.split()
            arguments = [self._program(program), HOST, mode]
        else:
            arguments = worker(party, options=options)
        return Command(arguments, self._pinning.listener)

    def talker(
        self,
        party: Party,
        port: int,
        payload: int,
        options: Mapping[str, object] | None = None,
    ) -> Command:
        """Return the command of a talker to *port*, in datagrams of *payload* bytes."""
        if party.loop == "native":
            program, *mode = party.target.split()
            numbers = map(str, (port, payload, self.seconds))
            arguments = [self._program(program), HOST, *numbers, *mode]
        else:
            arguments = worker(
                party,
                port=port,
                payload=payload,
                seconds=self.seconds,
                options=options,
            )
        return Command(arguments, self._pinning.talker)

    def conditions(self) -> dict[str, Any]:
        """Return all this as it goes into a result file."""
        language = "Python" if self._programs is None else "C"
        way = "trains with UDP_SEGMENT" if self.has_trains else "one datagram per call"
        return {
            "host": HOST,
            "seconds_per_round": self.seconds,
            "pinning": self._pinning._asdict(),
            "source": f"{language}, {way}",
            "sink": f"{language}, with UDP_GRO where the kernel has it",
            "echo_client": f"{language}, blocking, one datagram at a time",
        }

    def _load(self, native: str, python: str) -> Party:
        if self._programs is None:
            return Party(python, "none")
        return Party(native, "native")

    def _program(self, name: str) -> str:
        assert self._programs is not None
        return str(self._programs / name)


def worker(
    party: Party,
    *,
    port: int = 0,
    payload: int = 0,
    seconds: float = 0.0,
    options: Mapping[str, object] | None = None,
) -> list[str]:
    """Return the command that runs *party* in a Python process of its own."""
    environment = {} if party.compiled else {"AIOUDP_SPEEDUPS": "0"}
    spec = {
        "target": f"benchmarks.{party.target}",
        "loop": party.loop,
        "job": {"port": port, "payload": payload, "seconds": seconds},
        "options": dict(options or {}),
        "environment": environment,
    }
    return [sys.executable, "-m", "benchmarks.worker", json.dumps(spec)]
