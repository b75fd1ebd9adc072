"""asyncio's own tests of datagrams, those of the running CPython, on a loop of ours.

The classes are CPython's; only the method that makes the loop is another. Its tests of
the selector's and of Proactor's transport classes are about code that ours replaces, so
they are left out.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from test.test_asyncio import (  # type: ignore[import-not-found,unused-ignore]
    test_base_events,
    test_events,
    test_sock_lowlevel,
)

import aioudp


def _without_others(theirs: Any, *words: str) -> dict[str, Any]:
    """Return what switches off the tests that have none of *words* in their names."""
    names = (name for name in dir(theirs) if name.startswith("test_"))
    return {n: None for n in names if not any(word in n for word in words)}


class _OurLoop:
    def create_event_loop(self) -> asyncio.AbstractEventLoop:
        return aioudp.new_event_loop()

    @staticmethod
    def close_loop(loop: asyncio.AbstractEventLoop) -> None:
        """Close it without a look at asyncio's own attributes, which uvloop hasn't."""
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


_events = test_events.EventLoopTestsMixin
TestEvents = type(
    "TestEvents",
    (_OurLoop, _events, test_events.test_utils.TestCase),
    _without_others(_events, "datagram"),
)

_sock = test_sock_lowlevel.BaseSockTestsMixin
TestSockLowLevel = type(
    "TestSockLowLevel",
    (_OurLoop, _sock, test_sock_lowlevel.test_utils.TestCase),
    _without_others(_sock, "recvfrom", "sendto"),
)


def _set_up(self: Any) -> None:
    super(TestBaseEvents, self).setUp()
    self.loop.close()
    self.loop = aioudp.new_event_loop()
    self.set_event_loop(self.loop)


def _make_test_base_events() -> Any:
    base = test_base_events.BaseEventLoopWithSelectorTests  # pytest would collect it
    content = {**_without_others(base, "datagram"), "setUp": _set_up}
    return type("TestBaseEvents", (base,), content)


# On uvloop they would reach for attributes of asyncio's loops.
if os.environ["SWAPPED_LOOP"] == "asyncio":
    TestBaseEvents = _make_test_base_events()
