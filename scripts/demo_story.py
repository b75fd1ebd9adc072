"""What aioudp is for, shown in five acts. Run by ``scripts/demo``.

Everything is done while you watch, on loopback addresses: no figure is stored.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import socket
import statistics
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import asyncio_dgram
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

import aioudp
from aioudp.testing.relay import LossyRelay
from benchmarks import harness, native
from benchmarks.catalogue import SUBJECTS, Subject
from benchmarks.parties import Parties, Pinning

HOST: Final = "127.0.0.1"
OURS: Final = "aioudp, await recv()"
console: Final = Console(highlight=False)


NEXT: Final = (
    (".venv/bin/aioudp", "--help"),
    (".venv/bin/python", "examples/echo_server.py"),
    (".venv/bin/python", "-m", "benchmarks", "run", "--quick"),
)


def act(number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/bold]\n")


def say(text: str) -> None:
    """Print a paragraph, in lines that are not too long to read."""
    console.print(
        textwrap.fill(text, 75, initial_indent="   ", subsequent_indent="   ")
    )


def outcome(who: str, what: str, *, good: bool) -> None:
    """Print one line: a name, and what became of it."""
    line = Text("   ")
    line.append(f"{who:<26}")
    line.append(what, style="green" if good else "red")
    console.print(line)


def show(*command: str) -> None:
    """Print a command as it would be typed."""
    console.print(Text(f"   $ {shlex.join(command)}", style="cyan"))


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; call what this yields after each of *total* steps."""
    columns = TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        auto_refresh=False,  # a thread of its own would disturb what is measured
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.update(task, advance=1, refresh=True)


# -- 1: a server and a client


async def started_server() -> tuple[asyncio.subprocess.Process, int]:
    """Start ``aioudp echo`` and return its port."""
    show("aioudp", "echo", f"{HOST}:0")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aioudp", "echo", f"{HOST}:0"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stderr is not None
    line = (await server.stderr.readline()).decode().strip()
    console.print(f"   {line}", markup=False)
    return server, int(line.rpartition(":")[2])


async def a_client(port: int) -> None:
    command = (
        "send",
        f"{HOST}:{port}",
        "hello, world",
        "one datagram each",
        "--wait",
        "0.5",
    )
    show("aioudp", *command)
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aioudp", *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await client.communicate()
    for line in printed.decode().splitlines():
        console.print(f"   {line}", markup=False)


# -- 2: a peer that dies


async def a_dead_peer(server: asyncio.subprocess.Process, port: int) -> None:
    server.kill()
    await server.wait()
    say("The server has just been killed. A client sends to it and awaits an answer:")

    async with aioudp.connect((HOST, port)) as endpoint:
        await report(OURS, endpoint.send, endpoint.recv)
    stream = await asyncio_dgram.connect((HOST, port))
    await report("asyncio-dgram", stream.send, stream.recv)
    stream.close()


async def report(
    who: str,
    send: Callable[[bytes], Awaitable[object]],
    recv: Callable[[], Awaitable[object]],
) -> None:
    begin = time.perf_counter()
    try:
        async with asyncio.timeout(1):
            await send(b"anybody there?")
            await recv()
    except TimeoutError:
        outcome(who, "still waiting after a second", good=False)
    except OSError as exc:
        elapsed = (time.perf_counter() - begin) * 1e3
        outcome(who, f"{type(exc).__name__} after {elapsed:.1f} ms", good=True)


# -- 3: a cancelled receive

DATAGRAMS: Final = 1000
DEADLINE: Final = 0.0005  # seconds: about what passes between two datagrams
SILENCE: Final = 100  # receives in a row that end without a datagram


def send_at_random(port: int) -> None:
    draw = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(DATAGRAMS):
            time.sleep(draw.uniform(0.0002, 0.0012))
            sock.sendto(b"%d" % number, (HOST, port))


async def count(receive: Callable[[], Awaitable[object]], port: int) -> int:
    """Return how many datagrams are received under a deadline that often passes."""
    received = silent = 0
    sender = threading.Thread(target=send_at_random, args=(port,))
    sender.start()
    while silent < SILENCE:  # counted, because a busy machine may stop us for long
        try:
            async with asyncio.timeout(DEADLINE):
                await receive()
        except TimeoutError:
            silent = 0 if sender.is_alive() else silent + 1
            continue
        received += 1
        silent = 0
    return received


def outcome_of_receives(who: str, received: int) -> None:
    lost = DATAGRAMS - received
    told = f", lost {lost:,}" if lost else ""
    outcome(who, f"received {received:,}{told}", good=not lost)


async def cancelled_receives() -> None:
    say(
        f"{DATAGRAMS:,} datagrams arrive while each receive has a deadline of half a "
        "millisecond. Often one arrives as the deadline passes:"
    )
    async with aioudp.bind((HOST, 0)) as endpoint:
        received = await count(endpoint.recv, endpoint.port)
    outcome_of_receives(OURS, received)

    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.setblocking(False)
        port = sock.getsockname()[1]
        received = await count(lambda: loop.sock_recvfrom(sock, 2048), port)
    outcome_of_receives("asyncio, sock_recvfrom()", received)


# -- 4: a bad network

REQUESTS: Final = 200


async def a_bad_network() -> None:
    say(
        f"{REQUESTS} requests cross a relay that loses 30 % of the datagrams each way, "
        "duplicates 10 % and reorders 20 %:"
    )
    async with (
        aioudp.serve(lambda data, addr: b"re: " + data, (HOST, 0)) as server,
        LossyRelay(
            (HOST, 0),
            server.local_addr,
            loss=0.3,
            duplicate=0.1,
            reorder=0.2,
            seed=1,
        ) as relay,
        aioudp.open_client(
            relay.local_addr, key=number_of, timeout=0.05, backoff=1.2, retries=20
        ) as client,
    ):
        with progress("requests answered", REQUESTS) as step:

            async def ask(number: int) -> bool:
                question = b"%d" % number
                answer = await client.request(question)
                step()
                return answer.data == b"re: " + question

            right = sum(await asyncio.gather(*map(ask, range(REQUESTS))))
        lost = relay.history.fates()["lost"]
        sent_again = client.stats().retransmitted
    result = f"{right} of {REQUESTS} requests got their own answer"
    outcome("aioudp, open_client()", result, good=right == REQUESTS)
    say(f"The relay lost {lost} datagrams, and the client sent {sent_again} again.")


def number_of(payload: bytes) -> bytes:
    """Return the number that a question and its answer have in common."""
    return payload.removeprefix(b"re: ")


# -- 5: speed

ROUNDS: Final = 3
RACERS: Final = {
    OURS: ("aioudp recv", "asyncio"),
    "uvloop protocol": ("DatagramProtocol", "uvloop"),
    "asyncio protocol": ("DatagramProtocol", "asyncio"),
    "asyncio-dgram": ("asyncio-dgram", "asyncio"),
}
LONE: Final = {
    "ours": ("aioudp async for + send", "asyncio"),
    "theirs": ("DatagramProtocol", "asyncio"),
}


def subject(scenario: str, name: str, loop: str) -> Subject:
    return next(
        one
        for one in SUBJECTS
        if (one.scenario, one.name, one.loop) == (scenario, name, loop)
    )


async def speed() -> None:
    receivers = {key: subject("receive", *one) for key, one in RACERS.items()}
    receivers = {
        key: one for key, one in receivers.items() if one.missing(compiler=True) is None
    }
    echoes = {key: subject("echo", *one) for key, one in LONE.items()}
    say("Each is flooded with datagrams of 64 bytes and receives as many as it can.")
    console.print()
    rates: dict[str, list[float]] = {key: [] for key in receivers}
    trips: dict[str, list[float]] = {key: [] for key in echoes}
    steps = ROUNDS * (len(rates) + len(trips))
    with native.built(wanted=True) as programs, progress("measuring", steps) as step:
        parties = Parties(programs, seconds=0.2, pinning=Pinning())
        for _ in range(ROUNDS):
            for key, one in receivers.items():
                measured = await harness.measure(parties, one, 64)
                rates[key].append(measured.received / measured.seconds)
                step()
            for key, one in echoes.items():
                measured = await harness.measure(parties, one, 64)
                trips[key].append(measured.p50_seconds or 0)
                step()
    bars({key: statistics.median(each) for key, each in rates.items()})
    ours, theirs = (statistics.median(trips[key]) * 1e6 for key in ("ours", "theirs"))
    console.print()
    say(
        "One datagram at a time leaves nothing to batch: there and back takes "
        f"{ours:.0f} us with aioudp, and {theirs:.0f} us with asyncio's protocol."
    )


def bars(rates: dict[str, float]) -> None:
    """Draw one bar for each rate, all to one scale."""
    width = 37
    longest = max(rates.values())
    for name, rate in rates.items():
        eighths = max(1, round(rate / longest * width * 8))
        bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        line = Text(f"   {name:<26}")
        line.append(f"{bar:<{width + 1}}", style="green" if name == OURS else "red")
        line.append(f"{rate:>11,.0f}/s")
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


async def main() -> None:
    act(1, "A server and a client")
    server, port = await started_server()
    try:
        await a_client(port)
        act(2, "A peer that dies")
        await a_dead_peer(server, port)
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
    act(3, "A receive that is cancelled")
    await cancelled_receives()
    act(4, "A bad network")
    await a_bad_network()
    act(5, "Received per second")
    await speed()
    console.print("\n[bold]Try it[/bold]\n")
    for command in NEXT:
        show(*command)


if __name__ == "__main__":
    asyncio.run(main())
