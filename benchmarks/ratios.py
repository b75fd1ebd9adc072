"""The ratios that this library aims at, and those that show how far it is from C.

On a shared machine only ratios taken in one run count. Each is taken round by round,
between two measurements that stood close together, and the median is given. What both
sides paid in CPU for each datagram is compared too: it does not change with who else
was on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

from .catalogue import MANY_PEERS, Scenario, from_sources
from .formatting import markdown
from .results import Results, Round, Row


class Key(NamedTuple):
    """One side of a ratio."""

    subject: str
    loop: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two sides to divide, and the goal, if any.

    Of receive and send the rates are divided, of echo the medians of the round trips,
    of a cost what each datagram took of the CPU.
    """

    scenario: Scenario
    top: Key
    bottom: Key
    goals: Mapping[int, float] = field(default_factory=dict)
    """What is aimed at, by bytes of payload."""
    is_cost: bool = False

    @property
    def smaller_is_better(self) -> bool:
        return self.is_cost or self.scenario == "echo"

    def is_reached(self, value: float, payload: int) -> bool:
        """Return whether *value* reaches the goal."""
        goal = self.goals[payload]
        return value <= goal if self.smaller_is_better else value >= goal

    def values(self, results: Results, payload: int) -> list[float]:
        """Return the ratio of each round; an empty list if a side is missing."""
        if self.is_cost:
            return self.cpu_values(results, payload)
        return self._compare(results, payload, _performance)

    def cpu_values(self, results: Results, payload: int) -> list[float]:
        """Return the ratio of what each datagram cost, of each round."""
        return self._compare(results, payload, Row.cpu)

    def _compare(
        self, results: Results, payload: int, value: Callable[[Row, Round], float]
    ) -> list[float]:
        top = results.row(self.scenario, *self.top, payload)
        bottom = results.row(self.scenario, *self.bottom, payload)
        if top is None or bottom is None:
            return []
        # One that failed in some round was left out from then on.
        pairs = zip(top.rounds, bottom.rounds, strict=False)
        compared = ((value(top, one), value(bottom, other)) for one, other in pairs)
        return [one / other for one, other in compared if other]


def _both(at_64: float, at_1200: float) -> dict[int, float]:
    return {64: at_64, 1200: at_1200}


def _ratios() -> Iterator[Ratio]:
    def ours(name: str, loop: str) -> Key:
        return Key(f"aioudp {name}", loop)

    def c(name: str) -> Key:
        return Key(f"C {name}", "none")

    own = {loop: Key("DatagramProtocol", loop) for loop in ("asyncio", "uvloop")}
    a, u = "asyncio", "uvloop"
    reading, writing = c("recvmmsg + UDP_GRO"), c("sendmmsg + UDP_SEGMENT")
    singly, to_many = "recv_many, no offload", f"send_many {MANY_PEERS}"
    blocking = Key("blocking socket", "none")

    yield Ratio("receive", ours("recv_many", u), reading, _both(0.8, 0.8))
    yield Ratio("receive", ours("recv", u), own[u], _both(6, 4))
    yield Ratio("receive", ours("recv", a), own[a], _both(60, 25))
    yield Ratio("receive", ours("drop-in", u), own[u], _both(4, 3))
    yield Ratio("receive", ours(singly, u), c("recvmmsg"), _both(0.9, 0.9))
    yield Ratio("send", ours("send(segment_size=)", u), writing, _both(0.7, 0.8))
    yield Ratio("send", ours("send_many", u), writing, _both(0.4, 0.5))
    many = c(f"sendmmsg {MANY_PEERS}")
    yield Ratio("send", ours(to_many, u), many, _both(0.85, 0.85))
    yield Ratio("send", ours("send", u), blocking, _both(0.85, 0.85))
    yield Ratio("send", ours("drop-in", a), own[a], _both(8, 6))
    yield Ratio("echo", ours("drop-in", u), own[u], _both(1.05, 1.05))
    yield Ratio("echo", ours("async for + send", u), own[u], _both(1.15, 1.15))
    one, most = (Key(from_sources(count), u) for count in (1, 10_000))
    yield Ratio("receive", most, one, _both(1.3, 1.3), is_cost=True)
    batch, objects = ours("recv_batch", u), ours("recv_many", u)
    yield Ratio("receive", batch, reading, _both(0.85, 0.9))
    yield Ratio("receive", batch, objects, _both(1.8, 1.2))
    relaying = c("relay + UDP_GRO + UDP_SEGMENT")
    yield Ratio("receive", ours("relay", u), relaying, _both(0.8, 0.8))
    batch, objects = (
        ours(f"{one}, in Python", u) for one in ("recv_batch", "recv_many")
    )
    yield Ratio("receive", batch, objects, _both(2, 1.5))
    told, all_there = ours("recv_messages", u), ours("recv_many", u)
    yield Ratio("receive", told, all_there, _both(0.5, 0.5))

    yield Ratio("echo", ours("async for + send", a), own[a], {64: 1.15})
    yield Ratio("send", ours("send(segment_size=)", u), own[u], {64: 20})
    for name in ("recv", "recv_many"):
        yield Ratio("receive", ours(f"{name}, in Python", u), ours(name, u))
        yield Ratio("receive", ours(f"{name}, in Python", u), own[u], {64: 1.5})
    for name in ("send(segment_size=)", "send_many"):
        yield Ratio("send", ours(f"{name}, in Python", u), ours(name, u))
    for name in ("recv", "recv_many", "drop-in, batches"):
        yield Ratio("receive", ours(name, a), reading)


RATIOS: Final = tuple(_ratios())


def render(results: Results, *, goals: bool = True) -> str:
    """Return a Markdown table of the ratios that *results* allow.

    Args:
        results: What to compare.
        goals: Show also what is aimed at, and whether it's reached.
    """
    aims = ["aim", "reached"] if goals else []
    header = ["ratio", "bytes", "median", "spread", *aims, "CPU"]
    lines = []
    for ratio in RATIOS:
        for payload in sorted({row.payload for row in results.rows}):
            values = ratio.values(results, payload)
            if values:
                cpu = ratio.cpu_values(results, payload)
                cells = _line(ratio, payload, values)
                lines.append([*(cells if goals else cells[:4]), _cpu(cpu)])
    return markdown(header, lines) if lines else "No two rows to compare."


def missed(results: Results) -> list[str]:
    """Return what *results* aim at and do not reach."""
    complaints = []
    for ratio in RATIOS:
        for payload in ratio.goals:
            values = ratio.values(results, payload)
            if values and not ratio.is_reached(median(values), payload):
                complaints.append(
                    f"{_title(ratio)}, {payload} bytes: {median(values):.2f}"
                )
    return complaints


def _line(ratio: Ratio, payload: int, values: list[float]) -> list[str]:
    aim = reached = ""
    if payload in ratio.goals:
        sign = "<=" if ratio.smaller_is_better else ">="
        aim = f"{sign} {ratio.goals[payload]:g}"
        reached = "yes" if ratio.is_reached(median(values), payload) else "no"
    spread = f"{min(values):.2f} - {max(values):.2f}"
    return [_title(ratio), str(payload), f"{median(values):.2f}", spread, aim, reached]


def _cpu(values: list[float]) -> str:
    # A clock that ticks coarsely may have seen nothing in a short round.
    return f"{median(values):.2f}" if values else "?"


def _title(ratio: Ratio) -> str:
    what: str = "echo p50" if ratio.scenario == "echo" else ratio.scenario
    what += ", CPU each" * ratio.is_cost
    return f"{what}: {_name(ratio.top)} / {_name(ratio.bottom)}"


def _name(key: Key) -> str:
    return key.subject if key.loop == "none" else f"{key.subject} ({key.loop})"


def _performance(row: Row, one: Round) -> float:
    return one.p50() if row.scenario == "echo" else row.rate(one)
