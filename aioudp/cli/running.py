"""Run one command: choose the event loop, stop on a signal, print errors in a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Final, NoReturn

import typer

import aioudp

from . import console

FAILURE: Final = 1
INTERRUPTED: Final = 130  # the status that shells report after SIGINT


class Loop(StrEnum):
    """Which event loop runs a command."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def run(
    command: Coroutine[Any, Any, int],
    *,
    loop: Loop = Loop.AUTO,
    interrupted: int = INTERRUPTED,
    cancel: bool = True,
) -> NoReturn:
    """Run *command* and exit with the status it returns.

    SIGINT and SIGTERM cancel it; then the status is *interrupted*. With *cancel* false,
    handling them is up to the command. An expected error
    is printed to standard error in one line; the status is 1. If the reader of the
    output has gone, the status is 1 as well, but nothing is printed.
    """
    console.prepare()
    try:
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            status = runner.run(_until_signal(command) if cancel else command)
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = interrupted
    except BrokenPipeError:
        status = FAILURE
    except (OSError, ValueError, aioudp.UDPError) as exc:
        console.complain(exc)
        status = FAILURE
    finally:
        command.close()
        console.abandon_broken()
    raise typer.Exit(status)


def loop_factory(choice: Loop) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that creates the loop; "auto" is uvloop if installed.

    Raises:
        ValueError: If uvloop was requested and isn't installed.
    """
    if choice is not Loop.ASYNCIO:
        try:
            import uvloop
        except ModuleNotFoundError:
            if choice is Loop.UVLOOP:
                raise ValueError(
                    "uvloop is not installed; "
                    "run: pip install 'aioudp-endpoint[uvloop]'"
                ) from None
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop


async def _until_signal(command: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    assert task is not None
    async with aioudp.until_signal(call=task.cancel):
        return await command
