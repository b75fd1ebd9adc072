"""Many endpoints that wait for a datagram that does not come, and what they cost."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aioudp

from .. import footprint
from ..worker import HOST, Job, say

assert sys.platform != "win32"  # there is no module resource

_WARM_UP: Final = 100  # endpoints opened before: what is paid once is not counted
_SPARE: Final = 50  # descriptors for everything else


async def aioudp_endpoints(job: Job, *, count: int, traced: bool) -> None:
    """Open endpoints of this library."""

    async def open_one() -> object:
        return await aioudp.bind((HOST, 0))

    await _measure(open_one, lambda one: one.close(), count, traced)


async def protocols(job: Job, *, count: int, traced: bool) -> None:
    """Open the event loop's own endpoints."""
    loop = asyncio.get_running_loop()

    async def open_one() -> object:
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=(HOST, 0)
        )
        return transport

    await _measure(open_one, lambda one: one.close(), count, traced)


async def _measure(
    open_one: Callable[[], Awaitable[object]],
    close: Callable[[Any], None],
    count: int,
    traced: bool,
) -> None:
    """Say the bytes that each endpoint costs.

    Args:
        open_one: Opens an endpoint.
        close: Closes it.
        count: How many to open; fewer if the system does not allow so many.
        traced: Count what Python allocates, instead of what the process takes.
    """
    count = min(
        count, _allow_descriptors(count + _WARM_UP + _SPARE) - _WARM_UP - _SPARE
    )
    measure = footprint.taken
    if traced:
        tracemalloc.start()
        measure = _allocated
    opened = [await open_one() for _ in range(_WARM_UP)]
    gc.collect()
    before = measure()
    opened += [await open_one() for _ in range(count)]
    gc.collect()
    each = (measure() - before) / count
    for one in opened:
        close(one)
    say({"count": count, "bytes": each})


def _allow_descriptors(count: int) -> int:
    """Raise the limit of descriptors towards *count* and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = count
    if soft < count:
        soft = min(hard, count)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _allocated() -> int:
    return tracemalloc.get_traced_memory()[0]
