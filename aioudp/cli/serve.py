"""The program of ``aioudp serve``: answer datagrams with a function of a module."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

import aioudp

from .._system.addresses import format_address
from . import console
from .formats import json_object
from .rates import Rates

_DRAIN: Final = 10.0  # seconds, as for aioudp.run_workers


def load(name: str) -> Callable[..., Any]:
    """Return the function that ``MODULE:HANDLER`` names.

    Errors inside the module aren't caught: their traceback shows where they are.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise click.UsageError(f"{name!r} isn't MODULE:HANDLER")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # one that the module itself needs
        raise click.UsageError(f"there's no module {module_name!r}") from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise click.UsageError(
                f"the module {module_name!r} has no {path!r}"
            ) from None
    if not callable(found):
        raise click.UsageError(f"{name!r} isn't a function")
    return found  # type: ignore[no-any-return]


async def serve(
    function: Callable[..., Any],
    where: Any,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> int:
    on_stream = "stream" in options
    server: Any
    async with aioudp.serve(function, where, **options) as server:
        if on_stream:
            console.note(f"subscribed to {options['stream']} as {options['group']}")
        else:
            console.note(f"listening on {format_address(server.local_addr)}")
        ended = asyncio.create_task(server.serve_forever())
        try:
            with Rates() as rates:
                while not ended.done():
                    stats = server.stats()
                    rates.show({"requests": stats.requests, "replies": stats.replies})
                    await asyncio.wait([ended], timeout=1)
        except asyncio.CancelledError:
            await server.drain(_DRAIN)
            raise
        finally:
            await server.aclose()
            with contextlib.suppress(asyncio.CancelledError):
                await ended
            stats = server.stats()
            if as_json:
                console.emit(json_object(_counts(stats)))
            else:
                console.note(_summary(stats))
    return 0


def _counts(stats: aioudp.ServerStats) -> dict[str, object]:
    endpoint = stats.endpoint
    dropped = stats.dropped_busy + endpoint.dropped_queue + endpoint.dropped_kernel
    return {
        "requests": stats.requests,
        "replies": stats.replies,
        "dropped": dropped,
        "failed": stats.failed,
    }


def _summary(stats: aioudp.ServerStats) -> str:
    return ", ".join(f"{count} {name}" for name, count in _counts(stats).items())
