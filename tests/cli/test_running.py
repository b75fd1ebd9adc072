"""How a command is run: its status, its event loop, its end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")

import aioudp
from aioudp.cli import console, running
from aioudp.cli.lines import InputError
from aioudp.cli.running import Loop, loop_factory, run


def status_of(command: Coroutine[Any, Any, int], **options: Any) -> int:
    return run(command, **options)


async def fail(error: BaseException) -> int:
    raise error


async def wait_for_ever() -> int:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


async def interrupt_oneself() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return await wait_for_ever()


async def name_of_the_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_the_status_is_what_the_command_returns() -> None:
    """A command decides about its own status."""

    async def command() -> int:
        return 3

    assert status_of(command()) == 3


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OSError(98, "Address already in use"), 1, "Address already in use"),
        (OSError("no number"), 1, "no number"),
        (aioudp.UDPError("nothing came"), 1, "nothing came"),
        (running.Failure("it failed"), 1, "it failed"),
        (InputError("line 7 is too long"), 1, "line 7 is too long"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), 1, "try again"),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), 2, "no such name"),
        (OSError(errno.EADDRNOTAVAIL, "not here"), 2, "not here"),
        (OSError(19, "gone (no interface 'x')"), 2, "gone (no interface 'x')"),
        (OSError(19, "no interface to join"), 1, "no interface to join"),
        (ValueError("no port"), 2, "no port"),
        (ValueError("two\nlines\x1b[2J"), 2, r"two\nlines\x1b[2J"),
    ],
)
def test_an_error_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, status: int, line: str
) -> None:
    """It goes to standard error; the status is 2 if the command line was wrong."""
    assert status_of(fail(error)) == status
    assert capsys.readouterr() == ("", f"aioudp: {line}\n")


def test_a_broken_pipe_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever closed it knows."""
    assert status_of(fail(BrokenPipeError())) == 1
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_not_hidden() -> None:
    """Any other exception comes out with its traceback."""
    with pytest.raises(ZeroDivisionError):
        run(fail(ZeroDivisionError()))


@pytest.mark.parametrize("status", [0, 130])
def test_ctrl_c_cancels_the_command(loop: str, status: int) -> None:
    """The command says which status that is."""
    command = interrupt_oneself()

    assert status_of(command, loop=Loop(loop), interrupted=status) == status


def test_ctrl_c_without_signal_handlers_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Windows event loops have none, and asyncio's Runner does the same."""

    def refuse(*args: object) -> None:
        raise NotImplementedError

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        monkeypatch.setattr(loop, "add_signal_handler", refuse)
        return loop

    monkeypatch.setattr(running, "loop_factory", lambda choice: new_loop)
    # A shell starts what runs in the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert status_of(interrupt_oneself(), interrupted=0) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_auto_is_uvloop_where_it_is_installed() -> None:
    """It is faster."""
    pytest.importorskip("uvloop", reason="cannot: uvloop: it is not installed")

    with asyncio.Runner(loop_factory=loop_factory(Loop.AUTO)) as runner:
        assert runner.run(name_of_the_loop()) == "uvloop"


def test_auto_is_asyncio_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but speed depends on it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    with asyncio.Runner(loop_factory=loop_factory(Loop.AUTO)) as runner:
        assert runner.run(name_of_the_loop()) == "asyncio"


def test_uvloop_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for by name, it must be there; the line says how to get it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert status_of(wait_for_ever(), loop=Loop.UVLOOP) == 1
    reason = "uvloop is not installed; run: pip install 'aioudp-endpoint[uvloop]'"
    assert capsys.readouterr().err == f"aioudp: {reason}\n"


def test_streams_that_are_closed_take_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for a stream whose descriptor was closed from the start."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    console.prepare()
    console.emit("nobody")
    console.note("reads this")
    console.abandon_broken()
