"""What this process has: memory, descriptors, objects, tasks, threads. Linux.

Counts are taken after a collection, so that they show what is kept alive.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

_MEMORY: Final = {
    "rss": ("status", "VmRSS"),
    "peak": ("status", "VmHWM"),
    "pss": ("smaps_rollup", "Pss"),
    "private": ("smaps_rollup", "Private_Dirty"),
}
_OURS: Final = ("aioudp", "asyncio", "uvloop", "socket")
_CACHED: Final = {
    "aioudp._system.control_data.Place",
    "aioudp._system.send_options.SendOptions",
}
"""Types of which tables keep up to 4,096, which a run of hours may not fill."""

_TIMERS: Final = {
    "asyncio.events.TimerHandle",
    "uvloop.loop.TimerHandle",
    "uvloop.loop.UVTimer",
}
"""Types that come and go: asyncio keeps up to 100 that are cancelled, or twice as many
as aren't. They count among all objects only."""


def memory() -> dict[str, int]:
    """Return bytes: resident, the most that ever was, shared in proportion, private."""
    files = {name: _fields(name) for name in ("status", "smaps_rollup")}
    return {name: files[file].get(field, 0) for name, (file, field) in _MEMORY.items()}


def descriptors() -> int:
    """Return how many descriptors are open."""
    return len(os.listdir("/proc/self/fd")) - 1  # one is of the listing itself


def types() -> Counter[str]:
    """Return how many objects there are of each type, as far as Python tracks them."""
    gc.collect()
    gc.collect()  # what finalizers have left
    counted = Counter(map(type, gc.get_objects()))
    return Counter(
        {f"{one.__module__}.{one.__qualname__}": n for one, n in counted.items()}
    )


def take(counted: Counter[str]) -> dict[str, Any]:
    """Return a sample of everything, with the types of :func:`types`."""
    kept = {name: count for name, count in counted.items() if name not in _CACHED}
    steady = {name: count for name, count in kept.items() if name not in _TIMERS}
    ours = {
        package: sum(n for name, n in steady.items() if _package(name) == package)
        for package in _OURS
    }
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # there is no loop
        tasks = 0
    return {
        **memory(),
        "blocks": sys.getallocatedblocks(),
        "descriptors": descriptors(),
        "objects": sum(kept.values()),
        **{f"objects_{package}": count for package, count in ours.items()},
        "tasks": tasks,
        "threads": threading.active_count(),
    }


def growth(before: Counter[str], after: Counter[str], top: int = 20) -> dict[str, int]:
    """Return the types of which there are more now, those that grew most first."""
    return dict((after - before).most_common(top))


def _package(name: str) -> str:
    package = name.partition(".")[0]
    return "asyncio" if package == "_asyncio" else package


def _fields(file: str) -> dict[str, int]:
    try:
        lines = (Path("/proc/self") / file).read_text().splitlines()
    except OSError:
        return {}
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.split()[0]) * 1024
    return fields
