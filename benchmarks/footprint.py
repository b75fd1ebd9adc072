"""How much memory this process takes: bytes, from /proc on Linux.

Elsewhere only the peak is known (getrusage(2)), and it stands in for both.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

assert sys.platform != "win32"  # there is no module resource


def taken() -> int:
    """Return what the process takes now, shared pages in proportion."""
    return _field("smaps_rollup", "Pss") or _peak_ever()


def restart_peak() -> None:
    """Forget the peak so far, where the system can (proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak() -> int:
    """Return the most that was resident at one time since the restart."""
    # Not ru_maxrss: on Linux exec(2) hands on the peak of whoever started us.
    return _field("status", "VmHWM") or _peak_ever()


def _field(file: str, name: str) -> int | None:
    try:
        lines = (Path("/proc/self") / file).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _peak_ever() -> int:
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
