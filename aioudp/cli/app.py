"""The ``aioudp`` command: its subcommands, ``--version``, and how errors are shown.

Errors are one line on standard error. Status 2 means that the command line was wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

import aioudp

from . import console
from .commands import COMMANDS
from .parsing import Group, message_of

WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130


def _show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        console.emit(f"aioudp {aioudp.__version__}")
        ctx.exit()


root: Group = Group(
    "aioudp",
    package=f"{__package__}.commands",
    entries=COMMANDS,
    help="Send, receive and inspect UDP datagrams.\n\n"
    "'aioudp COMMAND -h' explains a command, with examples.",
    params=[
        click.Option(
            ["--version", "-V"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        )
    ],
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit with its status."""
    try:
        status = root.main(arguments, prog_name="aioudp", standalone_mode=False)
    except click.ClickException as exc:
        ctx = getattr(exc, "ctx", None)
        path = "aioudp" if ctx is None else ctx.command_path
        hint = "" if isinstance(exc, click.BadParameter) else f"; see '{path} -h'"
        console.note(f"{path}: {console.printable(message_of(exc))}{hint}")
        status = WRONG_USAGE
    except click.Abort:
        status = INTERRUPTED
    sys.exit(status or 0)
