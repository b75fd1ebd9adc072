"""The reference is complete, and shows no command that does not exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import pytest

import aioudp
from aioudp._endpoint.options import Settings

from .blocks import PAGES, ROOT, blocks

REFERENCE: Final = ROOT / "docs" / "reference"
SHELL_OPERATORS: Final = {"|", "||", "&&", "&", ">", "<", "2>"}


def text_of(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def table_rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


# -- the API


def test_every_public_name_is_documented_once() -> None:
    """What can be imported is in the reference, and the other way round."""
    directive = r"\.\. (?:auto\w+|py:type|py:data):: (\w+)"
    pages = ("api.md", "options.md", "errors.md")

    documented = [
        name for page in pages for name in re.findall(directive, text_of(page))
    ]

    assert sorted(documented) == sorted(aioudp.__all__)


@pytest.mark.parametrize(
    "name", ["Address", "Overflow", "Payload", "Timestamps", "TransportKind"]
)
def test_aliases_are_shown_as_they_are(name: str) -> None:
    """Sphinx cannot read the meaning of an alias; the page writes it out."""
    text = text_of("api.md") + text_of("options.md")
    shown = re.search(rf"py:type:: {name}\n   :canonical: (.*)\n", text)

    assert shown is not None
    assert shown[1] == str(getattr(aioudp, name))


def test_options_table() -> None:
    """Each option has its row, in order, with its default."""
    rows = {row[0]: row for row in table_rows(text_of("options.md")) if len(row) == 4}
    del rows["option"], rows["---"]
    documented = {name.strip("`"): row[2].strip("`") for name, row in rows.items()}

    assert list(documented) == list(aioudp.Options.__annotations__)
    for field in fields(Settings):
        assert field.default is not MISSING
        if field.default is not None:
            default = str(field.default).strip("'")
            assert documented[field.name].strip('"').startswith(default)


def test_statistics_are_explained() -> None:
    """The tutorial's table names every counter."""
    page = ROOT / "docs" / "tutorial" / "statistics.md"
    named = set(re.findall(r"`(\w+)`", page.read_text(encoding="utf-8")))

    assert {field.name for field in fields(aioudp.Stats)} <= named


# -- the environment


def test_environment_variables() -> None:
    """Each variable that the library reads has its row."""
    package = Path(aioudp.__file__).parent
    source = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\s*\"(\w+)\"", source))
    documented = {row[0].strip("`") for row in table_rows(text_of("environment.md"))}

    assert read <= documented


# -- the command line


def commands() -> dict[str, Any]:
    """Return the subcommands, by name, and those of a group with the group's."""
    click = pytest.importorskip("click", reason="cannot: click: it is not installed")
    from aioudp.cli.app import root

    found: dict[str, Any] = {}
    with click.Context(root) as context:
        for name in root.list_commands(context):
            command: Any = root.get_command(context, name)
            if isinstance(command, click.Group):
                for word in command.list_commands(context):
                    found[f"{name} {word}"] = command.get_command(context, word)
            else:
                found[name] = command
    return found


def test_every_option_of_every_command_is_documented() -> None:
    """Each command has its section, and each of its options a row there."""
    _, *sections = re.split(r"^## aioudp ", text_of("command-line.md"), flags=re.M)
    by_name = {section.split("\n", 1)[0]: section for section in sections}
    found = commands()

    assert set(by_name) == set(found)
    for name, command in found.items():
        documented = {
            option
            for row in table_rows(by_name[name])
            for option in re.findall(r"`(--?[\w-]+)`", " ".join(row[:2]))
        }
        known = {
            option
            for parameter in command.params
            if parameter.param_type_name == "option"
            for option in parameter.opts
        }
        assert documented == known, name


def shown_commands() -> list[str]:
    """Return each line of a shell block that calls ``aioudp``."""
    return [
        line.removeprefix("$ ")
        for page in PAGES
        for block in blocks(page)
        if block.language in ("sh", "console")
        for line in block.text.splitlines()
        if re.match(r"(\$ )?aioudp (?!\w+:)", line)  # "aioudp send: ..." is an error
    ]


@pytest.mark.parametrize("line", shown_commands())
def test_shown_commands_exist(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that the documentation shows takes the options it is given."""
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"[\w/.-]+\.\w+", line):  # a file that it reads
        if "/" not in name:
            Path(name).touch()
    words = shlex.split(line, comments=True)
    end = next((i for i, word in enumerate(words) if word in SHELL_OPERATORS), None)
    _, name, *arguments = words[:end]
    if name not in commands():
        name = f"{name} {arguments.pop(0)}"

    arguments = [word for word in arguments if not word.startswith("2>")]
    with commands()[name].make_context(name, arguments) as context:
        assert context.params


# -- links that Sphinx does not see


def test_links_of_the_readme() -> None:
    """They work on a package index too: each is absolute, and leads to a file here."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    repository = project["urls"]["Repository"]
    files = f"{repository}/blob/main/"
    links = re.findall(r"\]\(([^)#]+)", text)

    assert [link for link in links if "://" not in link] == []
    own = [link for link in links if link.startswith(repository)]
    assert len(own) > 5
    for link in own:
        assert link.startswith(files), link
        assert (ROOT / link.removeprefix(files)).exists(), link
