"""A scenario: no more descriptors."""

from __future__ import annotations

import errno
import os
import random
import resource
import sys
from typing import Any

import aioudp

from .failing import openings
from .world import World, alone, listed

assert sys.platform != "win32"  # there is no module resource


@listed(alone)
async def no_descriptors(world: World, rng: random.Random) -> None:
    """The process may open no more, or a few more, files."""
    ways = openings(world)
    if world.hand is not None:
        ways["broadcast"] = lambda: aioudp.open_broadcast(0)
        ways["multicast"] = lambda: aioudp.open_multicast("239.255.0.1", 0)
    for name in rng.sample(sorted(ways), 4):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        opened: list[Any] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + rng.randint(0, 4), hard))
        try:
            while True:
                opened.append(await ways[name]())
        except OSError as exc:
            if exc.errno != errno.EMFILE:
                world.tally.surprise(f"not EMFILE, opening {name}", exc)
            world.tally.fault("no more descriptors")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in opened:
            await one.aclose()
