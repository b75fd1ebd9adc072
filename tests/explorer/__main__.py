"""Run the schedules of the seeds that are given, and show what happens in each."""

import sys

from .world import Parts, World, run

for seed in map(int, sys.argv[1:]):
    world = World(seed, Parts())
    try:
        run(world)
    finally:
        sys.stdout.write("\n  ".join([f"seed {seed}", *world.trace, ""]))
