"""Pure: the history as a sequence diagram, in SVG.

Each host is a vertical line, and time runs downwards. Each datagram is an arrow from
the moment it was sent to the moment it arrived. The arrow of a lost one ends in a
cross. Time isn't to scale: each event has a row of its own, with the seconds beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from .flight import Flight

_LANE: Final = 260  # pixels between two hosts
_LEFT: Final = 130  # to the first
_TOP: Final = 64
_STEP: Final = 26  # between two moments
_SHOWN: Final = 20  # characters of a payload that is text

_STYLE: Final = """
  text { font: 12px ui-monospace, monospace; fill: #1f2328; }
  .host { font-weight: 600; font-size: 13px; text-anchor: middle; }
  .time { fill: #59636e; font-size: 11px; text-anchor: end; }
  .life { stroke: #d1d9e0; stroke-width: 2; }
  .label { text-anchor: middle; }
  .halo { text-anchor: middle; stroke: #ffffff; stroke-width: 4px; }
  .arrow { stroke: #0969da; stroke-width: 1.5; fill: none; }
  .arrow.copy { stroke-dasharray: 5 3; }
  .arrow.lost, .cross { stroke: #cf222e; stroke-width: 1.5; fill: none; }
  .lost-label { fill: #cf222e; }
""".rstrip()


def diagram(flights: Sequence[Flight]) -> str:
    """Return an SVG of *flights*, oldest first."""
    hosts = _hosts(flights)
    moments = _moments(flights)
    width = _LEFT + _LANE * max(0, len(hosts) - 1) + 130
    height = _TOP + _STEP * (len(moments) + 1)
    columns = {host: _LEFT + _LANE * index for index, host in enumerate(hosts)}
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">'
        ),
        f"<style>{_STYLE}\n</style>",
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#0969da"/>'
            "</marker></defs>"
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for host, x in columns.items():
        parts.append(f'<text class="host" x="{x}" y="28">{escape(host)}</text>')
        parts.append(f'<path class="life" d="M{x} 40V{height - 10}"/>')
    times: dict[int, float] = {}
    for index, flight in enumerate(flights):
        start = _TOP + _STEP * moments[index, "sent"]
        end = _TOP + _STEP * moments.get((index, "arrived"), moments[index, "sent"])
        times.setdefault(start, flight.sent_at)
        if flight.arrived_at is not None:
            times.setdefault(end, flight.arrived_at)
        parts += _arrow(flight, columns, start, end)
    parts += [
        f'<text class="time" x="60" y="{y + 4}">{time:.3f} s</text>'
        for y, time in sorted(times.items())
    ]
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _hosts(flights: Sequence[Flight]) -> list[str]:
    found: dict[str, None] = {}
    for flight in flights:
        found[flight.source[0]] = None
        found[flight.destination[0]] = None
    return list(found)


def _moments(flights: Sequence[Flight]) -> dict[tuple[int, str], int]:
    """Return the rows in which each datagram is sent and arrives."""
    events = []
    for index, flight in enumerate(flights):
        if not flight.copy:
            events.append((flight.sent_at, index, "sent"))
        if flight.arrived_at is not None and flight.arrived_at > flight.sent_at:
            events.append((flight.arrived_at, index, "arrived"))
    rows = {
        (index, what): row for row, (_, index, what) in enumerate(sorted(events), 1)
    }
    first: dict[int, int] = {}
    for index, flight in enumerate(flights):
        if flight.copy:  # it left when the original did
            rows[index, "sent"] = first.get(flight.number, 1)
        else:
            first[flight.number] = rows[index, "sent"]
    return rows


def _arrow(flight: Flight, columns: dict[str, int], start: int, end: int) -> list[str]:
    x, to = columns[flight.source[0]], columns[flight.destination[0]]
    label = escape(f"#{flight.number} {_beginning(flight.data)}")
    if flight.fate == "delivered":
        kind, note = "arrow copy" if flight.copy else "arrow", ""
        tip = ' marker-end="url(#tip)"'
    else:
        kind, note, tip = "arrow lost", f" {escape(flight.fate)}", ""
    if flight.arrived_at is None:  # it ends on its way
        to, end = x + (to - x) * 2 // 3, end + _STEP // 2
    if x == to:
        line = f"M{x} {start}h60V{end + _STEP // 2}h-60"
        middle = x + 60
    else:
        line = f"M{x} {start}L{to} {end}"
        middle = (x + to) // 2
    height = (start + end) // 2 - 5
    style = "label lost-label" if note else "label"
    place = f'x="{middle}" y="{height}"'
    parts = [
        f'<path class="{kind}" d="{line}"{tip}/>',
        f'<text class="halo" {place}>{label}{note}</text>',
        f'<text class="{style}" {place}>{label}{note}</text>',
    ]
    if note:
        parts.append(
            f'<path class="cross" d="M{to - 5} {end - 5}l10 10m0 -10l-10 10"/>'
        )
    return parts


def _beginning(data: bytes) -> str:
    """Return the beginning of a payload: as text if possible, else in hexadecimal."""
    if not data:
        return "empty"
    text = data[:_SHOWN].decode("ascii", "replace")
    if text.isprintable() and text.isascii():
        return text + ("..." if len(data) > _SHOWN else "")
    return data[:5].hex(" ") + ("..." if len(data) > 5 else "") + f" ({len(data)} B)"
