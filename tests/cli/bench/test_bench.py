"""``aioudp bench`` from end to end, and its server beside clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("click", reason="cannot: click: it is not installed")
pytest.importorskip("rich", reason="cannot: rich: it is not installed")

import aioudp
from aioudp.cli.bench import client as client_module
from aioudp.cli.bench import command, wire
from aioudp.cli.bench import server as server_module
from aioudp.cli.bench.client import Client
from aioudp.cli.bench.report import Report
from aioudp.cli.bench.sending import Plan
from aioudp.cli.bench.server import Server
from aioudp.cli.bench.wire import Kind
from aioudp.cli.running import INTERRUPTED

from ..conftest import Program

Start = Callable[..., Program]
LOCALHOST = "127.0.0.1"


# -- as its users run it


@pytest.mark.parametrize("options", [(), ("--segment-size", "500"), ("--rate", "500")])
def test_both_ends_on_one_machine(start: Start, options: tuple[str, ...]) -> None:
    """What was sent is received or lost, and both latencies are known."""
    program = start("bench", "--json", "--seconds", "0.2", "--flows", "2", *options)
    status, lines, errors = program.end()
    report = json.loads("\n".join(lines))

    assert (status, errors) == (0, [])
    assert report["sent"] > 0
    assert report["received"] + report["lost"] == report["sent"]
    assert report["duplicated"] == report["late"] == 0
    assert report["flows"] == 2
    assert report["probes_answered"] > 0
    assert report["round_trip_seconds"]["p50"] > 0
    assert report["one_way_seconds"]["p50"] > 0
    if "--rate" in options:
        assert report["sent"] == 100
        assert report["lost"] == 0


def test_a_table_for_people(start: Start) -> None:
    """It ends in one, on standard output."""
    status, lines, errors = start("bench", "--seconds", "0.1", "--rate", "100").end()

    assert (status, errors) == (0, [])
    text = "\n".join(lines)
    for line in ("sent", "received", "lost", "reordered", "jitter", "round trip p50"):
        assert line in text
    assert "p99" not in text  # of ten probes


@pytest.mark.parametrize(
    ("option", "directions"),
    [
        (None, ["to-server"]),
        ("--reverse", ["to-client"]),
        ("-R", ["to-client"]),
        ("--both", ["to-server", "to-client"]),
    ],
)
def test_directions(
    start: Start, option: str | None, directions: list[str], loop: str
) -> None:
    """Either end sends, or both do; each direction has its result."""
    given = [] if option is None else [option]
    pace = ("--rate", "500", "--seconds", "0.2", "--flows", "2", "--loop", loop)
    status, lines, errors = start("bench", "--json", *pace, *given).end()
    reports = [json.loads(line) for line in lines]

    assert (status, errors) == (0, [])
    assert [report["direction"] for report in reports] == directions
    for report in reports:
        assert (report["kind"], report["sent"], report["lost"]) == ("result", 100, 0)
        assert report["received"] == 100
        assert report["received_bytes"] == 100 * 1200
        assert report["one_way_seconds"]["p90"] > 0


@pytest.mark.parametrize("option", ["--reverse", "--both"])
def test_a_train_is_sent_back(start: Start, option: str) -> None:
    """The server sends trains, too."""
    pace = ("--segment-size", "400", "--rate", "1000", "--seconds", "0.1")
    status, lines, _ = start("bench", "--json", *pace, option).end()
    report = json.loads(lines[-1])

    assert status == 0
    assert (report["sent"], report["received"]) == (100, 100)


def test_a_line_per_interval(start: Start) -> None:
    """Each says how much was sent and received since the one before."""
    pace = ("--rate", "1000", "--seconds", "0.5", "--interval", "0.15")
    status, lines, errors = start("bench", *pace).end()
    end = lines.index("")

    assert (status, errors) == (0, [])
    assert end == 3
    for line in lines[:end]:
        assert re.fullmatch(
            r" +[\d.]+ - +[\d.]+ s  sent [\d,]+/s  received [\d,]+/s \([\d.]+ Mbit/s\)"
            r"  lost -?\d+ \([\d.]+%\)  jitter .*",
            line,
        ), line
    assert lines[end + 1].startswith("datagrams ")


def test_intervals_add_up(start: Start) -> None:
    """What they count is part of the result, in both directions."""
    pace = ("--rate", "1000", "--seconds", "0.5", "--interval", "0.1", "--both")
    status, lines, _ = start("bench", "--json", *pace).end()
    entries = [json.loads(line) for line in lines]

    assert status == 0
    for direction in ("to-server", "to-client"):
        *parts, whole = [one for one in entries if one["direction"] == direction]
        assert whole["kind"] == "result"
        assert {one["kind"] for one in parts} == {"interval"}
        assert len(parts) >= 3
        begins = [one["begin"] for one in parts]
        assert begins[1:] == [one["end"] for one in parts[:-1]]
        received = sum(
            one["received_per_second"] * (one["end"] - one["begin"]) for one in parts
        )
        assert 0 < round(received) <= whole["received"] == 500


@pytest.mark.parametrize("interval", ["0", "1"])
def test_no_interval(start: Start, interval: str) -> None:
    """None is printed for 0, nor one that would be the result."""
    pace = ("--rate", "100", "--seconds", "0.1", "--interval", interval)
    status, lines, _ = start("bench", "--json", *pace).end()

    assert (status, len(lines)) == (0, 1)


def test_two_machines(start: Start) -> None:
    """The server prints its address; the client gets it."""
    server = start("bench", "--server", "--host", LOCALHOST)
    port = server.port()
    options = ("--seconds", "0.1", "--rate", "200", "--json")
    for _ in range(2):  # one client after the other
        client = start("bench", "--client", LOCALHOST, "--port", str(port), *options)
        status, lines, errors = client.end()
        assert (status, errors) == (0, [])
        assert json.loads("\n".join(lines))["received"] == 20

    status, lines, errors = server.end(signum=signal.SIGINT)
    assert (status, lines) == (0, [])
    assert errors[-1].startswith("received ")
    assert errors[-1].endswith("ignored 0")


def test_nobody_there(start: Start) -> None:
    """One clear line, and status 1."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((LOCALHOST, 0))
        port = sock.getsockname()[1]
    program = start("bench", "--client", LOCALHOST, "--port", str(port))
    status, lines, errors = program.end()

    assert (status, lines) == (1, [])
    assert errors == [f"aioudp bench: {LOCALHOST}:{port}: nobody listens there"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--server", "--client", "x"),
        ("--client", "localhost"),
        ("--payload", "5"),
        ("--flows", "0"),
        ("--rate", "0"),
        ("--reverse", "--both"),
    ],
)
def test_options_that_make_no_sense(start: Start, arguments: tuple[str, ...]) -> None:
    """Status 2, and nothing is sent."""
    status, lines, _ = start("bench", *arguments).end()

    assert (status, lines) == (2, [])


# -- in this process


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Any]]:
    """Run a server on loopback; give it and its address."""
    async with aioudp.bind((LOCALHOST, 0)) as endpoint:
        server = Server(endpoint)
        task = asyncio.create_task(server.serve())
        try:
            yield server, endpoint.local_addr
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def measure(addr: Any, **plan: Any) -> Report:
    async with Client(addr, Plan(**{"seconds": 0.1, **plan})) as client:
        await client.start()
        await client.send()
        await client.finish()
        (report,) = await client.reports()
        return report


class Relay(asyncio.DatagramProtocol):
    """Passes datagrams on to a server, and does things to some of them."""

    def __init__(self, server: Any, change: Callable[[bytes], list[bytes]]) -> None:
        self.server = server
        self.change = change
        self.backs: dict[Any, asyncio.DatagramTransport] = {}
        self.forwarding: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.ensure_future(self.forward(data, addr))
        self.forwarding.add(task)
        task.add_done_callback(self.forwarding.discard)

    async def forward(self, data: bytes, addr: Any) -> None:
        if addr not in self.backs:
            relay = self

            class Back(asyncio.DatagramProtocol):
                def datagram_received(self, data: bytes, _: Any) -> None:
                    relay.transport.sendto(data, addr)

            back, _ = await aioudp.create_datagram_endpoint(
                Back, remote_addr=self.server
            )
            self.backs[addr] = back
        for each in self.change(data):
            self.backs[addr].sendto(each)

    def close(self) -> None:
        self.transport.close()
        for back in self.backs.values():
            back.close()


@asynccontextmanager
async def relaying(
    server: Any, change: Callable[[bytes], list[bytes]]
) -> AsyncIterator[Any]:
    transport, relay = await aioudp.create_datagram_endpoint(
        lambda: Relay(server, change), local_addr=(LOCALHOST, 0)
    )
    try:
        yield transport.get_extra_info("sockname")
    finally:
        relay.close()


async def test_what_is_lost_duplicated_and_reordered_is_reported() -> None:
    """Exactly that, datagram by datagram."""
    held: list[bytes] = []

    def change(data: bytes) -> list[bytes]:
        if not data.startswith(wire.DATA):
            return [data]
        number = wire.unpack_data(data)[2]
        if number % 10 == 1:
            return []  # lost
        if number % 10 == 2:
            return [data, data]  # duplicated
        if number % 10 == 3:
            held.append(data)
            return []
        if number % 10 == 4:
            return [data, held.pop()]  # reordered
        return [data]

    async with serving() as (_, server), relaying(server, change) as addr:
        report = await measure(addr, rate=1000.0, seconds=0.1, payload=64)

    assert report.sent == 100
    assert report.received is not None
    assert report.lost == 10
    assert report.received.duplicated == 10
    assert report.received.reordered == 10
    assert report.received.received_bytes == 100 * 64


async def test_requests_and_answers_may_get_lost() -> None:
    """Each is repeated; and an answer that comes twice does no harm."""
    seen: dict[int, int] = {}

    def change(data: bytes) -> list[bytes]:
        header = wire.parse(data)
        assert header is not None
        if header.kind in (Kind.DATA, Kind.PROBE):
            return [data]
        seen[header.kind] = seen.get(header.kind, 0) + 1
        return [] if seen[header.kind] == 1 else [data, data]

    async with serving() as (_, server), relaying(server, change) as addr:
        report = await measure(addr, rate=100.0)

    assert seen.keys() == {Kind.HELLO, Kind.START, Kind.FINISH}
    assert all(count >= 2 for count in seen.values())
    assert report.received is not None
    assert (report.received.received, report.lost) == (report.sent, 0)


async def test_no_more_goes_to_an_address_than_came_from_it() -> None:
    """Until it has shown that it receives, whatever is asked."""
    requests = [
        wire.pack(Kind.HELLO, 1) + bytes(extra) for extra in (0, 1, 15, 16, 17, 500)
    ]
    requests += [wire.pack(kind, 1) + bytes(40) for kind in Kind]
    requests += [b"", b"x", wire.MAGIC, wire.pack(Kind.PROBE, 1)]
    async with serving() as (_, addr), aioudp.connect(addr) as endpoint:
        for request in requests:
            before = endpoint.stats().received_bytes
            await endpoint.send(request)
            await endpoint.send(last := wire.pack(Kind.PROBE, 99, number=len(request)))
            while (await endpoint.recv()).data != last:
                pass
            got = endpoint.stats().received_bytes - before - len(last)
            assert got <= len(request), request


async def test_a_stolen_token_is_worth_nothing_elsewhere() -> None:
    """It is a MAC of the address and the run."""
    async with serving() as (server, _):
        here, there = (LOCALHOST, 1000), (LOCALHOST, 1001)
        hello = wire.pack(Kind.HELLO, 7) + bytes(wire.TOKEN_SIZE)
        header = wire.parse(hello)
        assert header is not None
        welcome = server.answer_to(header, hello, here)
        assert welcome is not None
        token = welcome[wire.HEADER_SIZE :]
        plan = bytes(wire.MACHINE_SIZE) + json.dumps(Plan().as_json()).encode()
        start = wire.pack(Kind.START, 7, flow=1) + token + plan
        asked = wire.parse(start)
        assert asked is not None

        assert server.answer_to(asked, start, there) is None
        assert server.answer_to(asked._replace(run=8), start, here) is None
        assert server.answer_to(asked, start, here) is not None


async def test_what_is_not_understood_is_counted_and_ignored() -> None:
    """And serving goes on."""
    nonsense = [
        b"",
        b"hello",
        wire.DATA,
        wire.pack(Kind.DATA, 5),
        wire.pack(Kind.FINISH, 5) + bytes(wire.TOKEN_SIZE),
    ]
    async with serving() as (server, addr):
        async with aioudp.connect(addr) as endpoint:
            for data in nonsense:
                await endpoint.send(data)
            await endpoint.send(wire.pack(Kind.PROBE, 1))
            await endpoint.recv()
        report = await measure(addr, rate=100.0)

    assert server.ignored == len(nonsense)
    assert report.lost == 0


async def test_a_server_remembers_so_many_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No more, until some have been silent for long enough."""
    monkeypatch.setattr(server_module, "MAX_RUNS", 2)
    monkeypatch.setattr(client_module, "ATTEMPTS", 1)
    async with serving() as (_, addr):
        for _ in range(2):
            async with Client(addr, Plan()) as client:
                await client.start()
        async with Client(addr, Plan()) as client:
            with pytest.raises(TimeoutError):
                await client.start()

        monkeypatch.setattr(server_module, "FORGET_AFTER", -1.0)
        async with Client(addr, Plan()) as client:
            await client.start()


async def test_a_server_that_vanishes_costs_only_its_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client shows what it knows itself."""
    monkeypatch.setattr(client_module, "ATTEMPTS", 2)
    async with serving() as (_, addr):
        client = Client(addr, Plan(seconds=0.05, rate=100.0))
        await client.__aenter__()
        await client.start()
        await client.send()
    (report,) = await client.reports()
    await client.__aexit__()

    assert report.sent == 5
    assert report.received is None
    assert report.as_json()["lost"] is None


async def test_an_interrupted_run_shows_what_there_is() -> None:
    """Ctrl-C cancels it; the server is asked all the same."""
    async with serving() as (server, addr):
        plan = Plan(seconds=60.0, rate=1000.0)
        running = asyncio.create_task(command.measure(addr, plan))
        async with asyncio.timeout(10):
            while not any(run.bytes for run in server._runs.values()):  # noqa: ASYNC110
                await asyncio.sleep(0)
        running.cancel()
        (report,), status = await running

    assert status == INTERRUPTED
    assert report.received is not None
    assert report.sent is not None
    assert 0 < report.received.received == report.sent < 60_000


async def test_a_server_stops_sending_to_a_client_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have ended, or have lost its network."""
    monkeypatch.setattr(server_module, "SILENCE", 0.1)
    async with serving() as (server, addr):
        plan = Plan(seconds=60.0, rate=1000.0, direction="to-client")
        async with Client(addr, plan) as client:
            await client.start()
            sending = asyncio.create_task(client.send())
            (run,) = server._runs.values()
            async with asyncio.timeout(10):
                while run._sending is None:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                sending.cancel()  # and with it, the probes
                await run._sending

        assert 0 < run.result(aioudp.Stats())["sent"] < 60_000


async def test_nothing_is_sent_to_an_address_without_its_own_token() -> None:
    """A client that can receive can't have datagrams sent to another one."""
    async with serving() as (server, addr):
        plan = Plan(direction="to-client", rate=10.0)
        async with Client(addr, plan) as client:
            await client.start()
            victim = (LOCALHOST, 9)
            (number,) = server._runs
            run = server._runs[number]
            before = dict(run.peers)
            join = wire.pack(Kind.JOIN, number) + client._token
            header = wire.parse(join)
            assert header is not None

            assert server.answer_to(header, join, victim) is None
            assert run.peers == before


async def test_a_plan_that_is_none_is_ignored() -> None:
    """Whatever a client with a valid token asks for."""
    async with serving() as (server, _):
        here = (LOCALHOST, 1000)
        good = Plan().as_json()
        changes: list[dict[str, Any]] = [
            {"payload": 5},
            {"payload": 65_508},
            {"seconds": -1},
            {"seconds": float("nan")},
            {"rate": 0},
            {"rate": "fast"},
            {"trains": True, "payload": 40_000},
            {"direction": "sideways"},
            {"direction": []},
        ]
        for change in changes:
            hello = wire.pack(Kind.HELLO, 7) + bytes(wire.TOKEN_SIZE)
            header = wire.parse(hello)
            assert header is not None
            welcome = server.answer_to(header, hello, here)
            assert welcome is not None
            start = wire.pack(Kind.START, 7, flow=1) + welcome[wire.HEADER_SIZE :]
            wanted = json.dumps(good | change).encode()
            data = start + bytes(wire.MACHINE_SIZE) + wanted
            parsed = wire.parse(data)
            assert parsed is not None
            assert server.answer_to(parsed, data, here) is None, change


async def test_two_clocks_are_not_compared() -> None:
    """A client on another machine gets no one-way delays."""
    async with serving() as (server, addr):
        server._machine = b"another machine!"
        report = await measure(addr, rate=100.0)

    assert report.received is not None
    assert report.received.one_way is None
    assert report.as_json()["one_way_seconds"] is None
