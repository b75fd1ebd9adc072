"""The processes of a measurement: starting, reading from and ending them.

They write the lines of JSON that ``worker`` describes; so do the C programs. This
module knows nothing about the measurements. It imports ``machine`` for the checkout's
root."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

from .machine import ROOT

_EXIT_PATIENCE: Final = 5.0  # seconds, after the result
_LAST_WORDS: Final = 16384  # bytes of standard error that are looked at


class MeasurementError(Exception):
    """A process ended or hung before it reported its result."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start."""

    arguments: Sequence[str]
    cpu: int | None = None
    """The CPU to stay on; ``None``: where the system puts it."""


def cpus() -> set[int]:
    """Return the CPUs that processes can be kept on; none where they cannot."""
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set()


def environment() -> dict[str, str]:
    """Return the environment, less what makes Python slower, as for tests."""
    slow = (
        "COVERAGE_PROCESS_",
        "PYTHONASYNCIODEBUG",
        "PYTHONDEVMODE",
        "PYTHONTRACEMALLOC",
        "PYTHONWARNINGS",
    )
    return {name: it for name, it in os.environ.items() if not name.startswith(slow)}


class Child:
    """A process that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    async def read(self, patience: float) -> dict[str, Any]:
        """Return its next line.

        Raises:
            MeasurementError: If none comes within *patience* seconds.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(patience):
                line = await self._process.stdout.readline()
        except TimeoutError:
            message = f"silent for {patience:.0f} s {self._last_words()}"
            raise MeasurementError(message.strip()) from None
        if not line:
            raise MeasurementError(await self.end())
        spoken: dict[str, Any] = json.loads(line)
        return spoken

    def go(self) -> None:
        """Let a talker begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.returncode is not None

    async def end(self) -> str:
        """Wait until it has ended, and return why."""
        status = await self._process.wait()
        return self._last_words() or f"exit status {status}"

    def errors(self) -> str:
        """Return the end of what it wrote to standard error."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _LAST_WORDS))
        return self._errors.read().decode(errors="replace").strip()

    def _last_words(self) -> str:
        lines = self.errors().splitlines()
        return lines[-1] if lines else ""


@asynccontextmanager
async def started(command: Command) -> AsyncIterator[Child]:
    """Start a process, and end it with the block."""
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=environment(),
        )
        patience = 0.0
        try:
            if sys.platform == "linux" and command.cpu is not None:
                os.sched_setaffinity(process.pid, {command.cpu})
            yield Child(process, errors)
            patience = _EXIT_PATIENCE
        finally:
            assert process.stdin is not None
            process.stdin.close()
            # One that is still on its way out would disturb the next measurement.
            try:
                async with asyncio.timeout(patience):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
