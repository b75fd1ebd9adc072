"""Other people's libraries, unmodified, on the loops of ``aioudp.new_event_loop``.

``run`` runs a coroutine on such a loop, once over asyncio's and once over uvloop's. At
the end it makes sure that this was no accident: the library has opened as many of our
transports as the test expects, each of them has carried datagrams, and none was the
event loop's own.

The libraries are the dependency group ``interop``. Warnings are errors for them too;
what one of them warns of is named in its test.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Protocol

import pytest

import aioudp
from aioudp._endpoint import dropin
from aioudp._endpoint.opening import start_transport
from aioudp._transports.selector import SelectorTransport

PATIENCE = 60  # seconds


class Run(Protocol):
    """Runs a coroutine that opens so many transports, and returns its result.

    Of the transports, so many may have been *idle*.
    """

    def __call__(
        self, main: Coroutine[Any, Any, Any], *, transports: int, idle: int = 0
    ) -> Any: ...


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``aioudp.run``, over the loop that the parameter names."""
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop", reason="cannot: uvloop: not installed")
    opened: list[Any] = []

    async def recorded(*args: Any, **kwargs: Any) -> Any:
        opened.append(await start_transport(*args, **kwargs))
        return opened[-1]

    async def refused(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("the event loop's own method was called")

    monkeypatch.setattr(dropin, "start_transport", recorded)
    monkeypatch.setattr(dropin._DropIn, "loop_datagram_endpoint", refused)

    async def bounded(main: Coroutine[Any, Any, Any]) -> Any:
        below = type(asyncio.get_running_loop()).__mro__[2]
        assert below.__module__.partition(".")[0] == request.param
        async with asyncio.timeout(PATIENCE):
            return await main

    def run_recorded(
        main: Coroutine[Any, Any, Any], *, transports: int, idle: int = 0
    ) -> Any:
        result = aioudp.run(bounded(main))

        assert {type(transport) for transport in opened} == {SelectorTransport}
        assert len(opened) == transports
        assert all(transport.is_closing() for transport in opened)
        counts = [transport.stats() for transport in opened]
        used = [each for each in counts if each.received or each.sent]
        assert len(used) >= transports - idle
        return result

    return run_recorded
