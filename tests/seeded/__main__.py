"""Put faults into a copy of the library, one at a time, and run the test for each.

    python -m tests.seeded                  all of them
    python -m tests.seeded overtakes        those with this word in their description

A fault is caught if the test passes without it, and fails with it. The tests of the
contract run on the simulated network, and everything with the readable twin of the
batch I/O. The exit status is 1 if a fault is missed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .faults import FAULTS, ROOT, Fault

_HANGS_AFTER: Final = 120  # seconds; a test that hangs has failed
_PASSED: Final = 0
_FAILED: Final = 1


def main(word: str = "") -> int:
    missed = count = 0
    with tempfile.TemporaryDirectory(prefix="aioudp-seeded-") as name:
        home = Path(name)
        leave_out = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        for part in ("aioudp", "tests"):
            shutil.copytree(ROOT / part, home / part, ignore=leave_out)
        shutil.copy(ROOT / "pyproject.toml", home)
        passing: set[str] = set()
        for part, faults in FAULTS.items():
            for fault in faults:
                if word not in fault.what:
                    continue
                began = time.monotonic()
                outcome = _try(fault, home, passing)
                seconds = time.monotonic() - began
                count += 1
                missed += outcome != "caught"
                print(f"{outcome:>7}  {part}: {fault.what} ({seconds:.0f} s)")
                print(f"         {fault.test}", flush=True)
    print(f"{count - missed} of {count} caught")
    return int(missed > 0 or count == 0)


def _try(fault: Fault, home: Path, passing: set[str]) -> str:
    file = home / "aioudp" / fault.path
    original = file.read_text()
    changed = fault.changed(home)
    if fault.test not in passing:
        if _run(fault.test, home) != _PASSED:
            return "FAILS"  # without the fault
        passing.add(fault.test)
    file.write_text(changed)
    try:
        return "caught" if _run(fault.test, home) == _FAILED else "MISSED"
    finally:
        file.write_text(original)


def _run(test: str, home: Path) -> int:
    """Return the exit status of pytest."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
    if test.startswith("contract/"):
        command += ["-k", "simulated", "--matrix", "0"]
    environment = {
        **os.environ,
        "AIOUDP_SPEEDUPS": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(home),
    }
    try:
        return subprocess.run(
            [*command, f"tests/{test}"],
            cwd=home,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_HANGS_AFTER,
        ).returncode
    except subprocess.TimeoutExpired:
        return _FAILED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
