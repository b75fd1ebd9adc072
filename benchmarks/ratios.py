"""The ratios that this library promises, and those that show how far it is from C.

On a shared machine only ratios taken in one run count. Each is taken round by round,
between two measurements that stood close together, and the median is given. What both
sides paid in CPU for each datagram is compared too: it does not change with who else
was on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from .catalogue import Scenario
from .formatting import markdown
from .results import Results, Round, Row

PROMISED_PAYLOAD: Final = 64
"""The payload, in bytes, that the promises are about."""


class Key(NamedTuple):
    """One side of a ratio."""

    subject: str
    loop: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """What is divided by what, and the bound that is promised, if any.

    Of receive and send the rates are divided, of echo the medians of the round trips.
    """

    scenario: Scenario
    top: Key
    bottom: Key
    promise: float | None = None

    def is_kept(self, value: float) -> bool:
        """Tell whether *value* is within the promise."""
        assert self.promise is not None
        return (
            value <= self.promise if self.scenario == "echo" else value >= self.promise
        )

    def values(self, results: Results, payload: int) -> list[float]:
        """Return the ratio of each round; an empty list if a side is missing."""
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


def _ratios() -> Iterator[Ratio]:
    asyncio, uvloop = (
        Key("DatagramProtocol", "asyncio"),
        Key("DatagramProtocol", "uvloop"),
    )
    recv, recv_many, echo = "aioudp recv", "aioudp recv_many", "aioudp async for + send"
    send, send_many = "aioudp send", "aioudp send_many"
    segments = "aioudp send(segment_size=)"
    yield Ratio("receive", Key(recv, "asyncio"), asyncio, promise=25)
    yield Ratio("receive", Key(recv, "uvloop"), uvloop, promise=1.5)
    yield Ratio("send", Key(segments, "asyncio"), uvloop, promise=20)
    yield Ratio("send", Key(segments, "uvloop"), uvloop, promise=20)
    yield Ratio("echo", Key(echo, "asyncio"), asyncio, promise=1.15)
    yield Ratio("echo", Key(echo, "uvloop"), uvloop, promise=1.15)
    yield Ratio("send", Key(send, "asyncio"), asyncio)
    yield Ratio("send", Key(send, "uvloop"), uvloop)
    for loop in ("asyncio", "uvloop"):
        yield Ratio("receive", Key(recv, loop), Key("C recvmmsg", "none"))
        ceiling = Key("C recvmmsg + UDP_GRO", "none")
        yield Ratio("receive", Key(recv_many, loop), ceiling)
        ceiling = Key("C sendmmsg + UDP_SEGMENT", "none")
        yield Ratio("send", Key(segments, loop), ceiling)
        yield Ratio("send", Key(send_many, loop), Key("C sendmmsg", "none"))


RATIOS: Final = tuple(_ratios())


def render(results: Results) -> str:
    """Return a Markdown table of the ratios that *results* allow."""
    header = ["ratio", "bytes", "median", "spread", "promise", "kept", "CPU"]
    lines = []
    for ratio in RATIOS:
        for payload in sorted({row.payload for row in results.rows}):
            values = ratio.values(results, payload)
            if values:
                cpu = ratio.cpu_values(results, payload)
                lines.append([*_line(ratio, payload, values), _cpu(cpu)])
    return markdown(header, lines) if lines else "No two rows to compare."


def broken(results: Results) -> list[str]:
    """Return what *results* promise and do not keep."""
    complaints = []
    for ratio in RATIOS:
        values = ratio.values(results, PROMISED_PAYLOAD)
        if ratio.promise is not None and values and not ratio.is_kept(median(values)):
            complaints.append(f"{_title(ratio)}: {median(values):.2f}")
    return complaints


def _line(ratio: Ratio, payload: int, values: list[float]) -> list[str]:
    promise = kept = ""
    if ratio.promise is not None and payload == PROMISED_PAYLOAD:
        promise = f"{'<=' if ratio.scenario == 'echo' else '>='} {ratio.promise:g}"
        kept = "yes" if ratio.is_kept(median(values)) else "no"
    spread = f"{min(values):.2f} - {max(values):.2f}"
    return [_title(ratio), str(payload), f"{median(values):.2f}", spread, promise, kept]


def _cpu(values: list[float]) -> str:
    # A clock that ticks coarsely may have seen nothing in a short round.
    return f"{median(values):.2f}" if values else "?"


def _title(ratio: Ratio) -> str:
    what = "echo p50" if ratio.scenario == "echo" else ratio.scenario
    return f"{what}: {_name(ratio.top)} / {_name(ratio.bottom)}"


def _name(key: Key) -> str:
    return key.subject if key.loop == "none" else f"{key.subject} ({key.loop})"


def _performance(row: Row, one: Round) -> float:
    return one.p50() if row.scenario == "echo" else row.rate(one)
