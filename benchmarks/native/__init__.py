"""The C programs: the load, the sink, the echo client, and the ceilings.

Built anew for every run, into a directory that goes away with it: it takes less than
a second, and nothing old is ever measured. Without a compiler, or without the Linux
calls, there are none, and ``load`` takes their place.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PROGRAMS: Final = ("receive", "send", "ping", "flood")

_SOURCES: Final = Path(__file__).parent
_FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


def compiler() -> list[str] | None:
    """Return the command of the C compiler, ``$CC`` or ``cc``, if there is one."""
    command = shlex.split(os.environ.get("CC", "cc"))
    return command if command and shutil.which(command[0]) else None


@contextmanager
def built(*, wanted: bool = True) -> Iterator[Path | None]:
    """Build the programs and give their directory; ``None`` if there are none.

    Args:
        wanted: ``False``: there are none, even if they could be built.
    """
    command = compiler() if wanted else None
    with TemporaryDirectory(prefix="aioudp-benchmarks-") as directory:
        target = Path(directory)
        if command is None or not all(
            _compile(command, program, target) for program in PROGRAMS
        ):
            yield None
        else:
            yield target


def _compile(command: list[str], program: str, target: Path) -> bool:
    source = _SOURCES / f"{program}.c"
    build = [*command, *_FLAGS, "-o", str(target / program), str(source)]
    return subprocess.run(build, check=False, capture_output=True).returncode == 0
