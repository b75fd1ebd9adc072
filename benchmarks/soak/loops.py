"""Scenarios: event loops that are made, used and closed, each in a thread of its own.

Some end in order. Some are closed with endpoints open and tasks waiting, as a program
does that was not written with care; what was open then must warn and be closed.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import aioudp

from .account import numbered
from .failing import WARNINGS, openings
from .world import World, anywhere, lasting, listed


def factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes event loops of a kind."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


@listed(lasting)
async def closed_loop(world: World, rng: random.Random) -> None:
    """Make an event loop in a thread, use it, close it."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    make = rng.choice([*map(factory, world.loops), aioudp.new_event_loop])
    live = rng.choice((_in_order, _abandoned))

    def body() -> None:
        try:
            live(world, rng, make)
        except BaseException as exc:
            world.tally.surprise(f"in a loop that is closed: {live.__name__}", exc)
        finally:
            loop.call_soon_threadsafe(ended.set_result, None)

    thread = threading.Thread(target=body)
    thread.start()
    await ended
    thread.join()
    world.tally.did("closed loop")


def _in_order(
    world: World, rng: random.Random, make: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(complain(world))
        for _ in range(rng.randint(1, 2)):
            scenario = rng.choice(anywhere)
            await scenario(world, random.Random(rng.random()))

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())


def _abandoned(
    world: World, rng: random.Random, make: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    loop = make()
    loop.set_exception_handler(lambda loop, context: None)  # tasks are destroyed
    ways = openings(world)
    del ways["serve"]
    if not isinstance(loop, asyncio.SelectorEventLoop):
        # uvloop never frees a datagram transport of its own, nor the loop, if the loop
        # is closed before it; without this library as well.
        del ways["loop"]
    held: list[Any] = []

    async def main() -> None:
        for _ in range(3):
            name = rng.choice([*ways])
            opened = await ways[name]()
            world.tally.forgot(WARNINGS.get(name, 1))
            # Of the drop-in, the transport itself is what warns.
            held.append(getattr(opened, "transport_only", opened))
        waits = await aioudp.bind(("127.0.0.1", 0))
        held.append(waits)
        await waits.send(numbered(1), waits.local_addr)
        tasks = [loop.create_task(waits.recv()) for _ in range(3)]
        held.extend(tasks)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    world.tally.forgot()
    loop.close()
    world.tally.fault("a loop closed with endpoints open", 4)
    if rng.random() < 0.5:
        held.append(held)


def complain(
    world: World,
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return an exception handler that counts."""

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        world.tally.surprise(
            f"the event loop complains: {context.get('message')}",
            context.get("exception"),
        )

    return handler
