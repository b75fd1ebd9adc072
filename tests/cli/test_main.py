"""The command as a whole: what it needs, its version, its errors."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

import pytest

import aioudp
from aioudp.__main__ import main

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

needs_click = pytest.mark.skipif(
    find_spec("click") is None, reason="cannot: click: it is not installed"
)

COMMANDS = [["listen", "0"], ["send", "9"], ["echo", "0"], ["info"], ["--help"]]


Call: TypeAlias = Callable[..., tuple[object, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command in this process: its status, and both outputs."""

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["aioudp", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def fresh_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``aioudp.cli`` be imported anew."""
    for name in [name for name in sys.modules if name.startswith("aioudp.cli")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("fresh_cli")
@pytest.mark.parametrize("arguments", COMMANDS)
def test_missing_packages_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Without the extra, every use says what to install."""
    monkeypatch.setattr(sys, "argv", ["aioudp", *arguments])
    for name in [name for name in sys.modules if name.startswith("click.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(SystemExit) as caught:
        main()

    line = caught.value.code  # a str: printed to standard error, and the status is 1
    assert isinstance(line, str)
    assert "\n" not in line
    assert "is not installed; run: pip install 'aioudp-endpoint[cli]'" in line


def test_what_is_missing_ends_the_process(start: Start) -> None:
    """The line goes to standard error, and the status is 1."""
    hide_and_run = (
        "import sys; sys.modules['click'] = None; "
        "from aioudp.__main__ import main; main()"
    )

    status, output, errors = start("info", code=hide_and_run).end()

    assert (status, output, len(errors)) == (1, [], 1)
    assert errors[0].startswith("aioudp: the command line needs click")


@pytest.mark.usefixtures("fresh_cli")
def test_another_missing_module_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the extra installs is explained that way."""
    monkeypatch.setitem(sys.modules, "aioudp.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        main()


@needs_click
def test_version(start: Start) -> None:
    """--version prints the version of the library."""
    assert start("--version").end() == (0, [f"aioudp {aioudp.__version__}"], [])


@needs_click
def test_help_names_every_command(start: Start) -> None:
    """--help is what a newcomer reads first."""
    status, lines, errors = start("--help").end()
    words = " ".join(lines).split()

    assert (status, errors) == (0, [])
    assert {"listen", "send", "echo", "info"} <= set(words)


@needs_click
@pytest.mark.parametrize("command", ["listen", "echo"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("99999", "no port from 0 to 65535 in '99999'"),
        ("::1:53", "IPv6 addresses have the form [address]:port: '::1:53'"),
        ("[[a]:53", "IPv6 addresses have the form [address]:port: '[[a]:53'"),
        ("192.0.2.1:0", "Cannot assign requested address (binding to 192.0.2.1:0"),
        ("unix:/nowhere/at/all", "No such file or directory (binding to '/nowhere"),
    ],
)
def test_an_error_is_one_line(
    call: Call, command: str, address: str, reason: str
) -> None:
    """What the system refuses, or cannot be understood, is said without a traceback."""
    status, output, errors = call(command, address)

    assert (status, output) == (2, "")
    assert re.fullmatch(f"aioudp {command}: {re.escape(reason)}.*\n", errors)


@needs_click
def test_an_address_in_use_is_one_line(start: Start, loop: str) -> None:
    """So is a port that belongs to another program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        status, output, errors = start("listen", taken, "--loop", loop).end()

    assert (status, output, len(errors)) == (1, [], 1)
    reason = f"Address already in use (binding to {taken}; "
    assert errors[0].startswith(f"aioudp listen: {reason}")


@needs_click
@pytest.mark.parametrize(
    "arguments",
    [
        ["listen"],
        ["listen", "-4", "-6", "0"],
        ["echo", "-4", "-6", "0"],
        ["send", "-4", "-6", "9"],
        ["listen", "0", "--count", "0"],
        ["send", "9", "--loop", "trio"],
        ["receive"],
    ],
)
def test_wrong_usage(call: Call, arguments: list[str]) -> None:
    """A command line that makes no sense ends with status 2, as everywhere."""
    status, output, errors = call(*arguments)

    assert (status, output) == (2, "")
    assert re.fullmatch(r"aioudp( \w+)?: .*\n", errors)


@needs_click
@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"]])
def test_a_full_disk_is_one_line(start: Start, arguments: list[str]) -> None:
    """It is said once, and not again by the interpreter on its way out."""
    try:
        full = open("/dev/full", "wb")  # noqa: SIM115
    except OSError:
        pytest.skip("cannot: full: there is no /dev/full")
    with full:
        program = start(*arguments, stdout=full)
        assert program.end() == (1, [], ["aioudp info: No space left on device"])


@needs_click
@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(start: Start, loop: str, redirect: str) -> None:
    """They are as good as the null device; no socket gets their number."""
    program = start("listen", "0", "-t", "0", "--loop", loop, redirect=redirect)

    assert program.end()[0] == 0
