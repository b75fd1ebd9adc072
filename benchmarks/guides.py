"""Tables for readers of the documentation: what to expect, and what each knob brings.

What to expect is rates, of the published results. What a knob brings is compared by the
CPU time per datagram, because that changes little with who else was on the machine.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .catalogue import MANY_PEERS, Scenario, from_sources
from .formatting import markdown, microseconds
from .results import Results
from .tables import headline

_PAYLOADS: Final = (64, 1200)  # bytes
_LOOPS: Final = ("asyncio", "uvloop")

_EXPECTED: Final[tuple[tuple[str, Scenario, str], ...]] = (
    ("receive: `recv_batch`", "receive", "aioudp recv_batch"),
    ("receive: `recv_many`", "receive", "aioudp recv_many"),
    ("receive: `recv`, `async for`", "receive", "aioudp recv"),
    ("receive: your `DatagramProtocol` on our transport", "receive", "aioudp drop-in"),
    ("receive: the same on the loop's transport", "receive", "DatagramProtocol"),
    ("send: `segment_size=`", "send", "aioudp send(segment_size=)"),
    ("send: `send_many`", "send", "aioudp send_many"),
    ("send: `send_many` to 1,000 peers", "send", f"aioudp send_many {MANY_PEERS}"),
    ("send: `send`", "send", "aioudp send"),
    ("send: `sendto` of our transport", "send", "aioudp drop-in"),
    ("send: `sendto` of the loop's transport", "send", "DatagramProtocol"),
    ("round trip: `async for` and `send`, us", "echo", "aioudp async for + send"),
    ("round trip: the loop's transport, us", "echo", "DatagramProtocol"),
)


class Knob(NamedTuple):
    """Two ways to do the same: before and after turning a knob."""

    title: str
    scenario: Scenario
    before: str
    after: str
    loops: tuple[str, str] = ("uvloop", "uvloop")


_KNOBS: Final = (
    Knob("`recv` → `recv_many`", "receive", "aioudp recv", "aioudp recv_many"),
    Knob(
        "`recv_many` → `recv_batch`",
        "receive",
        "aioudp recv_many",
        "aioudp recv_batch",
    ),
    Knob("`send` → `send_many`", "send", "aioudp send", "aioudp send_many"),
    Knob(
        "`send_many` → `segment_size=`",
        "send",
        "aioudp send_many",
        "aioudp send(segment_size=)",
    ),
    Knob(
        "`DatagramProtocol`: asyncio's transport → ours",
        "receive",
        "DatagramProtocol",
        "aioudp drop-in",
        ("asyncio", "asyncio"),
    ),
    Knob(
        "`DatagramProtocol`: uvloop's transport → ours",
        "receive",
        "DatagramProtocol",
        "aioudp drop-in",
    ),
    Knob(
        "`datagram_received` → `datagrams_received`",
        "receive",
        "aioudp drop-in",
        "aioudp drop-in, batches",
    ),
    Knob(
        "asyncio → uvloop, `recv_many`",
        "receive",
        "aioudp recv_many",
        "aioudp recv_many",
        ("asyncio", "uvloop"),
    ),
    Knob(
        "asyncio → uvloop, one datagram and its reply",
        "echo",
        "aioudp async for + send",
        "aioudp async for + send",
        ("asyncio", "uvloop"),
    ),
    Knob(
        "`offload=False` → `True`, a sender of trains",
        "receive",
        "aioudp recv_many, no offload",
        "aioudp recv_many",
    ),
    Knob(
        "batch I/O in Python → compiled, `recv_many`",
        "receive",
        "aioudp recv_many, in Python",
        "aioudp recv_many",
    ),
    Knob(
        "`packet_info=False` → `True`, many at a time",
        "receive",
        "aioudp recv_many",
        "aioudp recv_messages",
    ),
    Knob(
        "1 sender → 10,000 senders, no trains",
        "receive",
        from_sources(1),
        from_sources(10_000),
    ),
)


def what_to_expect(results: Results) -> str:
    """Return the table of rates, without rows that weren't measured."""
    header = ["per second, on one core"]
    header += [f"{loop}, {payload} bytes" for payload in _PAYLOADS for loop in _LOOPS]
    lines = []
    for title, scenario, subject in _EXPECTED:
        cells = [
            headline(results, scenario, subject, loop, payload)
            for payload in _PAYLOADS
            for loop in _LOOPS
        ]
        if any(cells):
            lines.append([title, *cells])
    machine = results.machine
    return (
        f"{markdown(header, lines)}\n\n"
        f"Measured over loopback on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['system']} {machine['kernel']}, {machine['python']}, uvloop "
        f"{results.versions.get('uvloop', '-')}: medians of "
        f"{results.conditions['rounds']} rounds. The other core had the peer, a C "
        "program."
    )


def what_knobs_bring(results: Results) -> str:
    """Return the table of knobs, without rows that weren't measured."""
    header = ["knob"]
    header += [f"us of CPU each, {payload} bytes" for payload in _PAYLOADS]
    lines = []
    for knob in _KNOBS:
        cells = [_brought(results, knob, payload) for payload in _PAYLOADS]
        if any(cells):
            lines.append([knob.title, *cells])
    return markdown(header, lines)


def _brought(results: Results, knob: Knob, payload: int) -> str:
    before, after = (
        results.row(knob.scenario, subject, loop, payload)
        for subject, loop in zip((knob.before, knob.after), knob.loops, strict=True)
    )
    if before is None or after is None or not before.rounds or not after.rounds:
        return ""
    first, second = (row.spread(row.cpu).median for row in (before, after))
    costs = f"{microseconds(first)} → {microseconds(second)}"
    return f"{costs}: {_factor(first / second)}"


def _factor(ratio: float) -> str:
    """Return how much less it costs, or how much more."""
    less = max(ratio, 1 / ratio)
    if less < 1.05:
        return "the same"
    number = f"{less:.1f}" if less < 10 else f"{less:.0f}"
    return f"{number} x {'less' if ratio > 1 else 'more'}"
