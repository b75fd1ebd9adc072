"""The ``aioudp`` command: all subcommands, and ``--version``."""

from __future__ import annotations

from typing import Annotated

import typer

import aioudp

from . import console
from .bench.command import bench
from .broadcast import broadcast
from .discover import discover
from .echo import echo
from .forward import forward
from .info import info
from .listen import listen
from .multicast import multicast
from .record import record
from .relay import relay
from .replay import replay
from .request import request
from .send import send
from .serve import serve
from .subscribe import subscribe

# Bugs print an ordinary traceback; typer's own would print payloads.
app: typer.Typer = typer.Typer(
    help="Send, receive and inspect UDP datagrams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.emit(f"aioudp {aioudp.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    pass


for _command in (
    listen,
    send,
    request,
    broadcast,
    discover,
    echo,
    serve,
    relay,
    forward,
    subscribe,
    record,
    replay,
    bench,
    info,
):
    app.command()(_command)
app.add_typer(multicast, name="multicast")
