"""``aioudp info``."""

from __future__ import annotations

import click

from ..options import json_option, loop_option
from ..parsing import Command

EXAMPLES = [("info", "Versions, the kernel's help for batches, and buffer sizes")]


@click.command(cls=Command, examples=EXAMPLES)
@json_option("one JSON object")
@loop_option
def command(as_json: bool, loop: str) -> int:
    """Show what this machine and its kernel support."""
    from ..info import info
    from ..running import run

    return run(info(as_json=as_json), loop=loop)
