"""iperf3 -u, a yardstick that everybody has: single datagrams, as fast as it can.

It is client and server at once and speaks a protocol of its own over TCP besides, so
it cannot stand among the other subjects. One server process for each measurement.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from .formatting import markdown, quantity
from .worker import HOST

_PATIENCE: Final = 10.0  # seconds, besides the measurement


def missing() -> str | None:
    """Return why it cannot run here, or ``None`` if it can."""
    return None if shutil.which("iperf3") else "iperf3 is not installed"


def measure(
    payloads: Sequence[int], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Send datagrams of each size in turn, *rounds* times."""
    rows: dict[int, list[dict[str, Any]]] = {payload: [] for payload in payloads}
    for _ in range(rounds):
        for payload in payloads:
            rows[payload].append(_measure(payload, seconds))
    return [{"payload": payload, "rounds": rows[payload]} for payload in payloads]


def render(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table."""
    lines = []
    for row in rows:
        rates = [one["sent"] / one["seconds"] for one in row["rounds"]]
        sent, lost = (
            sum(one[key] for one in row["rounds"]) for key in ("sent", "lost")
        )
        spread = f"{quantity(min(rates))} - {quantity(max(rates))}"
        share = f"{lost / max(1, sent):.1%}"
        lines.append([str(row["payload"]), quantity(median(rates)), spread, share])
    return markdown(["iperf3 -u, bytes", "datagrams/s", "spread", "lost"], lines)


def _measure(payload: int, seconds: float) -> dict[str, Any]:
    with socket.socket() as probe:  # iperf3 cannot choose a port by itself
        probe.bind((HOST, 0))
        port = str(probe.getsockname()[1])
    at = ("-p", port, "--json")
    with subprocess.Popen(
        ["iperf3", "-s", "-1", "-B", HOST, *at], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            length = ("-l", str(payload), "-t", str(seconds))
            told = _ask(["iperf3", "-c", HOST, "-u", "-b", "0", *length, *at], seconds)
        finally:
            server.terminate()
            server.communicate()
    total = told["end"]["sum"]
    return {
        "sent": total["packets"],
        "lost": total["lost_packets"],
        "seconds": total["seconds"],
    }


def _ask(command: list[str], seconds: float) -> dict[str, Any]:
    """Run the client; try again while the server does not listen yet."""
    for _ in range(100):
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_PATIENCE + seconds,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        if "error" not in told:
            return told
        if "refused" not in told["error"]:
            break
    raise RuntimeError(told["error"])
