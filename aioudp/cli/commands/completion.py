"""``aioudp completion``."""

from __future__ import annotations

import click

from ..parsing import Command, argument

EXAMPLES = [
    ("completion bash > ~/.local/share/bash-completion/completions/aioudp", "bash"),
    ("completion zsh > ~/.zfunc/_aioudp", "zsh, with ~/.zfunc in fpath"),
    ("completion fish > ~/.config/fish/completions/aioudp.fish", "fish"),
]


@click.command(cls=Command, examples=EXAMPLES)
@argument(
    "shell",
    type=click.Choice(["bash", "zsh", "fish"]),
    metavar="SHELL",
    help="bash, zsh or fish.",
)
def command(shell: str) -> int:
    """Print the script that completes commands and options in a shell.

    For this shell alone: eval "$(aioudp completion bash)". To keep it, write it to the
    file that the shell reads, as below.
    """
    from click.shell_completion import get_completion_class

    from .. import console

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    source = kind(root, {}, "aioudp", "_AIOUDP_COMPLETE").source()
    console.emit(source.rstrip("\n"))
    return 0
