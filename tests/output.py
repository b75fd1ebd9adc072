"""What tests read of the programs that they run."""

from __future__ import annotations


def without_slowness(errors: str) -> str:
    """Return standard error without asyncio's word that a callback took long.

    Its debug mode, which ``-X dev`` switches on, says so on a busy machine.
    """
    lines = errors.splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if not (line.startswith("Executing <") and " took " in line)
    )
