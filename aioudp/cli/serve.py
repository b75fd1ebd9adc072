"""``aioudp serve``: answer datagrams with a function of a module."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import aioudp

from .._system.addresses import format_address, parse_address
from . import console
from .forward import CredentialsOption
from .many import WorkersOption, run_workers
from .options import IPv4Option, IPv6Option, LoopOption, address_family
from .rates import Rates
from .running import Loop, run

_DRAIN: Final = 10.0  # seconds, as for aioudp.run_workers


def serve(
    handler: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:HANDLER",
            help="A function in a module of this directory, or an installed one.",
            show_default=False,
        ),
    ],
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|URL",
            help="The address to listen on, as for echo. Or the URL of the NATS server "
            "to which other machines forward.",
            show_default=False,
        ),
    ],
    workers: WorkersOption = None,
    stream: Annotated[
        str | None,
        typer.Option(
            "--stream", "-s", metavar="NAME", help="With a URL: the stream's name."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            "-g",
            metavar="NAME",
            help="With a URL: the group that shares the datagrams.",
        ),
    ] = None,
    credentials: CredentialsOption = None,
    ipv4: IPv4Option = False,
    ipv6: IPv6Option = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Answer each datagram with what a function returns.

    The function is called with the payload and the sender's address, as by
    aioudp.serve. A terminal shows the rates, once a second. Ctrl-C and SIGTERM drain:
    what has arrived is answered first. Press Ctrl-C again to stop at once.
    """
    family = address_family(ipv4, ipv6)
    options: dict[str, Any] = {"family": family}
    if "://" in address:
        if stream is None or group is None:
            raise typer.BadParameter("a URL needs --stream and --group")
        if workers is not None or family:
            raise typer.BadParameter("--workers, -4 and -6 need an address, not a URL")
        options = {"stream": stream, "group": group, "credentials": credentials}
    elif any(given is not None for given in (stream, group, credentials)):
        raise typer.BadParameter("--stream, --group and --credentials need a URL")
    function = _load(handler)
    if workers is not None:
        run_workers(function, address, workers, family, loop)
    run(_serve(function, address, options), loop=loop, interrupted=0)


def _load(name: str) -> Callable[..., Any]:
    """Return the function that ``MODULE:HANDLER`` names.

    Errors inside the module aren't caught: their traceback shows where they are.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise typer.BadParameter(f"{name!r} isn't MODULE:HANDLER")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # one that the module itself needs
        raise typer.BadParameter(f"there's no module {module_name!r}") from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise typer.BadParameter(
                f"the module {module_name!r} has no {path!r}"
            ) from None
    if not callable(found):
        raise typer.BadParameter(f"{name!r} isn't a function: {found!r}")
    return found  # type: ignore[no-any-return]


async def _serve(
    function: Callable[..., Any], address: str, options: dict[str, Any]
) -> int:
    on_stream = "stream" in options
    where: Any = address if on_stream else parse_address(address)
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
            console.note(_summary(server.stats()))
    return 0


def _summary(stats: aioudp.ServerStats) -> str:
    endpoint = stats.endpoint
    dropped = stats.dropped_busy + endpoint.dropped_queue + endpoint.dropped_kernel
    return (
        f"{stats.requests} requests, {stats.replies} replies, "
        f"{dropped} dropped, {stats.failed} failed"
    )
