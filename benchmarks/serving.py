"""Servers under load, and clients: ``serve`` and ``request`` beside the same by hand.

A server is flooded with trains by a C program that reads its answers. A client talks to
a blocking socket that answers; for many requests in flight, to ``serve``. All subjects
of one kind are measured in turns, round by round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Final

from .formatting import markdown, microseconds, quantity
from .harness import READY_PATIENCE, RESULT_PATIENCE
from .parties import Parties, Party
from .processes import started
from .worker import MARK

PAYLOADS: Final = (64, 512, 1200)  # bytes, of the servers
REQUEST: Final = 64  # bytes
IN_FLIGHT: Final = 1000

_SERVERS: Final = {
    "serve": ("subjects.answering:serve", "uvloop"),
    "serve, coroutine function": ("subjects.answering:serve_async", "uvloop"),
    "recv_many + send_many": ("subjects.answering:by_hand", "uvloop"),
    "DatagramProtocol": ("subjects.answering:with_protocol", "uvloop"),
}

Rows = list[dict[str, Any]]


async def measure(
    parties: Parties, loops: list[str], rounds: int, done: Callable[[str], None]
) -> dict[str, Any]:
    """Return the rows of servers, of round trips, and of requests in flight."""
    servers: Rows = [
        {"subject": name, "loop": loop, "payload": payload, "rounds": []}
        for payload in PAYLOADS
        for name, (_, loop) in _SERVERS.items()
        if loop in loops
    ]
    trips: Rows = [{"loop": loop, "rounds": []} for loop in loops]
    flights: Rows = [{"loop": loop, "rounds": []} for loop in loops]
    for _ in range(rounds):
        for row in servers:
            row["rounds"].append(await _answer(parties, row))
            done(row["subject"])
        for row in trips:
            row["rounds"].append(await _round_trips(parties, row["loop"]))
            done("round trips")
        for row in flights:
            row["rounds"].append(await _in_flight(parties, row["loop"]))
            done("in flight")
    return {"servers": servers, "round_trips": trips, "in_flight": flights}


async def _answer(parties: Parties, row: dict[str, Any]) -> dict[str, Any]:
    """Flood one server."""
    target, loop = _SERVERS[row["subject"]]
    flood = Party("flood 1", "native")
    async with started(parties.listener(Party(target, loop))) as listening:
        port = (await listening.read(READY_PATIENCE))["port"]
        async with started(parties.talker(flood, port, row["payload"])) as talking:
            await talking.read(READY_PATIENCE)
            listening.go()
            talking.go()
            told = await talking.read(RESULT_PATIENCE + parties.seconds)
            listening.go()
            heard = await listening.read(RESULT_PATIENCE)
    return {
        "sent": told["datagrams"],
        "answers": told["received"],
        "answered": heard["datagrams"],
        "seconds": heard["seconds"],
        "cpu_seconds": heard["cpu_seconds"],
    }


async def _round_trips(parties: Parties, loop: str) -> dict[str, Any]:
    echo = Party("subjects.with_socket:echo", "none")
    client = Party("subjects.requesting:round_trips", loop)
    async with started(parties.listener(echo)) as listening:
        port = (await listening.read(READY_PATIENCE))["port"]
        await _mark(port)  # it answers from then on
        async with started(parties.talker(client, port, REQUEST)) as talking:
            await talking.read(READY_PATIENCE)
            talking.go()
            told = await talking.read(RESULT_PATIENCE + parties.seconds)
        await _mark(port)
        await listening.read(RESULT_PATIENCE)
    return told


async def _in_flight(parties: Parties, loop: str) -> dict[str, Any]:
    server = Party("subjects.answering:serve", loop)
    client = Party("subjects.requesting:in_flight", loop)
    async with started(parties.listener(server)) as listening:
        port = (await listening.read(READY_PATIENCE))["port"]
        command = parties.talker(client, port, REQUEST, {"most": IN_FLIGHT})
        async with started(command) as talking:
            await talking.read(READY_PATIENCE)
            listening.go()
            talking.go()
            told = await talking.read(RESULT_PATIENCE + parties.seconds)
            listening.go()
            await listening.read(RESULT_PATIENCE)
    return told


async def _mark(port: int) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    transport.sendto(b"m" * MARK)
    transport.close()


# -- ratios


class Claim:
    """A ratio, or a rate, with the value that is aimed at."""

    def __init__(
        self,
        title: str,
        values: list[float],
        aim: float,
        *,
        most: bool,
        cpu: float | None = None,
    ) -> None:
        self.title = title
        self.values = values
        self.cpu = cpu
        """The same ratio, of what each datagram cost in CPU time."""
        self.aim = aim
        self.most = most
        """Whether *aim* is the most that it should be, rather than the least."""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def reached(self) -> bool:
        return self.median <= self.aim if self.most else self.median >= self.aim


def claims(measured: dict[str, Any]) -> Iterator[Claim]:
    """Return what is aimed at, as far as it was measured."""
    for payload in PAYLOADS[:2]:
        for below, aim in (("recv_many + send_many", 0.8), ("DatagramProtocol", 5.0)):
            ours = _server(measured, "serve", payload)
            other = _server(measured, below, payload)
            if ours and other:
                yield Claim(
                    f"answers/s, {payload} bytes: serve / {below} (uvloop)",
                    [
                        _rate(one) / _rate(two)
                        for one, two in zip(ours, other, strict=True)
                    ],
                    aim,
                    most=False,
                    cpu=median(
                        _each(two) / _each(one)
                        for one, two in zip(ours, other, strict=True)
                    ),
                )
    for row in measured["round_trips"]:
        for request, by_hand in (
            ("request, connected", "send + recv, connected"),
            ("request", "send + recv"),
            ("request", "send + recv, icmp_errors"),
        ):
            values = [one[request] / one[by_hand] for one in row["rounds"]]
            title = f"round trip p50: {request} / {by_hand} ({row['loop']})"
            yield Claim(title, values, 1.25, most=True)
    for row in measured["in_flight"]:
        values = [one["datagrams"] / one["cpu_seconds"] for one in row["rounds"]]
        title = f"requests per second of CPU, {IN_FLIGHT:,} in flight ({row['loop']})"
        yield Claim(title, values, 20_000, most=False)


def _server(measured: dict[str, Any], name: str, payload: int) -> Rows:
    for row in measured["servers"]:
        if (row["subject"], row["payload"]) == (name, payload):
            rounds: Rows = row["rounds"]
            return rounds
    return []


def _each(one: dict[str, Any]) -> float:
    return float(one["cpu_seconds"] / max(1, one["answered"]))


def _rate(one: dict[str, Any]) -> float:
    return float(one["answered"] / one["seconds"])


# -- tables


def conditions(content: dict[str, Any]) -> str:
    """Return what the figures of a result file depend on, in a paragraph."""
    machine, measured = content["machine"], content["requests"]
    given = measured["conditions"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} "
        f"{machine['kernel']}, {machine['python']}, uvloop "
        f"{content['versions'].get('uvloop', '-')}; {content['date']}, commit "
        f"{content['commit']}. Medians of {given['rounds']} interleaved rounds of "
        f"{given['seconds_per_round']} s over loopback, on a machine that others use "
        "too. The servers are flooded by a C program that sends trains and reads the "
        "answers; *by CPU time* compares what an answer costs, which others disturb "
        f"less. The clients send {REQUEST} bytes to a blocking socket that answers, or "
        "to `serve` if many are in flight. A client without a `remote_addr` turns on "
        "`icmp_errors`, which a plain endpoint doesn't have, and pays for."
    )


def render(measured: dict[str, Any]) -> str:
    """Return the tables, in Markdown."""
    return "\n\n".join(
        (
            _claims_table(measured),
            _servers_table(measured),
            _trips_table(measured),
            _flights_table(measured),
        )
    )


def _claims_table(measured: dict[str, Any]) -> str:
    lines = []
    for one in claims(measured):
        spread = f"{_short(min(one.values))} - {_short(max(one.values))}"
        aim = f"{'<=' if one.most else '>='} {_short(one.aim)}"
        reached = "yes" if one.reached else "no"
        cpu = "" if one.cpu is None else _short(one.cpu)
        lines.append([one.title, _short(one.median), spread, aim, reached, cpu])
    header = ["ratio or rate", "median", "spread", "aim", "reached", "by CPU time"]
    return markdown(header, lines)


def _short(number: float) -> str:
    return quantity(number) if number >= 1000 else f"{number:.2f}"


def _servers_table(measured: dict[str, Any]) -> str:
    header = ["server", "bytes", "answers/s", "spread", "CPU each, us", "answers lost"]
    lines = []
    for row in measured["servers"]:
        rounds = row["rounds"]
        rates = [_rate(one) for one in rounds]
        each = median(map(_each, rounds))
        lost = sum(max(0, one["answered"] - one["answers"]) for one in rounds)
        answered = sum(one["answered"] for one in rounds)
        lines.append(
            [
                f"{row['subject']} ({row['loop']})",
                str(row["payload"]),
                quantity(median(rates)),
                f"{quantity(min(rates))} - {quantity(max(rates))}",
                microseconds(each),
                f"{lost / max(1, answered):.1%}",
            ]
        )
    return markdown(header, lines)


def _trips_table(measured: dict[str, Any]) -> str:
    loops = [row["loop"] for row in measured["round_trips"]]
    rounds = [row["rounds"] for row in measured["round_trips"]]
    ours = ("seconds", "cpu_seconds", "datagrams")
    names = [name for name in rounds[0][0] if name not in ours] if rounds else []
    lines = [
        [name, *(microseconds(median(one[name] for one in those)) for those in rounds)]
        for name in names
    ]
    return markdown(["round trip p50, us", *loops], lines)


def _flights_table(measured: dict[str, Any]) -> str:
    lines = []
    for row in measured["in_flight"]:
        rounds = row["rounds"]
        rates = [one["datagrams"] / one["seconds"] for one in rounds]
        each = median(one["cpu_seconds"] / one["datagrams"] for one in rounds)
        again = sum(one["retransmitted"] for one in rounds)
        lines.append(
            [row["loop"], quantity(median(rates)), microseconds(each), f"{again:,}"]
        )
    header = [f"{IN_FLIGHT:,} requests in flight", "answered/s", "CPU each, us"]
    return markdown([*header, "retransmitted"], lines)
