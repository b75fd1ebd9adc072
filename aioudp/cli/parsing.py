"""What click doesn't have: commands that load when they're used, help for arguments.

Nothing here imports asyncio or the library, so help and completion are quick. The help
is plain text: what a docstring says is what ``--help`` prints, brackets and all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from gettext import gettext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from .._types import Address

    ParamType = click.ParamType[str]
else:
    ParamType = click.ParamType  # not generic in click 8.1

_SETTINGS: Final[Mapping[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 88,
}


class Argument(click.Argument):
    """An argument with help; *rows* are shown instead of its own name and *help*."""

    def __init__(
        self,
        declarations: Sequence[str],
        *,
        help: str = "",
        rows: Sequence[tuple[str, str]] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(declarations, **attributes)
        self.rows: list[tuple[str, str]] = list(rows)
        if not rows:
            self.rows = [(self.human_readable_name, help)]


def argument(name: str, **attributes: Any) -> Callable[[Any], Any]:
    """Declare an argument with help."""
    return click.argument(name, cls=Argument, **attributes)


class _Parser(click.Command):
    """Help in the same form for commands and groups."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        **attributes: Any,
    ) -> None:
        attributes["context_settings"] = dict(_SETTINGS)
        super().__init__(*args, **attributes)
        self.examples: list[tuple[str, str]] = list(examples)
        """Command lines without the leading ``aioudp``, and what they do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as exc:
            exc.ctx = exc.ctx or ctx  # click doesn't always say which command it was
            raise

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        arguments: list[tuple[str, str]] = []
        options: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, Argument):
                arguments += parameter.rows
            elif (record := parameter.get_help_record(ctx)) is not None:
                options.append(record)
        self._section(formatter, "Arguments", arguments)
        self._commands(ctx, formatter)
        self._section(formatter, "Options", options)
        if self.examples:
            with formatter.section("Examples"):
                for line, purpose in self.examples:
                    formatter.write_text(f"{purpose}:")
                    formatter.write(f"{'':{formatter.current_indent}}  aioudp {line}\n")

    def _commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of a group."""

    @staticmethod
    def _section(
        formatter: click.HelpFormatter, title: str, rows: Sequence[tuple[str, str]]
    ) -> None:
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


class Command(_Parser):
    """A command; what it returns is the exit status."""


class Entry(NamedTuple):
    """A command that hasn't been loaded."""

    group: str
    """The heading under which the help lists it."""
    summary: str
    """The first line of its help, without the full stop."""


class Group(_Parser, click.Group):
    """Commands of which each is loaded when it's used.

    The command ``name`` is ``command`` in the module *package*.\\ ``name``.
    """

    def __init__(
        self,
        name: str,
        *,
        package: str,
        entries: Mapping[str, Entry],
        **attributes: Any,
    ) -> None:
        super().__init__(name, **attributes)
        self._package = package
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._entries:
            return None
        module = import_module(f"{self._package}.{cmd_name}")
        command: click.Command = module.command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._entries and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(name, self._entries, 2)
            advice = f"; did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"there's no command {name!r}{advice}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem[Any]]:
        found: list[CompletionItem[Any]] = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        if incomplete.startswith("-"):
            found += click.Command.shell_complete(self, ctx, incomplete)
        return found

    def _commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self._entries.items():
            groups.setdefault(entry.group, []).append((name, entry.summary))
        width = max(map(len, self._entries))
        for group, rows in groups.items():
            padded = [(f"{name:<{width}}", summary) for name, summary in rows]
            self._section(formatter, group, padded)


def address_of(text: str, *, default_host: str = "", sending: bool = False) -> Address:
    """Parse an address.

    Raises:
        click.UsageError: If it has none of the documented forms, or if it's for
            *sending* and its port is 0.
    """
    from .._system.addresses import parse_address

    try:
        addr = parse_address(text, default_host=default_host)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    except TypeError:
        raise click.UsageError(f"not an address: {text!r}") from None
    if sending and isinstance(addr, tuple) and not addr[1]:
        raise click.UsageError(f"nothing can be sent to port 0: {text!r}")
    return addr


def leading_address(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split an address from what follows it: ``HOST:PORT``, or ``HOST PORT``.

    The second form, netcat's, is taken only if the first word has no port.
    """
    from .._system.addresses import parse_address

    if not words:
        raise click.UsageError("the address is missing")
    first, *others = words
    try:
        parse_address(first)
    except ValueError:
        if others and others[0].isascii() and others[0].isdigit():
            host = first.strip("[]")
            joined = f"[{host}]" if ":" in host else host
            return f"{joined}:{others[0]}", others[1:]
    return first, others


def only_address(words: Sequence[str]) -> str:
    """Return the address that the words are: ``HOST:PORT``, or ``HOST PORT``."""
    text, others = leading_address(words)
    if others:
        raise click.UsageError(f"got unexpected extra arguments: {' '.join(others)}")
    return text


class File(click.Path):
    """A file that can be read, or ``-`` for standard input."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True, allow_dash=True)


class Interface(ParamType):
    """A name, an index or a local address of a network interface."""

    name = "interface"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        import socket

        names = [name for _, name in socket.if_nameindex()]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Handler(ParamType):
    """``MODULE:FUNCTION``; completes modules of the current directory."""

    name = "handler"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        with os.scandir() as entries:
            names = sorted(
                f"{entry.name.removesuffix('.py')}:"
                for entry in entries
                if entry.name.endswith(".py")
            )
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def message_of(error: click.ClickException) -> str:
    """Return click's message in one line, as this program writes its own."""
    text = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.MissingParameter) and error.param is not None:
        text = f"{error.param.get_error_hint(error.ctx)} is missing".replace("'", "")
    for first in ("Invalid value", "No such", "Got unexpected", "Option", "Missing"):
        if text.startswith(gettext(first)):
            return text[:1].lower() + text[1:]
    return text
