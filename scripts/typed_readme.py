"""Type the lines of the README, one after the other, as who has just cloned does.

    python scripts/typed_readme.py
    CC=false python scripts/typed_readme.py     where there's no compiler

In a new clone and a new virtual environment, with an empty home and no cache of pip.
Each ``sh`` line must succeed, and each ``console`` line show what the README says;
numbers of four and more digits (ports, times) may differ. A command that says that it's
listening goes on in its own terminal. The lines that begin with ``scripts/`` are left
out: they're what runs this.

Imports the standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import distributions
import environments
from environments import ROOT

INSTALLING: Final = 1200  # seconds, for a line of sh; only a hang takes so long
SHOWING: Final = 15  # seconds, for a line of console
_BLOCK: Final = re.compile(r"^```(sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Terminal:
    """A directory to type in, with its environment."""

    def __init__(self, home: Path, clone: Path, venv: Path) -> None:
        self.clone = clone
        bin_folder = environments.interpreter(venv).parent
        self.variables = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_CACHE_DIR": "1",
            "VIRTUAL_ENV": str(venv),
        }
        for name in ("PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            self.variables.pop(name, None)

    def run(self, line: str) -> None:
        """Type a line whose output doesn't matter."""
        subprocess.run(
            ["/bin/sh", "-c", line],
            check=True,
            cwd=self.clone,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            timeout=INSTALLING,
        )

    @contextmanager
    def started(self, line: str) -> Iterator[subprocess.Popen[str]]:
        """Type a line, and end what it started at the end of the block."""
        with subprocess.Popen(
            ["/bin/sh", "-c", line],
            cwd=self.clone,
            env=self.variables,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:

            def end() -> None:
                # The lines are for a shell, so this isn't Windows.
                if sys.platform != "win32" and process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

            watchdog = threading.Timer(SHOWING, end)
            watchdog.start()
            try:
                yield process
            finally:
                watchdog.cancel()
                watchdog.join()
                end()


def masked(text: str) -> str:
    return re.sub(r"\d{4,}(\.\d+)?", "N", text).strip()


def follow(terminal: Terminal, text: str, stack: ExitStack) -> None:
    """Type the lines of a transcript, and compare what they show."""
    for line, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        print(f"$ {line}", flush=True)
        process = stack.enter_context(terminal.started(line))
        assert process.stdout is not None
        if shown.startswith("listening on "):
            printed = process.stdout.readline()
        else:
            printed = process.stdout.read()
        if masked(printed) != masked(shown):
            sys.exit(f"it shows {printed!r} and not {shown!r}")


def main() -> None:
    files = distributions.repository_files()
    if files is None:
        sys.exit("cannot: git: this isn't a clone")
    with tempfile.TemporaryDirectory(prefix="aioudp-readme-") as name, ExitStack() as s:
        away = Path(name)
        (away / "home").mkdir()
        clone = distributions.copy_of_the_repository(files, away / "clone")
        subprocess.run([sys.executable, "-m", "venv", away / "venv"], check=True)
        terminal = Terminal(away / "home", clone, away / "venv")
        for kind, text in _BLOCK.findall((ROOT / "README.md").read_text("utf-8")):
            if kind == "console":
                follow(terminal, text, s)
                continue
            for line in text.splitlines():
                if not line.startswith("scripts/"):
                    print(f"$ {line}", flush=True)
                    terminal.run(line)
        terminal.run("aioudp info")  # in the middle of a sentence of the README


if __name__ == "__main__":
    main()
