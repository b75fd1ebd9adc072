"""The command line is tested as its users run it: as a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

import aioudp

from ..output import without_slowness

PATIENCE: Final = 15  # seconds; a program that takes longer is ended, its test fails


class Program:
    """One run of a program. Its output is read line by line, never for ever."""

    def __init__(self, argv: Sequence[str | bytes], **options: Any) -> None:
        pipes: dict[str, Any] = dict.fromkeys(
            ("stdin", "stdout", "stderr"), subprocess.PIPE
        )
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            argv, **pipes | options
        )
        # Ended by the watchdog, a program closes its pipes: no read is left hanging.
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)
        self._watchdog.start()

    def port(self) -> int:
        """Read from standard error where the program listens."""
        first = self.error_line()
        assert first.startswith("listening on "), first
        return int(first.rpartition(":")[2])

    def line(self) -> str:
        """Return the next line of standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def error_line(self) -> str:
        """Return the next line of standard error."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline().decode():
            if without_slowness(line):
                break
        return line.rstrip("\n")

    def type(self, text: bytes) -> None:
        """Write to standard input, and leave it open."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(
        self, *, signum: signal.Signals | None = None, text: bytes | None = None
    ) -> tuple[int, list[str], list[str]]:
        """Wait for the end: the status, and what is left of both outputs, in lines.

        With *signum*, that signal ends it. *text* is the rest of standard input,
        which is closed then.
        """
        if signum is not None:
            self.process.send_signal(signum)
        output, errors = self.process.communicate(text)
        return (
            self.process.returncode,
            (output or b"").decode().splitlines(),
            without_slowness((errors or b"").decode()).splitlines(),
        )

    def close(self) -> None:
        """End the program, if it still runs."""
        self._watchdog.cancel()
        self._watchdog.join()
        self.process.kill()
        with self.process:
            pass


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start ``aioudp`` with the given arguments; ended with the test at the latest.

    *env* is added to the environment, *redirect* is the shell's, *code* is what is
    run instead of the module; the rest is for :class:`subprocess.Popen`.
    """
    programs: list[Program] = []

    def start(
        *arguments: str | bytes,
        env: dict[str, str] | None = None,
        redirect: str | None = None,
        code: str | None = None,
        **options: Any,
    ) -> Program:
        what = ["-m", "aioudp"] if code is None else ["-c", code]
        argv = [sys.executable, "-X", "dev", "-W", "error", *what, *arguments]
        if redirect is not None:
            argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", *argv]
        environment = os.environ | {
            # The package that this process tests, and not another that is installed.
            "PYTHONPATH": str(Path(aioudp.__file__).parents[1]),
            "PYTHONUNBUFFERED": "",  # no: flushing is up to the program
            **(env or {}),
        }
        programs.append(Program(argv, env=environment, **options))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """Return a value for the option ``--loop``."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("cannot: uvloop: it is not installed")
    return str(request.param)
