"""What all scenarios share: the counters, the network, and the way to be chosen."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from .account import Balance
from .namespace import Hand

NOBODY: Final = 1
"""A port that nobody has: the system never chooses one that is so low."""

LANES: Final = 4
"""Scenarios at a time."""

_TOLD: Final = 20
"""How many unexpected things are described; the others are counted."""


class Tally:
    """The counters of a process. Any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sent = self.received = self.dropped = self.left = self.unaccounted = 0
        self.unexpected = 0
        self.warnings = self.warnings_due = self.warnings_most = 0

    def did(self, what: str, times: int = 1) -> None:
        """Count an operation."""
        with self._lock:
            self.done[what] += times

    def fault(self, what: str, times: int = 1) -> None:
        """Count a fault that was provoked and noticed."""
        with self._lock:
            self.faults[what] += times

    def settle(self, balance: Balance, where: str) -> None:
        """Add the end of an account."""
        with self._lock:
            self.sent += balance.sent
            self.received += balance.received
            self.dropped += balance.dropped
            self.left += balance.left
            self.unaccounted += balance.unaccounted
        if balance.unaccounted:
            self._tell(f"unaccounted in {where}: {balance}")

    def flow(self, sent: int, received: int, dropped: int, where: str) -> None:
        """Add datagrams that were only counted, without numbers in them."""
        missing = abs(sent - received - dropped)
        self.settle(Balance(sent, received, dropped, 0, missing), where)

    def differ(self, one: int, other: int, where: str) -> None:
        """Compare two counts of the same datagrams, which are entered elsewhere."""
        if one != other:
            with self._lock:
                self.unaccounted += abs(one - other)
            self._tell(f"unaccounted in {where}: {one} is {other}")

    def surprise(self, what: str, exc: BaseException | None = None) -> None:
        """Count something that may not happen, and describe the first of them."""
        with self._lock:
            self.unexpected += 1
        if exc is not None:
            what += "\n" + "".join(traceback.format_exception(exc))
        self._tell(what)

    def warned(self) -> None:
        """Count a ResourceWarning."""
        with self._lock:
            self.warnings += 1

    def forgot(self, endpoints: int = 1) -> None:
        """Count something that was forgotten open and must warn.

        A client of several endpoints warns once if it's collected first, and they as
        well if they are, as it may happen in a cycle.
        """
        with self._lock:
            self.warnings_due += 1
            self.warnings_most += endpoints

    def snapshot(self) -> dict[str, Any]:
        """Return all counters."""
        with self._lock:
            return {
                "sent": self.sent,
                "received": self.received,
                "dropped": self.dropped,
                "left": self.left,
                "unaccounted": self.unaccounted,
                "unexpected": self.unexpected,
                "warnings": self.warnings,
                "warnings_due": self.warnings_due,
                "warnings_most": self.warnings_most,
                "done": dict(sorted(self.done.items())),
                "faults": dict(sorted(self.faults.items())),
            }

    def _tell(self, what: str) -> None:
        with self._lock:
            self._told += 1
            if self._told > _TOLD:
                return
        print(what, file=sys.stderr, flush=True)


@dataclass
class World:
    """What a scenario may use."""

    loops: tuple[str, ...]
    directory: Path
    """For UNIX sockets."""
    hand: Hand | None
    """Changes the interfaces of a network of our own; ``None`` if there is none."""
    tally: Tally = field(default_factory=Tally)
    standing: dict[str, Any] = field(default_factory=dict)
    """Endpoints that stay open for the whole run."""
    _numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.hosts: tuple[str, ...] = ("127.0.0.1", "::1")
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind(("::1", 0))
        except OSError:
            self.hosts = ("127.0.0.1",)

    def numbers(self, count: int) -> list[int]:
        """Return numbers that no datagram has had."""
        return [next(self._numbers) for _ in range(count)]

    def path(self) -> Path:
        """Return the name of a UNIX socket that doesn't exist."""
        return self.directory / f"{next(self._numbers)}"


Scenario = Callable[[World, random.Random], Awaitable[None]]

anywhere: Final[list[Scenario]] = []
"""Scenarios for any loop and any time."""

lasting: Final[list[Scenario]] = []
"""Scenarios that need the endpoints that stay open, and therefore their loop."""

networked: Final[list[Scenario]] = []
"""Scenarios that need a network of our own."""

alone: Final[list[Scenario]] = []
"""Scenarios that nothing else may run beside, as what they do hits the process."""


def listed(where: list[Scenario]) -> Callable[[Scenario], Scenario]:
    """Add a scenario to a list."""

    def add(scenario: Scenario) -> Scenario:
        where.append(scenario)
        return scenario

    return add


async def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until *true*; return whether it became so in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    wait = 0.0005
    while not true():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(wait)
        wait = min(2 * wait, 0.02)
    return True
