"""Runs examples as the programs that they are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aioudp

from ..output import without_slowness

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
PATIENCE: Final = 15  # seconds
ENVIRONMENT: Final = os.environ | {
    # The package that this process tests, and not another that is installed.
    "PYTHONPATH": str(Path(aioudp.__file__).parents[1]),
    "PYTHONUNBUFFERED": "",  # no: flushing is up to the program
}


def command(name: str, *arguments: object) -> list[str]:
    program = str(EXAMPLES / f"{name}.py")
    return [sys.executable, "-X", "dev", "-W", "error", program, *map(str, arguments)]


def run(name: str, *arguments: object, text: str = "") -> str:
    """Run an example to its end and return what it prints."""
    done = subprocess.run(
        command(name, *arguments),
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT,
        check=False,
    )
    assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    return done.stdout


class Server:
    """A running example that listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.first_line = self.line()
        self.port = int(self.first_line.rpartition(" ")[2])

    def line(self) -> str:
        """Return the next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


@contextmanager
def serving(
    name: str, *arguments: object, argv: list[str] | None = None, **options: Any
) -> Iterator[Server]:
    """Start an example that listens, and end it at last."""
    with subprocess.Popen(
        argv or command(name, *arguments),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        **options,
    ) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield Server(process)
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()
