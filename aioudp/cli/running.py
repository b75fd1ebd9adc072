"""Run one command: choose the event loop, stop on a signal, print errors in a line."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Final

import click

import aioudp

from . import console, words
from .lines import InputError

FAILURE: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130  # the status that shells report after SIGINT

# What shows only when the system is asked, and is an error of the command line all the
# same: a name that doesn't exist, an address or an interface that isn't here.
_WRONG_NAMES: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)}
_NOT_HERE: Final = re.compile(r"\(no interface |^no address found for ")


class Loop(StrEnum):
    """Which event loop runs a command."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class Failure(Exception):
    """Something failed at run time; the message is for the terminal."""


def run(
    command: Coroutine[Any, Any, int],
    *,
    loop: str = Loop.AUTO,
    interrupted: int = INTERRUPTED,
    cancel: bool = True,
    brief: bool = False,
) -> int:
    """Run *command* and return its exit status.

    For a *brief* one, the loop "auto" is asyncio's: it's loaded in any case, and
    loading uvloop takes longer than it can save.

    SIGINT and SIGTERM cancel it; then the status is *interrupted*. With *cancel* false,
    handling them is up to the command. An expected error is printed to standard error
    in one line; the status is 2 if it's an error of the command line, else 1. If the
    reader of the output has gone, the status is 1 as well, but nothing is printed.
    """
    console.prepare()
    if brief and loop == Loop.AUTO:
        loop = Loop.ASYNCIO
    try:
        with asyncio.Runner(loop_factory=loop_factory(Loop(loop))) as runner:
            return runner.run(_until_signal(command) if cancel else command)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return interrupted
    except BrokenPipeError:
        return FAILURE
    except (OSError, ValueError, Failure, aioudp.UDPError) as exc:
        complain(exc)
        return status_of(exc)
    finally:
        command.close()
        console.abandon_broken()


def complain(error: Exception) -> None:
    """Print an error in one line, after the name of the command."""
    ctx = click.get_current_context(silent=True)
    path = "aioudp" if ctx is None else ctx.command_path
    has_option = ctx is not None and "broadcast" in ctx.params
    console.note(f"{path}: {words.message(error, broadcast_option=has_option)}")


def status_of(error: Exception) -> int:
    """Return the exit status for an error: 2 if the command line was wrong."""
    if isinstance(error, ValueError):
        return FAILURE if isinstance(error, InputError) else WRONG_USAGE
    if isinstance(error, socket.gaierror):
        return WRONG_USAGE if error.errno in _WRONG_NAMES else FAILURE
    if not isinstance(error, OSError):
        return FAILURE
    if error.filename is not None:  # of a file that the command line names
        return WRONG_USAGE
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRNOTAVAIL or _NOT_HERE.search(reason):
        return WRONG_USAGE
    no_such_path = error.errno in (errno.ENOENT, errno.ENOTDIR)
    return WRONG_USAGE if no_such_path and "(binding to " in reason else FAILURE


def loop_factory(choice: Loop) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that creates the loop; "auto" is uvloop if installed.

    Raises:
        Failure: If uvloop was requested and isn't installed.
    """
    if choice is not Loop.ASYNCIO:
        try:
            import uvloop
        except ModuleNotFoundError:
            if choice is Loop.UVLOOP:
                raise Failure(
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
