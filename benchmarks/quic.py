"""What another project gains: aioquic with and without the drop-in.

Both ends are on one event loop in one process, so that nobody waits for the other; a
fresh process for each transfer, in turn. Most of the time goes to aioquic itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

from .formatting import markdown
from .machine import ROOT
from .processes import environment

SIZE: Final = 16 * 1024 * 1024  # bytes
_MIB: Final = 1024 * 1024


def missing() -> str | None:
    """Return why it cannot run here, or ``None`` if it can."""
    for module in ("aioquic", "cryptography"):
        if find_spec(module) is None:
            return f"{module} is not installed"
    return None


def measure(loops: Sequence[str], rounds: int, size: int = SIZE) -> dict[str, Any]:
    """Transfer *size* bytes on each loop, as it is and with the drop-in, in turn."""
    subjects = [loop + below for loop in loops for below in ("", "+drop-in")]
    seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
    for _ in range(rounds):
        for subject in subjects:
            command = [sys.executable, "-m", "benchmarks.subjects.quic", subject]
            done = subprocess.run(
                [*command, str(size)],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=environment(),
            )
            seconds[subject].append(float(done.stdout))
    return {"size": size, "rounds": rounds, "seconds": seconds}


def render(result: dict[str, Any]) -> str:
    """Return a Markdown table."""
    lines = []
    for subject, seconds in result["seconds"].items():
        own = result["seconds"][subject.partition("+")[0]]
        faster = median(a / b for a, b in zip(own, seconds, strict=True))
        rates = [result["size"] / _MIB / taken for taken in seconds]
        spread = f"{min(rates):.1f} - {max(rates):.1f}"
        lines.append([subject, f"{median(rates):.1f}", spread, f"{faster:.2f}"])
    return markdown(["aioquic on", "MiB/s", "spread", "/ the loop's own"], lines)
