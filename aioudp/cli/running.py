"""Run one command: choose the event loop, end on a signal, report errors in a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Final, NoReturn

import typer

import aioudp

from . import console

FAILURE: Final = 1
INTERRUPTED: Final = 130  # what a shell reports of a program that SIGINT ended


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
) -> NoReturn:
    """Run *command* to its end and exit with the status it returns.

    SIGINT and SIGTERM cancel it; the status is *interrupted* then. An error that is
    not a bug becomes one line on standard error, and the status 1. So does, without
    a line, an output that nobody reads any more.
    """
    console.prepare()
    try:
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            status = runner.run(_until_signal(command))
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
    """Return what makes the event loop; "auto" is uvloop where it is installed.

    Raises:
        ValueError: If uvloop was asked for and is not installed.
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
