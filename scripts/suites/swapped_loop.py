"""A pytest plugin: whoever asks asyncio for an event loop gets one of ours.

``SWAPPED_LOOP`` names the loop below, "asyncio" or "uvloop". The run fails if no
transport of ours was opened, because it has tested nothing then.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from typing import Any, Final

import pytest

BELOW: Final = os.environ["SWAPPED_LOOP"]
if BELOW == "asyncio":
    sys.modules["uvloop"] = None  # type: ignore[assignment]

import aioudp  # noqa: E402
from aioudp._endpoint import dropin  # noqa: E402
from aioudp._endpoint.opening import start_transport  # noqa: E402

NOTHING_TESTED: Final = 6  # an exit status that pytest leaves free

_opened = 0


async def _counting(*args: Any, **kwargs: Any) -> Any:
    global _opened
    _opened += 1
    return await start_transport(*args, **kwargs)


def swap() -> None:
    """Make ours the loop of ``asyncio.run`` and ``asyncio.new_event_loop``."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                return aioudp.new_event_loop()

        asyncio.set_event_loop_policy(Policy())
    setattr(dropin, "start_transport", _counting)  # noqa: B010


swap()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say whether the swap had any effect."""
    if not _opened:
        session.exitstatus = NOTHING_TESTED
