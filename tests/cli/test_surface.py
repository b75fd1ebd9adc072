"""What all commands have in common: help, options, statuses, errors, completion."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")

import click

import aioudp
from aioudp.cli import app, commands
from aioudp.cli.parsing import Argument, Command

if TYPE_CHECKING:
    from tests.cli.conftest import Program

    Start = Callable[..., Program]

CLI: Final = Path(commands.__file__).parents[1]

no_windows = pytest.mark.skipif(
    sys.platform == "win32", reason="cannot: posix: no signals, no UNIX sockets"
)


def every_command() -> dict[tuple[str, ...], click.Command]:
    """Return each command that does something, by its words."""
    found: dict[tuple[str, ...], click.Command] = {}
    with click.Context(app.root) as context:
        for name in app.root.list_commands(context):
            command = app.root.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                for word in command.list_commands(context):
                    inner = command.get_command(context, word)
                    assert inner is not None
                    found[name, word] = inner
            else:
                found[name,] = command
    return found


COMMANDS: Final = every_command()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Run the command in this process: its status, and both outputs."""

    def call(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as caught:
            app.main(arguments)
        return caught.value.code, *capsys.readouterr()

    return call


def squeezed(text: str) -> str:
    """Return text without white space, and so without the places of line breaks."""
    return "".join(text.split())


# -- the help


def test_the_table_names_every_command() -> None:
    """Each module of the folder is a command, in the help, and the other way round."""
    modules = {path.stem for path in (CLI / "commands").glob("*.py")} - {"__init__"}

    assert set(commands.COMMANDS) == modules


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help(call: Any, words: tuple[str, ...]) -> None:
    """-h and --help print the same, on standard output."""
    short, long = call(*words, "-h"), call(*words, "--help")

    assert short == long
    status, output, errors = short
    assert (status, errors) == (0, "")
    assert output.startswith(f"Usage: aioudp {' '.join(words)} [OPTIONS]")


@pytest.mark.parametrize("words", [(), ("multicast",)])
def test_help_of_groups(call: Any, words: tuple[str, ...]) -> None:
    """Each command has its line. A group without a command is an error."""
    status, output, errors = call(*words, "-h")

    assert (status, errors) == (0, "")
    for command in COMMANDS:
        if command[: len(words)] == words:
            assert re.search(rf"^  {command[len(words)]} +[A-Z]", output, re.MULTILINE)
    assert call(*words) == (2, "", output)


def strings_of(path: Path) -> Iterator[str]:
    """Yield the help texts of a source file: docstrings, ``help=`` and table rows."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.keyword) and node.arg in ("help", "rows"):
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.value


def test_help_swallows_nothing(call: Any) -> None:
    """Every help text of the source is printed, with its brackets."""
    every = [*COMMANDS, (), ("multicast",)]
    helps = {words: squeezed(call(*words, "-h")[1]) for words in every}
    bracketed = 0
    for path in [*(CLI / "commands").glob("*.py"), CLI / "options.py"]:
        own = [text for words, text in helps.items() if words[:1] == (path.stem,)]
        for text in strings_of(path):
            bracketed += len(re.findall(r"\[[^]]+\]", text))
            where = own or helps.values()
            assert any(squeezed(text) in printed for printed in where), text

    assert bracketed >= 10
    assert "[ff15::1234]:5000" in helps["multicast", "send"]
    assert "[IPV6%ZONE]:PORT" in helps["listen",]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_argument_and_option_has_help(words: tuple[str, ...]) -> None:
    """None is left to guessing."""
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, Argument):
            assert all(text for _, text in parameter.rows)
        else:
            assert isinstance(parameter, click.Option)
            assert parameter.help


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_examples_can_be_typed(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has examples, and takes them as they're shown."""
    command = COMMANDS[words]
    assert isinstance(command, Command)
    monkeypatch.chdir(tmp_path)
    for name in ("packet.bin", "big.iso", "traffic.pcap"):
        Path(name).touch()

    assert command.examples
    for line, _ in command.examples:
        script = f'printf "%s\\n" {re.sub(r" [<>] .*", "", line)}'
        shown = subprocess.run(
            ["/bin/sh", "-c", script], check=True, capture_output=True, text=True
        )
        typed = shown.stdout.splitlines()
        assert tuple(typed[: len(words)]) == words
        with command.make_context("x", typed[len(words) :]) as context:
            assert context.params or not command.params


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_json_everywhere(words: tuple[str, ...]) -> None:
    """Each command that has results prints them as JSON, if asked."""
    options = {option for one in COMMANDS[words].params for option in one.opts}

    assert "--json" in options or words == ("completion",)


# -- what a start loads

HEAVY: Final = {"asyncio", "rich", "pydantic", "ssl", "uvloop", "concurrent.futures"}


def loaded_by(start: Start, *arguments: str) -> set[str]:
    """Return the modules that a run of the command has loaded.

    Without those that were there before, of what measures coverage for example.
    """
    code = (
        "import atexit, sys\n"
        "before = {*sys.modules}\n"
        "def loaded():\n"
        "    print('loaded', *({*sys.modules} - before), file=sys.stderr)\n"
        "atexit.register(loaded)\n"
        "from aioudp.__main__ import main\n"
        "main()"
    )
    _, _, errors = start(*arguments, code=code).end(text=b"")
    (line,) = [line for line in errors if line.startswith("loaded ")]
    return set(line.split()[1:])


def package_of(loaded: set[str]) -> set[str]:
    return {
        name.removeprefix("aioudp.") for name in loaded if name.startswith("aioudp.")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("--help",),
        ("lisen",),
        ("send", "-h"),
        ("send", "99999"),
        ("bench", "-h"),
        ("multicast", "send", "-h"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_help_and_mistakes_load_no_library(
    start: Start, arguments: tuple[str, ...]
) -> None:
    """Nothing but click, and the declaration of one command."""
    loaded = loaded_by(start, *arguments)

    assert loaded.isdisjoint(HEAVY)
    package = package_of(loaded)
    assert {
        name for name in package if name.startswith(("_endpoint", "_trans"))
    } == set()
    declared = {
        name.removeprefix("cli.commands.")
        for name in package
        if name.startswith("cli.commands.")
    }
    assert declared <= {arguments[0]}


def test_completion_loads_no_library(start: Start) -> None:
    """It runs at each press of the tabulator."""
    complete = {"_AIOUDP_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from aioudp.__main__ import main\n"
        "main()"
    )
    words = {"COMP_WORDS": "aioudp send --w"}
    _, output, errors = start(code=code, env=complete | words).end()
    loaded = set(errors[-1].split())

    assert output == ["plain,--wait"]
    assert loaded.isdisjoint(HEAVY)
    assert "aioudp.cli.commands.listen" not in loaded


@no_windows
def test_sending_loads_what_it_uses(start: Start) -> None:
    """No server, no client, no forwarding, and nothing to draw tables with."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
        loaded = loaded_by(start, "send", port, "hello")

    assert "aioudp._endpoint.endpoint" in loaded
    assert loaded.isdisjoint({"rich", "uvloop", "pydantic", "email", "json"})
    unused = {"server", "client", "discovery", "workers", "forwarding", "testing"}
    assert package_of(loaded).isdisjoint(unused)


# -- wrong arguments, and errors

PYTHON: Final = re.compile(
    r"\('|=True|=False|None|Errno|Error\b|Traceback|<class|aioudp\.\w|interfaces="
)
"""What a user of the command line shouldn't have to read."""

FREE: Final = "127.0.0.1:9"

WRONG: Final[list[tuple[str, ...]]] = [
    ("listen",),
    ("listen", "99999"),
    ("listen", "127.0.0.1"),
    ("listen", "1", "2", "3"),
    ("listen", "0", "--count", "0"),
    ("listen", "0", "--count"),
    ("listen", "0", "--timeout", "soon"),
    ("listen", "0", "--format", "xml"),
    ("listen", "0", "--json", "--raw"),
    ("listen", "0", "--reply", "--rates"),
    ("listen", "0", "--reply", "--count", "1"),
    ("listen", "0", "--rates", "--raw"),
    ("listen", "-4", "-6", "0"),
    ("listen", "-4", "[::1]:0"),
    ("listen", "192.0.2.1:0"),
    ("listen", "no-such-host.invalid:0"),
    ("listen", "[fe80::1%nowhere]:0"),
    ("listen", "unix:/nowhere/at/all"),
    ("listen", "unix:"),
    ("send",),
    ("send", "0", "x"),
    ("send", "65536", "x"),
    ("send", "::1:9", "x"),
    ("send", "[::1", "x"),
    ("send", "127.0.0.1", "x"),
    ("send", "9", "--hex", "0g"),
    ("send", "9", "--file", "/nowhere/at/all"),
    ("send", "9", "--file", "/"),
    ("send", "9", "x", "--file", __file__),
    ("send", "9", "--split", "10"),
    ("send", "9", "--split", "0", "--file", __file__),
    ("send", "9", "x", "--rate", "0"),
    ("send", "9", "x", "--wait", "-1"),
    ("send", "9", "x", "--local", "nonsense"),
    ("send", "9", "x", "--local", "192.0.2.1:0"),
    ("send", "-b", "-6", "9", "x"),
    ("send", "-b", "unix:/nowhere", "x"),
    ("send", "no-such-host.invalid:9", "x"),
    ("send", "9", "x", "--loop", "trio"),
    ("request", "127.0.0.1"),
    ("request", "127.0.0.1", "9"),
    ("request", "127.0.0.1", "9", "two", "requests"),
    ("request", "127.0.0.1", "0", "x"),
    ("request", FREE, "x", "--retries", "-1"),
    ("request", FREE, "x", "--timeout", "0"),
    ("request", FREE, "--hex", "x"),
    ("discover", "9"),
    ("discover", "0", "x"),
    ("discover", "9", "x", "--interface", "nowhere"),
    ("discover", "9", "x", "--group", "192.0.2.1"),
    ("discover", "9", "x", "--timeout", "0"),
    ("broadcast",),
    ("broadcast", "port", "x"),
    ("broadcast", "9", "x", "--interface", "nowhere"),
    ("broadcast", "9", "x", "--interface", "4294967295"),
    ("multicast", "listen", "9"),
    ("multicast", "listen", "192.0.2.1:9"),
    ("multicast", "listen", "239.1.2.3:0", "--source", "here"),
    ("multicast", "listen", "239.1.2.3:0", "-i", "nowhere"),
    ("multicast", "listen", "[ff02::1%nowhere]:0"),
    ("multicast", "listen", "[ff02::1%lo]:0", "-i", "lo"),
    ("multicast", "send", "239.1.2.3:0", "x"),
    ("multicast", "send", "239.1.2.3:9", "x", "--ttl", "256"),
    ("multicast", "shout"),
    ("echo",),
    ("echo", "99999"),
    ("echo", "192.0.2.1:0"),
    ("echo", "0", "--workers", "0"),
    ("echo", "0", "--workers", "2", "--loop", "asyncio"),
    ("echo", "192.0.2.1:0", "--workers", "2"),
    ("serve", "nothing", "0"),
    ("serve", "no_such_module:handler", "0"),
    ("serve", "json:no_such_function", "0"),
    ("serve", "json:__doc__", "0"),
    ("serve", "json:dumps", "99999"),
    ("serve", "json:dumps", "192.0.2.1:0"),
    ("serve", "json:dumps", "nats://127.0.0.1:9"),
    ("serve", "json:dumps", "0", "--stream", "s"),
    ("serve", "json:dumps", "ftp://127.0.0.1:9", "-s", "s", "-g", "g"),
    ("relay", "0"),
    ("relay", "0", "9", "--loss", "2"),
    ("relay", "0", "9", "--rate", "0"),
    ("relay", "0", "0"),
    ("relay", "0", "no-such-host.invalid:9"),
    ("relay", "192.0.2.1:0", "9"),
    ("bench", "--server", "--client", "x"),
    ("bench", "--reverse", "--both"),
    ("bench", "--client", "localhost"),
    ("bench", "--client", "no-such-host.invalid", "--port", "9"),
    ("bench", "--server", "--host", "192.0.2.1"),
    ("bench", "--payload", "30"),
    ("bench", "--interval", "-1"),
    ("record", "file.pcap"),
    ("record", "/nowhere/at/all.pcap", "127.0.0.1:0"),
    ("record", "file.pcap", "unix:/nowhere"),
    ("record", "file.pcap", "0", "--rotate-size", "1"),
    ("replay", "/nowhere/at/all.pcap", "9"),
    ("replay", __file__),
    ("replay", __file__, "0"),
    ("replay", __file__, "9", "--speed", "fast"),
    ("info", "extra"),
    ("info", "--loop", "trio"),
    ("forward", "0", "--stream", "s"),
    ("forward", "99999", "nats://127.0.0.1:9", "--stream", "s"),
    ("forward", "0", "nats://127.0.0.1:9"),
    ("subscribe",),
    ("subscribe", "nats://127.0.0.1:9", "-s", "s", "--credentials", "/nowhere"),
    ("completion", "tcsh"),
    ("lisen",),
    ("--versoin",),
]


@no_windows
@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_arguments(
    call: Any,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 2 and one line, which names the command, in words of the command line."""
    monkeypatch.chdir(tmp_path)
    if "%lo]" in "".join(arguments) and not os.path.exists("/sys/class/net/lo"):
        pytest.skip("cannot: lo: the loopback interface has another name")

    status, output, errors = call(*arguments)

    name = " ".join(word for word in arguments[:1] if word in commands.COMMANDS)
    if name == "multicast" and arguments[1] in ("listen", "send"):
        name = " ".join(arguments[:2])
    last = errors.splitlines()[-1]  # statistics may stand before it
    assert (status, output) == (2, "")
    assert last.startswith(f"aioudp {name}: " if name else "aioudp: ")
    assert not PYTHON.search(last), last


def test_every_command_has_wrong_arguments_above() -> None:
    """The table misses none."""
    tried = {line[:size] for line in WRONG for size in (1, 2)}

    assert set(COMMANDS) - {("info",)} <= tried


@pytest.fixture
def taken() -> Iterator[str]:
    """Return an address that belongs to another program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


FAILING: Final[list[tuple[str, ...]]] = [
    ("listen", "TAKEN"),
    ("listen", "TAKEN", "--rates"),
    ("echo", "TAKEN"),
    ("echo", "TAKEN", "--workers", "2"),
    ("serve", "json:dumps", "TAKEN"),
    ("relay", "TAKEN", "9"),
    ("record", "file.pcap", "TAKEN"),
    ("bench", "--server", "--host", "127.0.0.1", "--port", "PORT"),
    ("send", "9", "x", "--local", "TAKEN"),
    ("send", "CLOSED", "x"),
    ("send", "unix:nobody", "x"),
    ("send", "127.255.255.255:9", "x"),
    ("request", "CLOSED", "x"),
    ("request", "TAKEN", "x", "-t", "0.01", "-r", "1"),
    ("bench", "--client", "127.0.0.1", "--port", "CLOSEDPORT"),
    ("replay", __file__, "9"),
    ("record", __file__, "127.0.0.1:0"),
    ("listen", "127.0.0.1:0", "--count", "1", "--timeout", "0"),
]


@no_windows
@pytest.mark.parametrize("arguments", FAILING, ids=" ".join)
def test_failures(
    call: Any,
    arguments: tuple[str, ...],
    taken: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 1; the reason is in words of the command line, too."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{sock.getsockname()[1]}"
    known = {
        "TAKEN": taken,
        "PORT": taken.split(":")[1],
        "CLOSED": closed,
        "CLOSEDPORT": closed.split(":")[1],
    }
    status, output, errors = call(*(known.get(word, word) for word in arguments))

    assert (status, output) == (1, "")
    assert not PYTHON.search(errors), errors
    if "--timeout" not in arguments:
        assert errors.splitlines()[-1].startswith(f"aioudp {arguments[0]}: ")


def test_ipv6_is_in_brackets(call: Any) -> None:
    """As it's typed."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
            port = sock.getsockname()[1]
            status, _, errors = call("listen", f"[::1]:{port}")
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")

    assert status == 1
    assert f"(binding to [::1]:{port};" in errors


def test_a_broadcast_needs_its_option(call: Any) -> None:
    """The advice names what the command has, or the command that has it."""
    options = call("send", "127.255.255.255:9", "x")[2]

    assert "; a broadcast address needs --broadcast)" in options


# -- signals

CAPTURE: Final = (
    # One empty UDP datagram at the time 0, and one a minute later.
    b"\x4d\x3c\xb2\xa1\x02\x00\x04\x00" + bytes(8) + b"\xff\xff\x00\x00\x65\x00\x00\x00"
) + b"".join(
    second.to_bytes(4, "little")
    + bytes(4)
    + (28).to_bytes(4, "little") * 2
    + bytes.fromhex("4500001c000000004011000000000000 00000000 0009000900080000")
    for second in (0, 60)
)

LONG: Final[list[tuple[int, tuple[str, ...]]]] = [
    (0, ("listen", "127.0.0.1:0")),
    (0, ("listen", "127.0.0.1:0", "--rates")),
    (0, ("listen", "127.0.0.1:0", "--reply")),
    (0, ("echo", "127.0.0.1:0")),
    (0, ("serve", "json:dumps", "127.0.0.1:0")),
    (0, ("relay", "127.0.0.1:0", "127.0.0.1:9")),
    (0, ("record", "new.pcap", "127.0.0.1:0")),
    (0, ("bench", "--server", "--host", "127.0.0.1")),
    (0, ("multicast", "listen", "239.255.77.9:0", "-i", "127.0.0.1")),
    (130, ("send", "PORT")),
    (130, ("send", "PORT", "x", "--wait", "60")),
    (130, ("request", "PORT", "x", "-t", "60")),
    (130, ("discover", "PORT", "x", "-i", "127.0.0.1", "-t", "60")),
    (130, ("broadcast", "PORT", "-i", "127.0.0.1")),
    (130, ("multicast", "send", "239.255.77.9:OTHER", "-i", "127.0.0.1")),
    (130, ("replay", "old.pcap", "PORT")),
]


@no_windows
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("status", "arguments"), LONG, ids=str)
def test_a_signal(
    start: Start,
    signum: signal.Signals,
    status: int,
    arguments: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """It ends what listens with status 0, and what isn't done with 130."""
    (tmp_path / "old.pcap").write_bytes(CAPTURE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        sock.settimeout(10)
        port = str(sock.getsockname()[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", 0))  # a sender to a group binds its port
            free = str(other.getsockname()[1])
        words = [word.replace("PORT", port) for word in arguments]
        program = start(*(w.replace("OTHER", free) for w in words), cwd=tmp_path)
        if status == 0:
            assert program.error_line().startswith("listening on ")
        else:
            if (
                arguments[0] in ("send", "broadcast", "multicast")
                and "x" not in arguments
            ):
                program.type(b"x\n")  # and then it waits for another line
            if arguments[0] == "multicast":
                assert program.line().endswith("  sent")
            else:
                sock.recv(100)
        ended, _, errors = program.end(signum=signum)

    assert ended == status
    assert "Traceback" not in "".join(errors)
    counted = ("discover", "request", "broadcast", "multicast")
    if arguments[0] not in counted or arguments[1] == "listen":
        assert re.search(r"\d", errors[-1])  # its statistics


# -- HOST PORT


@no_windows
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_host_and_port_in_two_words(start: Start, host: str) -> None:
    """As netcat takes them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host.strip("[]"), 0))
        except OSError:
            pytest.skip("cannot: ipv6: ::1 cannot be bound")
        sock.settimeout(10)
        program = start("send", host, str(sock.getsockname()[1]), "one", "2")

        assert [sock.recv(100), sock.recv(100)] == [b"one", b"2"]
        assert program.end()[0] == 0


@no_windows
def test_a_port_alone_is_no_host(start: Start) -> None:
    """A number after it is a payload."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        program = start("send", str(sock.getsockname()[1]), "42")

        assert sock.recv(100) == b"42"
        assert program.end()[0] == 0


# -- completion


def complete(start: Start, shell: str, line: str) -> list[str]:
    """Return what the protocol between script and program answers."""
    words = line.split(" ")
    environment = {
        "_AIOUDP_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
    }
    status, output, errors = start(env=environment).end()
    assert (status, errors) == (0, [])
    return output


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("aioudp se", ["plain,send", "plain,serve"]),
        ("aioudp multicast l", ["plain,listen"]),
        ("aioudp --v", ["plain,--version"]),
        ("aioudp send --w", ["plain,--wait"]),
        ("aioudp send 9 --loop uv", ["plain,uvloop"]),
        ("aioudp listen 9 -f h", ["plain,hex"]),
        ("aioudp completion z", ["plain,zsh"]),
        ("aioudp send 9 --file x", ["file,x"]),
    ],
)
def test_completion(start: Start, line: str, found: list[str]) -> None:
    """Commands, options, values and files."""
    assert complete(start, "bash", line) == found


def test_completion_of_interfaces(start: Start) -> None:
    """Those of this machine."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]

    found = complete(start, "bash", "aioudp broadcast 9 -i lo")
    assert found == [f"plain,{name}" for name in names]


def test_completion_with_descriptions(start: Start) -> None:
    """zsh and fish show what a command does."""
    summary = commands.COMMANDS["listen"].summary

    assert complete(start, "zsh", "aioudp lis") == ["plain", "listen", summary]
    (line,) = complete(start, "fish", "aioudp lis")
    assert line.startswith("plain,listen")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_can_be_read_by_its_shell(start: Start, shell: str) -> None:
    """It's printed, names the program, and is free of mistakes of syntax."""
    status, output, errors = start("completion", shell).end()
    script = "\n".join(output)

    assert (status, errors) == (0, [])
    assert f"_AIOUDP_COMPLETE={shell}_complete" in script
    assert "_aioudp_completion" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@no_windows
def test_bash_completes(start: Start, tmp_path: Path) -> None:
    """With the script, and nothing else."""
    if shutil.which("bash") is None:
        pytest.skip("cannot: bash: it is not installed")
    program = tmp_path / "aioudp"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aioudp "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text("\n".join(start("completion", "bash").end()[1]))
    typed = (
        f"source {tmp_path}/script; COMP_WORDS=(aioudp re); COMP_CWORD=1; "
        "_aioudp_completion aioudp; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", typed],
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(aioudp.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )

    assert done.stdout.split() == ["request", "relay", "record", "replay"]
