"""Requests and their answers on a bad network, where every time is exact.

The clock of the simulation jumps, so a minute of retries takes milliseconds, and the
history of the network says when each datagram left and arrived. The laws are exact:

* A request returns its own answer, in the instant in which the first one arrives.
* It's repeated after its wait, never earlier or later, and never once it is answered.
* Without an answer it ends with its last wait. Then the client remembers nothing of it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from itertools import pairwise
from typing import Any, Final

import pytest

import aioudp
from aioudp import testing
from aioudp.testing import SimulatedNetwork

SERVER: Final = ("10.0.0.1", 9999)
CLIENT: Final = "10.0.0.2"
TIMEOUT: Final = 1.0
RETRIES: Final = 4
JITTER: Final = 0.1
REQUESTS: Final = 20
SEEDS: Final = 30

BAD: Final[dict[str, Any]] = {
    "loss": 0.3,
    "delay": 0.05,
    "jitter": 0.4,
    "duplicate": 0.1,
    "reorder": 0.1,
}


def number_of(data: bytes) -> int:
    """Return the id of a question or an answer."""
    number: int = struct.unpack_from("!I", data)[0]
    return number


def question(number: int) -> bytes:
    return struct.pack("!I", number) + b" is asked"


def answer_to(data: bytes) -> bytes:
    return data[:4] + b" is answered"


def answer(data: bytes, addr: Any) -> bytes:
    return answer_to(data)


async def ask(client: aioudp.Client, number: int) -> tuple[bytes | None, float, float]:
    """Return the answer, if any, and when the call began and ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        data, addr = await client.request(question(number), SERVER)
    except aioudp.RequestTimeoutError:
        return None, began, loop.time()
    assert addr == SERVER
    return data, began, loop.time()


async def keep_the_laws(net: SimulatedNetwork, key: Any) -> None:
    """Ask many times at once, and compare the outcome with the history."""
    async with (
        net.serve(answer, SERVER),
        net.open_client(
            key=key,
            timeout=TIMEOUT,
            retries=RETRIES,
            jitter=JITTER,
            local_addr=(CLIENT, 0),
        ) as client,
    ):
        outcomes = await asyncio.gather(*(ask(client, one) for one in range(REQUESTS)))
        stats = client.stats()
        nothing_is_left(client)
        await asyncio.sleep(100)  # what is still on its way arrives
        nothing_is_left(client)

    sent: dict[int, list[float]] = {one: [] for one in range(REQUESTS)}
    answered: dict[int, list[float]] = {one: [] for one in range(REQUESTS)}
    for flight in net.history:
        if flight.destination == SERVER and not flight.copy:
            sent[number_of(flight.data)].append(flight.sent_at)
        elif flight.source == SERVER and flight.fate == "delivered":
            assert flight.arrived_at is not None
            answered[number_of(flight.data)].append(flight.arrived_at)

    answers = measured = 0
    for number, (data, _, ended) in enumerate(outcomes):
        times = sent[number]
        waits = [later - earlier for earlier, later in pairwise([*times, ended])]
        last = waits.pop()
        for transmission, wait in enumerate(waits):
            assert is_wait(transmission, wait), (number, waits)
        if data is None:
            assert len(times) == 1 + RETRIES
            assert is_wait(RETRIES, last)
            assert all(arrived > ended - 1e-9 for arrived in answered[number])
            continue
        assert data == answer_to(question(number))
        assert min(answered[number]) == pytest.approx(ended, abs=1e-9)
        answers += 1
        measured += len(times) == 1
    assert stats.requests == REQUESTS
    assert (stats.answered, stats.timed_out) == (answers, REQUESTS - answers)
    assert stats.retransmitted == sum(map(len, sent.values())) - REQUESTS
    assert stats.round_trips == measured
    assert stats.round_trip_time <= measured * TIMEOUT * (1 + JITTER)


def is_wait(transmission: int, wait: float) -> bool:
    """Say whether the schedule has such a wait after so many transmissions."""
    shortest = TIMEOUT * 2.0**transmission
    return shortest - 1e-9 <= wait <= shortest * (1 + JITTER) + 1e-9


def nothing_is_left(client: aioudp.Client) -> None:
    """Fail if a request has left a trace in the client."""
    assert (client.in_flight, client.waiting, len(client._turns)) == (0, 0, 0)
    for port in client._ports._ports:
        assert (len(port._table), port._table.times) == (0, 0)
        assert port._table.asked(SERVER) is None


def test_requests_on_a_bad_network() -> None:
    """Loss, duplicates and reordering: the laws above hold, whatever the seed."""
    failure = testing.explore(
        lambda net: keep_the_laws(net, number_of), seeds=SEEDS, processes=1, **BAD
    )

    assert failure is None, str(failure)


def test_requests_without_a_key_on_a_bad_network() -> None:
    """They hold without duplicates, which only an id can distinguish from answers."""
    faults = BAD | {"duplicate": 0.0}
    failure = testing.explore(
        lambda net: keep_the_laws(net, None), seeds=SEEDS, processes=1, **faults
    )

    assert failure is None, str(failure)


def test_the_network_was_bad() -> None:
    """Some requests are answered at once, some later, some never."""
    net = SimulatedNetwork(1, **BAD)
    testing.run(keep_the_laws(net, number_of))

    fates = net.history.fates()
    assert fates["lost"] > 10
    assert any(flight.copy for flight in net.history)
    assert any("held back" in flight.cause for flight in net.history)


def test_a_partition_that_heals() -> None:
    """The request is answered after the first repetition that gets through."""

    async def main() -> None:
        net = SimulatedNetwork(delay=0.05)
        loop = asyncio.get_running_loop()
        async with (
            net.serve(answer, SERVER),
            net.open_client(local_addr=(CLIENT, 0), jitter=0) as client,
        ):
            began = loop.time()
            with net.partition([SERVER[0]], [CLIENT]):
                waiting = asyncio.create_task(client.request(question(7), SERVER))
                await asyncio.sleep(2)
            data, _ = await waiting

            assert data == answer_to(question(7))
            # Sent after 0, 1 and 3 seconds, of which two are lost.
            assert loop.time() - began == pytest.approx(3 + 2 * 0.05)
            assert client.stats().retransmitted == 2
            assert net.history.fates()["cut off"] == 2

    testing.run(main())


async def ask_for_once(net: SimulatedNetwork) -> None:
    """Two clients ask with the same ids; the handler runs once for each."""
    handled: Counter[tuple[Any, int]] = Counter()

    def handler(data: bytes, addr: Any) -> bytes:
        handled[addr, number_of(data)] += 1
        return answer_to(data) + str(addr).encode()

    async def one(client: aioudp.Client, number: int) -> None:
        (local_addr,) = client._ports.local_addrs()
        try:
            data, _ = await client.request(question(number), SERVER)
        except aioudp.RequestTimeoutError:
            return
        assert data == answer_to(question(number)) + str(local_addr).encode()

    options: dict[str, Any] = {"key": number_of, "retries": 6}
    async with (
        net.serve(handler, SERVER, dedupe=number_of) as server,
        net.open_client(local_addr=(CLIENT, 0), **options) as client,
        net.open_client(local_addr=("10.0.0.3", 0), **options) as other,
    ):
        await asyncio.gather(
            *(one(each, number) for number in range(10) for each in (client, other))
        )
        await asyncio.sleep(100)
        stats = server.stats()

    assert max(handled.values()) == 1
    assert stats.requests == len(handled)
    arrived = sum(
        flight.destination == SERVER and flight.fate == "delivered"
        for flight in net.history
    )
    assert stats.requests + stats.duplicates == arrived
    assert stats.replies == arrived


def test_a_repeated_request_is_handled_once() -> None:
    """Every datagram is answered, the repeated ones with the first reply."""
    failure = testing.explore(ask_for_once, seeds=SEEDS, processes=1, **BAD)

    assert failure is None, str(failure)


def test_a_request_is_remembered_for_247_seconds() -> None:
    """EXCHANGE_LIFETIME of RFC 7252, to the millisecond."""

    async def main() -> None:
        net = SimulatedNetwork()
        async with (
            net.serve(answer, SERVER, dedupe=number_of) as server,
            net.bind((CLIENT, 0)) as client,
        ):
            await client.send(question(1), SERVER)
            await asyncio.sleep(246.999)
            for handled in (1, 2):
                await client.send(question(1), SERVER)
                await asyncio.sleep(0.001)
                assert server.stats().requests == handled
            assert server.stats().duplicates == 1

    testing.run(main())
