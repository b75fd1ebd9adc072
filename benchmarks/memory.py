"""What an idle endpoint costs in memory, beside the event loop's own.

Counted in the process: once what the process takes (PSS), once what Python allocates
(tracemalloc), each in a process of its own, because tracing takes memory too. What the
kernel keeps for a socket is the same for everybody and not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .formatting import markdown
from .parties import Party, worker
from .processes import Command, started

PROMISE: Final = 8192
"""Bytes that an idle endpoint may cost."""

_SUBJECTS: Final = {"aioudp": "aioudp_endpoints", "DatagramProtocol": "protocols"}
_TIMEOUT: Final = 120.0  # seconds


async def measure(loops: list[str], count: int) -> list[dict[str, Any]]:
    """Measure each subject on each of *loops* with *count* endpoints."""
    rows = []
    for subject, function in _SUBJECTS.items():
        for loop in loops:
            taken = await _run(function, loop, count, traced=False)
            traced = await _run(function, loop, count, traced=True)
            rows.append(
                {
                    "subject": subject,
                    "loop": loop,
                    "endpoints": taken["count"],
                    "process_bytes_each": round(taken["bytes"]),
                    "python_bytes_each": round(traced["bytes"]),
                }
            )
    return rows


def render(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table."""
    header = ["idle endpoints", "count", "process, bytes each", "Python, bytes each"]
    return markdown(header, [list(_line(row)) for row in rows])


def _line(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['subject']} ({row['loop']})"
    yield str(row["endpoints"])
    yield str(row["process_bytes_each"])
    yield str(row["python_bytes_each"])


async def _run(function: str, loop: str, count: int, *, traced: bool) -> dict[str, Any]:
    party = Party(f"subjects.idle:{function}", loop)
    command = worker(party, options={"count": count, "traced": traced})
    async with started(Command(command)) as child:
        return await child.read(_TIMEOUT)
