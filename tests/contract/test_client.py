"""Requests: what counts as an answer, when they are sent again, how they end.

The file is long because a client has many rules for what counts as an answer.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

import aioudp
from aioudp._requests.ports import Ports
from aioudp._requests.table import Entry

from ..conftest import Endpoints, UntilBlocked
from .support import (
    FullPeer,
    linux_only,
    plain_socket,
    refusing_address,
    turns_until,
    unix_only,
)

_SOON: Final = 0.02  # seconds until a request is sent again
_LATER: Final = 15.0  # seconds; so that it is not

Answer = Callable[[aioudp.Endpoint, bytes, Any, int], Awaitable[None]]


def number_of(data: bytes) -> int:
    """Return the id of a question or an answer; raise on what is too short."""
    number: int = struct.unpack_from("!I", data)[0]
    return number


def question(number: int) -> bytes:
    return struct.pack("!I", number) + b" is asked"


def answer_to(data: bytes) -> bytes:
    return data[:4] + b" is answered"


async def answer(
    endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
) -> None:
    await endpoint.send(answer_to(data), addr)


class Peer:
    """Answers what it is asked, and keeps what that was."""

    def __init__(self, endpoint: aioudp.Endpoint, respond: Answer) -> None:
        self.endpoint = endpoint
        self.addr: Any = endpoint.local_addr
        self.asked: list[aioudp.Datagram] = []
        self.respond = respond
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        async for datagram in self.endpoint:
            self.asked.append(datagram)
            await self.respond(self.endpoint, *datagram, len(self.asked))


@asynccontextmanager
async def peer(endpoints: Endpoints, respond: Answer = answer) -> AsyncIterator[Peer]:
    server = Peer(await endpoints.bind(), respond)
    yield server
    await server.endpoint.aclose()
    await server.task


@pytest.fixture(params=["connected", "unconnected"])
def connected(request: pytest.FixtureRequest) -> bool:
    """Return whether the client has one peer."""
    return bool(request.param == "connected")


class Clients:
    """Opens clients on one transport, and asks whichever way they ask."""

    def __init__(
        self, transport: aioudp.TransportKind, host: str, connected: bool
    ) -> None:
        self._transport = transport
        self._host = host
        self._connected = connected

    @asynccontextmanager
    async def open(self, server: Any, **options: Any) -> AsyncIterator[Ask]:
        remote = server if self._connected else None
        local = None if self._connected else (self._host, 0)
        async with aioudp.open_client(
            remote, local_addr=local, transport=self._transport, **options
        ) as client:
            yield Ask(client, None if self._connected else server)


class Ask:
    """A client, and how it names the server."""

    def __init__(self, client: aioudp.Client, addr: Any) -> None:
        self.client = client
        self.addr = addr

    async def __call__(self, data: bytes, **options: Any) -> aioudp.Datagram:
        return await self.client.request(data, self.addr, **options)

    def stats(self) -> aioudp.ClientStats:
        return self.client.stats()


@pytest.fixture
def clients(transport: aioudp.TransportKind, host: str, connected: bool) -> Clients:
    return Clients(transport, host, connected)


def nothing_is_left(client: aioudp.Client) -> bool:
    """Say whether no request has left a trace in the client."""
    return (
        client.in_flight == 0
        and client.waiting == 0
        and len(client._turns) == 0
        and all(len(port._table) == 0 for port in client._ports._ports)
        and all(port._table.times == 0 for port in client._ports._ports)
    )


# -- what is an answer


@pytest.mark.parametrize("key", [None, number_of], ids=["no key", "key"])
async def test_answer(endpoints: Endpoints, clients: Clients, key: Any) -> None:
    """It is returned with the address of who was asked, and counted."""
    async with peer(endpoints) as server, clients.open(server.addr, key=key) as ask:
        for number in (1, 2):
            data, addr = await ask(question(number), timeout=_LATER)

            assert data == answer_to(question(number))
            assert addr == server.addr
        stats = ask.stats()
        assert (stats.requests, stats.answered, stats.retransmitted) == (2, 2, 0)
        assert stats.round_trips == 2
        assert 0 < stats.round_trip_time < _LATER
        assert stats.endpoint.sent == stats.endpoint.received == 2
        assert nothing_is_left(ask.client)


async def test_many_at_once(endpoints: Endpoints, clients: Clients) -> None:
    """Each gets its own answer, whatever the order."""

    async def shuffle(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        waiting.append((answer_to(data), addr))
        if number == 100:
            random.Random(1).shuffle(waiting)
            await endpoint.send_many(waiting)

    waiting: list[tuple[bytes, Any]] = []
    async with (
        peer(endpoints, shuffle) as server,
        clients.open(server.addr, key=number_of, timeout=_LATER) as ask,
    ):
        answers = await asyncio.gather(*(ask(question(one)) for one in range(100)))

        assert [data for data, _ in answers] == [
            answer_to(question(one)) for one in range(100)
        ]
        assert nothing_is_left(ask.client)


async def test_what_is_no_answer_is_ignored(
    endpoints: Endpoints, clients: Clients, host: str, connected: bool
) -> None:
    """Of 1,000 forged ones before the right one, each is counted. R01, R02."""

    async def forge(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        for _ in range(250):
            stranger.sendto(answer_to(data), addr)  # from a wrong source
            await endpoint.send(answer_to(question(8)), addr)  # with a wrong id
            await endpoint.send(b"x", addr)  # malformed: the key function raises
            await endpoint.send(b"", addr)
            await asyncio.sleep(0)
        await endpoint.send(answer_to(data), addr)

    with plain_socket(host) as stranger:
        async with (
            peer(endpoints, forge) as server,
            clients.open(server.addr, key=number_of, timeout=_LATER) as ask,
        ):
            data, addr = await ask(question(7))

            assert (data, addr) == (answer_to(question(7)), server.addr)
            stats = ask.stats()
            assert (stats.malformed, stats.unmatched) == (500, 250)
            # A connected socket does not hear strangers at all.
            assert stats.strangers == (0 if connected else 250)
            assert stats.endpoint.received == 1 + 750 + stats.strangers


@pytest.mark.parametrize("bad", ["raises", "is cancelled", "is not hashable"])
async def test_key_that_fails_on_an_answer(
    endpoints: Endpoints, clients: Clients, bad: str
) -> None:
    """It costs that datagram, and nothing else."""

    def key(data: bytes) -> Any:
        if data == b"garbage":
            if bad == "is cancelled":  # by a future that it looked at
                raise asyncio.CancelledError
            return [] if bad == "is not hashable" else data[1000]
        return number_of(data)

    async def garbage_first(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        await endpoint.send(b"garbage", addr)
        await endpoint.send(answer_to(data), addr)

    async with (
        peer(endpoints, garbage_first) as server,
        clients.open(server.addr, key=key, timeout=_LATER) as ask,
    ):
        assert (await ask(question(1))).data == answer_to(question(1))
        assert ask.stats().malformed == 1


async def test_a_late_duplicate_is_no_answer_to_the_next(
    endpoints: Endpoints, clients: Clients
) -> None:
    """With a key, by its id. Without one, because the next request has a new port."""

    async def late(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        if number == 2:  # the first was sent again: now it is answered twice
            await endpoint.send(b"first", server.asked[0].addr)
        if number == 3:
            await endpoint.send(b"first", server.asked[0].addr)
            await endpoint.send(b"second", addr)

    async with (
        peer(endpoints, late) as server,
        clients.open(server.addr, timeout=_SOON, retries=9) as ask,
    ):
        assert (await ask(b"one?")).data == b"first"
        assert (await ask(b"two?", timeout=_LATER)).data == b"second"

        ports = [asked.addr[1] for asked in server.asked]
        assert ports[0] == ports[1] != ports[2]
        assert len(ask.client._ports._ports) == 1
        assert ask.stats().endpoint.sent == 3


@pytest.mark.parametrize("end", ["timeout", "cancelled"])
async def test_a_request_without_key_that_was_given_up(
    endpoints: Endpoints, clients: Clients, end: str, until_blocked: UntilBlocked
) -> None:
    """Its answer may still come, so the next one leaves from a new port."""

    async def second_only(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        if number == 2:
            await endpoint.send(b"first", server.asked[0].addr)
            await endpoint.send(b"second", addr)

    async with (
        peer(endpoints, second_only) as server,
        clients.open(server.addr, retries=0) as ask,
    ):
        first = asyncio.create_task(
            ask(b"one?", timeout=_SOON if end == "timeout" else _LATER)
        )
        if end == "cancelled":
            await until_blocked(first)
            first.cancel()
        await asyncio.wait([first])
        if not first.cancelled():
            assert isinstance(first.exception(), aioudp.RequestTimeoutError)

        assert (await ask(b"two?", timeout=_LATER)).data == b"second"
        assert nothing_is_left(ask.client)


@pytest.mark.parametrize("kind", ["port", pytest.param("path", marks=unix_only)])
async def test_a_port_that_was_chosen_is_kept(kind: str, tmp_path: Path) -> None:
    """A request that is given up costs others, to other peers, nothing."""

    def place(name: str) -> Any:
        return tmp_path / name if kind == "path" else ("127.0.0.1", 0)

    async with (
        aioudp.bind(place("silent")) as silent,
        aioudp.bind(place("server")) as server,
    ):
        chosen = place("client")
        if kind == "port":
            async with aioudp.bind(chosen) as free:
                chosen = free.local_addr
        async with aioudp.open_client(local_addr=chosen, retries=0) as client:
            pending = asyncio.create_task(
                client.request(b"?", server.local_addr, timeout=_LATER)
            )
            await server.recv()
            for _ in range(2):
                with pytest.raises(aioudp.RequestTimeoutError):
                    await client.request(b"?", silent.local_addr, timeout=_SOON)

            await server.send(b"answer", client.local_addrs[0])
            assert (await pending).data == b"answer"
            assert len(client.local_addrs) == 1


async def test_without_a_key_a_peer_is_asked_one_thing_at_a_time(
    endpoints: Endpoints, clients: Clients
) -> None:
    """The others wait their turn, in order, and each gets its own answer."""

    async def note(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        outstanding.append((ask.client.in_flight, ask.client.waiting))
        await endpoint.send(b"re " + data, addr)

    outstanding: list[tuple[int, int]] = []
    async with (
        peer(endpoints, note) as server,
        clients.open(server.addr, timeout=_LATER) as ask,
    ):
        answers = await asyncio.gather(*(ask(b"%d" % one) for one in range(10)))

        assert [data for data, _ in answers] == [b"re %d" % one for one in range(10)]
        assert outstanding == [(1, waiting) for waiting in range(9, -1, -1)]
        assert [data for data, _ in server.asked] == [b"%d" % one for one in range(10)]


# -- sending again


async def test_sent_again_until_answered(
    endpoints: Endpoints, clients: Clients
) -> None:
    """With the same bytes, so the same id; the time of such a round trip is unknown."""

    async def third(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        if number == 3:
            await endpoint.send(answer_to(data), addr)

    async with (
        peer(endpoints, third) as server,
        clients.open(server.addr, key=number_of, timeout=_SOON, retries=9) as ask,
    ):
        assert (await ask(question(5))).data == answer_to(question(5))

        assert {data for data, _ in server.asked} == {question(5)}
        stats = ask.stats()
        assert stats.retransmitted == len(server.asked) - 1 == 2
        assert (stats.round_trips, stats.round_trip_time) == (0, 0.0)


async def test_nobody_answers(endpoints: Endpoints, clients: Clients) -> None:
    """The error says whom, how often, how long, and what else came."""

    async def noise(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        times.append(loop.time())
        await endpoint.send(answer_to(question(8)), addr)

    loop = asyncio.get_running_loop()
    times: list[float] = []
    async with (
        peer(endpoints, noise) as server,
        clients.open(server.addr, key=number_of, timeout=_LATER) as ask,
    ):
        with pytest.raises(aioudp.RequestTimeoutError) as caught:
            await ask(question(7), timeout=_SOON, retries=2)

        error = caught.value
        assert isinstance(error, TimeoutError)
        assert (error.addr, error.attempts) == (server.addr, 3)
        assert _SOON * 7 <= error.elapsed < _SOON * 7 * 1.1 + 5
        assert error.ignored == len(times) == 3
        assert times[1] - times[0] >= _SOON * 0.5  # seen late by the peer, at worst
        stats = ask.stats()
        assert (stats.timed_out, stats.retransmitted) == (1, 2)
        assert nothing_is_left(ask.client)


async def test_the_schedule_is_kept(endpoints: Endpoints, clients: Clients) -> None:
    """Each wait doubles, with the jitter that was asked for."""
    loop = asyncio.get_running_loop()
    sent: list[float] = []
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, timeout=0.05, jitter=0.0) as ask,
    ):
        port = ask.client._ports._ports[0]
        port.try_send = lambda data, peer: sent.append(loop.time())
        with pytest.raises(aioudp.RequestTimeoutError) as caught:
            await ask(b"lost", retries=2)

    waits = [later - earlier for earlier, later in pairwise(sent)]
    for wait, asked in zip(waits, (0.05, 0.1), strict=True):
        assert wait >= asked * 0.95  # uvloop counts in milliseconds
    assert caught.value.elapsed >= 0.35 * 0.95


async def test_a_short_wait_after_a_long_one(
    endpoints: Endpoints, clients: Clients, until_blocked: UntilBlocked
) -> None:
    """Each request has its own times; the timer goes by the earliest."""

    async def silent(*_: Any) -> None:
        pass

    async with (
        peer(endpoints, silent) as server,
        clients.open(server.addr, key=number_of, retries=0) as ask,
    ):
        long = asyncio.create_task(ask(question(1), timeout=_LATER))
        await until_blocked(long)
        with pytest.raises(aioudp.RequestTimeoutError) as caught:
            await ask(question(2), timeout=_SOON)
        assert caught.value.elapsed < _LATER / 2
        assert ask.client.in_flight == 1

        long.cancel()
        await asyncio.wait([long])
        assert ask.stats().cancelled == 1


# -- how many


async def test_in_flight(
    endpoints: Endpoints, clients: Clients, until_blocked: UntilBlocked
) -> None:
    """No more are out than that, the others wait, and none fails for it."""

    async def keep(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        kept.append((answer_to(data), addr))

    kept: list[tuple[bytes, Any]] = []
    async with (
        peer(endpoints, keep) as server,
        clients.open(server.addr, key=number_of, in_flight=3, timeout=_LATER) as ask,
    ):
        tasks = [asyncio.create_task(ask(question(one))) for one in range(8)]
        await turns_until(lambda: len(kept) == 3)
        await until_blocked(*tasks)
        assert (ask.client.in_flight, ask.client.waiting) == (3, 5)

        for done in range(8):
            await turns_until(lambda done=done: len(kept) > done)  # type: ignore[misc]
            await server.endpoint.send(*kept[done])
        await asyncio.gather(*tasks)

        assert (ask.client.in_flight, ask.client.waiting) == (0, 0)
        assert len(kept) == 8


async def test_cancelled_while_it_waits(
    endpoints: Endpoints, clients: Clients, until_blocked: UntilBlocked
) -> None:
    """At a place and at a turn: nothing was sent, and nothing is left."""

    async def silent(*_: Any) -> None:
        pass

    async with (
        peer(endpoints, silent) as server,
        clients.open(server.addr, key=number_of, in_flight=1, timeout=_LATER) as ask,
    ):
        numbers = (1, 1, 2)  # one is out, one waits for its turn, one for its place
        tasks = [asyncio.create_task(ask(question(one))) for one in numbers]
        await until_blocked(*tasks)
        assert (ask.client.in_flight, ask.client.waiting) == (1, 2)

        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks)

        assert nothing_is_left(ask.client)
        assert ask.stats().requests == 1


async def test_several_ports(endpoints: Endpoints, clients: Clients) -> None:
    """They leave from all of them, and answers come to the port that asked."""
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, key=number_of, ports=4, timeout=_LATER) as ask,
    ):
        await asyncio.gather(*(ask(question(one)) for one in range(200)))

        used = {datagram.addr for datagram in server.asked}
        assert len(used) == len(ask.client.local_addrs) == 4
        assert {addr[1] for addr in used} == {
            addr[1] for addr in ask.client.local_addrs
        }


async def test_a_port_is_replaced(endpoints: Endpoints, clients: Clients) -> None:
    """After so many requests, where there are several; what it counted is kept."""
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, key=number_of, ports=2, timeout=_LATER) as ask,
    ):
        before = set(ask.client.local_addrs)
        for number in range(1200):
            await ask(question(number))

        assert len({datagram.addr for datagram in server.asked}) >= 4
        assert before.isdisjoint(ask.client.local_addrs)
        assert len(ask.client._ports) <= 4
        assert ask.stats().endpoint.sent == ask.stats().answered == 1200


# -- errors


@linux_only
async def test_nobody_listens(clients: Clients, host: str, connected: bool) -> None:
    """ICMP ends the wait at once, on an unconnected client where that is to be had."""
    if clients._transport == "loop" and not connected:
        pytest.skip("cannot: loop: the loop's own transport has no error queue")
    with refusing_address(host) as addr:
        async with clients.open(addr, key=number_of, timeout=_LATER) as ask:
            with pytest.raises(ConnectionRefusedError, match="request to"):
                await ask(question(1))

            assert ask.stats().refused == 1
            assert nothing_is_left(ask.client)


async def test_a_refusal_is_of_one_peer(
    endpoints: Endpoints, host: str, transport: aioudp.TransportKind
) -> None:
    """The other peers of the same client are still waited for."""

    async def silent(*_: Any) -> None:
        pass

    async with (
        peer(endpoints, silent) as server,
        aioudp.open_client(timeout=_LATER, transport=transport) as client,
    ):
        waiting = asyncio.create_task(client.request(b"one", server.addr))
        with (
            refusing_address(host) as addr,
            pytest.raises((ConnectionRefusedError, aioudp.RequestTimeoutError)),
        ):
            await client.request(b"two", addr, timeout=_SOON, retries=0)

        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_the_first_transmission_is_refused(
    endpoints: Endpoints, clients: Clients
) -> None:
    """The system's error is raised, and the next request goes out."""
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, key=number_of, timeout=_LATER) as ask,
    ):
        with pytest.raises(OSError, match="too long"):
            await ask(bytes(70_000))

        assert (await ask(question(1))).data == answer_to(question(1))
        assert (ask.stats().refused, ask.stats().answered) == (1, 1)


async def test_a_later_transmission_is_refused(
    endpoints: Endpoints, clients: Clients
) -> None:
    """It counts as lost, and the last error is told at the end."""
    async with peer(endpoints) as server, clients.open(server.addr) as ask:
        port = ask.client._ports._ports[0]
        results: list[Any] = [None, OSError(101, "unreachable"), None]

        def try_send(data: bytes, peer: Any) -> None:
            if result := results.pop(0):
                raise result

        port.try_send = try_send
        with pytest.raises(aioudp.RequestTimeoutError, match="unreachable") as caught:
            await ask(b"lost", timeout=_SOON, retries=2)

    assert caught.value.attempts == 3
    assert caught.value.last_error is not None
    assert caught.value.last_error.errno == 101


@unix_only
async def test_no_room_to_send(tmp_path: Path) -> None:
    """A transmission that finds none until its time is up counts as lost."""
    full = FullPeer(tmp_path / "full")
    with full.sock:
        async with aioudp.open_client(full.path, retries=1, timeout=_SOON) as client:
            with pytest.raises(aioudp.RequestTimeoutError) as caught:
                await client.request(b"no room")
            assert caught.value.attempts == 2
            assert client.stats().endpoint.sent == 0

            waiting = asyncio.create_task(client.request(b"room", timeout=_LATER))
            assert await full.wait_for(1) == [b"room"]
            waiting.cancel()
            await asyncio.wait([waiting])


async def _async_key(data: bytes) -> bytes:
    return data


def test_wrong_arguments() -> None:
    """TypeError and ValueError at the call, before anything is opened."""
    call: Any = aioudp.open_client
    value: Any
    for name, value in (
        ("remote_addr", 53),
        ("key", 1),
        ("key", _async_key),
        ("timeout", "1"),
        ("retries", 1.5),
        ("backoff", None),
        ("jitter", "no"),
        ("in_flight", 1.0),
        ("ports", True),
        ("nonsense", 1),
    ):
        with pytest.raises(TypeError):
            call(**{name: value})
    for name, value in (
        ("timeout", 0),
        ("timeout", math.inf),
        ("retries", -1),
        ("backoff", 0.9),
        ("jitter", -1),
        ("in_flight", 0),
        ("ports", 0),
        ("ports", 4097),
        ("queue_size", 0),
    ):
        with pytest.raises(ValueError, match=name):
            call(**{name: value})
    with pytest.raises(ValueError, match="2 ports"):
        call(ports=2, local_addr=("127.0.0.1", 5353))


async def test_wrong_requests(endpoints: Endpoints, clients: Clients) -> None:
    """They raise at the call, send nothing, and leave nothing behind."""
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, key=number_of, timeout=_LATER) as ask,
    ):
        bad: Any = "text"
        with pytest.raises(TypeError, match="bytes-like"):
            await ask(bad)
        with pytest.raises(struct.error):
            await ask(b"x")  # what the key function says of it
        options: dict[str, Any]
        for options in ({"timeout": "1"}, {"retries": 1.5}):
            with pytest.raises(TypeError):
                await ask(question(1), **options)
        for options in ({"timeout": 0}, {"retries": -1}):
            with pytest.raises(ValueError, match=next(iter(options))):
                await ask(question(1), **options)
        with pytest.raises(ValueError, match="numeric"):
            await ask.client.request(question(1), ("name.invalid", 53))

        assert ask.stats().requests == 0
        assert nothing_is_left(ask.client)


async def test_no_address(host: str) -> None:
    """A client without a peer has to be told whom to ask."""
    async with aioudp.open_client(local_addr=(host, 0)) as client:
        with pytest.raises(ValueError, match="address"):
            await client.request(b"?")


async def test_another_address(endpoints: Endpoints, host: str) -> None:
    """A client with a peer asks nobody else."""
    async with (
        peer(endpoints) as server,
        aioudp.open_client(server.addr) as client,
    ):
        assert client.remote_addr == server.addr
        assert (await client.request(b"1234", server.addr)).addr == server.addr
        with pytest.raises(ValueError, match="cannot send to"):
            await client.request(b"?", (host, 9))


# -- what nobody asked for


async def test_unsolicited(endpoints: Endpoints, clients: Clients) -> None:
    """What answers no request is handed over, in order, until the client is closed."""

    async def push(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        await endpoint.send_many([(b"news %d" % one, addr) for one in range(3)])

    def key(data: bytes) -> bytes:
        return data[:4]

    async with (
        peer(endpoints, push) as server,
        clients.open(server.addr, key=key) as ask,
    ):
        waiting = asyncio.create_task(ask(b"subscribe", timeout=_LATER))
        seen = []
        async for data, addr in ask.client.unsolicited():
            assert addr == server.addr
            seen.append(data)
            if len(seen) == 3:
                break

        assert seen == [b"news 0", b"news 1", b"news 2"]
        iteration = asyncio.create_task(anext(ask.client.unsolicited(), None))
        await asyncio.sleep(0)
        await ask.client.aclose()
        assert await iteration is None
        with pytest.raises(aioudp.EndpointClosedError):
            await waiting


async def test_unsolicited_is_bounded(endpoints: Endpoints, clients: Clients) -> None:
    """The newest are kept, the others counted."""

    async def flood(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        for one in range(300):
            await endpoint.send(b"none%d" % one, addr)
        await endpoint.send(data, addr)

    def key(data: bytes) -> bytes:
        return data[:4]

    async with (
        peer(endpoints, flood) as server,
        clients.open(server.addr, key=key, timeout=_LATER) as ask,
    ):
        await ask(b"flood")

        stats = ask.stats()
        assert (stats.unmatched, stats.dropped_unsolicited) == (300, 44)
        assert (await anext(ask.client.unsolicited())).data == b"none44"


# -- the end


@pytest.mark.parametrize("key", [None, number_of], ids=["no key", "key"])
async def test_close_ends_everything(
    endpoints: Endpoints, clients: Clients, key: Any, until_blocked: UntilBlocked
) -> None:
    """What is out, what waits for a place or a turn, and what comes later."""

    async def silent(*_: Any) -> None:
        pass

    async with (
        peer(endpoints, silent) as server,
        clients.open(server.addr, key=key, in_flight=2, timeout=_LATER) as ask,
    ):
        numbers = (1, 1, 2, 3)
        tasks = [asyncio.create_task(ask(question(one))) for one in numbers]
        await until_blocked(*tasks)

        ask.client.close()
        ask.client.close()

        for task in tasks:
            with pytest.raises(aioudp.EndpointClosedError):
                await task
        with pytest.raises(aioudp.EndpointClosedError):
            await ask(question(5))
        assert ask.client.closed
        assert [_ async for _ in ask.client.unsolicited()] == []
        assert nothing_is_left(ask.client)


async def test_closed_while_a_port_is_opened(
    endpoints: Endpoints, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port that comes too late is closed as well."""

    async def silent(*_: Any) -> None:
        pass

    async with (
        peer(endpoints, silent) as server,
        clients.open(server.addr, timeout=_SOON, retries=0) as ask,
    ):
        with pytest.raises(aioudp.RequestTimeoutError):
            await ask(b"retires the port")
        open_ = ask.client._ports._open
        opened = []

        async def slowly() -> aioudp.Endpoint:
            opened.append(await open_())
            ask.client.close()
            return opened[0]

        monkeypatch.setattr(ask.client._ports, "_open", slowly)
        with pytest.raises(aioudp.EndpointClosedError):
            await ask(b"needs a new one")

        assert opened[0].closed


async def test_cancelling_at_every_turn(endpoints: Endpoints, clients: Clients) -> None:
    """Whenever it is cancelled, nothing is left and the next request is answered."""
    async with (
        peer(endpoints) as server,
        clients.open(server.addr, key=number_of, in_flight=1, timeout=_LATER) as ask,
    ):
        for count in range(12):
            task = asyncio.create_task(ask(question(count)))
            for _ in range(count):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert nothing_is_left(ask.client)

        assert (await ask(question(99))).data == answer_to(question(99))


async def test_forgotten_client(host: str) -> None:
    """It warns, and its socket is closed."""
    client = await aioudp.open_client(local_addr=(host, 0))
    endpoint = client._ports.any.endpoint

    holding = [client]
    del client
    with pytest.warns(ResourceWarning, match="unclosed client"):
        holding.clear()
    gc.collect()

    assert endpoint.closed
    await endpoint.aclose()


def test_one_that_was_never_made_closes_nothing() -> None:
    """As when its __init__ is interrupted."""
    aioudp.Client.__new__(aioudp.Client).__del__()


async def test_a_failed_opening_leaves_no_socket(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several ports, those that were opened are closed again."""
    real, opened = Ports.choose, []

    async def failing(self: Ports) -> Any:
        opened.append(await real(self))
        raise OSError("no more")

    monkeypatch.setattr(Ports, "choose", failing)
    with pytest.raises(OSError, match="no more"):
        await aioudp.open_client(local_addr=(host, 0), ports=3)

    assert opened[0].endpoint.closed


async def test_repr(host: str) -> None:
    """It says what is going on."""
    async with aioudp.open_client(local_addr=(host, 0)) as client:
        assert repr(client) == "<Client in_flight=0>"
    assert repr(client) == "<Client closed>"


# -- a bad network


async def test_a_lossy_network(endpoints: Endpoints, clients: Clients) -> None:
    """Each answer is its own request's, and no state is left behind.

    The peer drops a part of what comes and of what it says, says some of it twice, and
    not in order.
    """

    async def unreliable(
        endpoint: aioudp.Endpoint, data: bytes, addr: Any, number: int
    ) -> None:
        if chance.random() < 0.2:
            return
        held.append((answer_to(data), addr))
        chance.shuffle(held)
        while len(held) > 8:
            out = held.pop()
            if chance.random() < 0.8:
                await endpoint.send(*out)
            if chance.random() < 0.05:
                await endpoint.send(*out)

    chance = random.Random(1)
    held: list[tuple[bytes, Any]] = []
    async with (
        peer(endpoints, unreliable) as server,
        clients.open(
            server.addr, key=number_of, timeout=0.02, backoff=1.2, retries=20
        ) as ask,
    ):
        results = await asyncio.gather(
            *(ask(question(one)) for one in range(500)), return_exceptions=True
        )

        answered = 0
        for number, result in enumerate(results):
            if isinstance(result, aioudp.RequestTimeoutError):
                continue
            assert isinstance(result, aioudp.Datagram), result
            assert result.data == answer_to(question(number))
            answered += 1
        assert answered >= 450
        stats = ask.stats()
        assert stats.answered + stats.timed_out == stats.requests == 500
        assert stats.retransmitted > 0
        assert nothing_is_left(ask.client)
        del results, result  # an error remembers where it was raised
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Entry)]


# -- statistics


def test_counts_subtract_and_add() -> None:
    """What happened between two looks, also of what is inside."""
    before = aioudp.ClientStats(requests=1, endpoint=aioudp.Stats(sent=1))
    after = aioudp.ClientStats(
        requests=3, round_trip_time=0.5, endpoint=aioudp.Stats(sent=4)
    )

    assert after - before == aioudp.ClientStats(
        requests=2, round_trip_time=0.5, endpoint=aioudp.Stats(sent=3)
    )
    assert (after - before) + before == after
    other: Any = aioudp.Stats()
    with pytest.raises(TypeError):
        after - other
    with pytest.raises(TypeError):
        other + after


@unix_only
async def test_unix_client(tmp_path: Path) -> None:
    """A client of a UNIX socket; the answer comes from its path."""
    path, local = str(tmp_path / "server"), str(tmp_path / "client")
    async with (
        aioudp.bind(path) as server,
        aioudp.open_client(path, local_addr=local, timeout=_LATER) as client,
    ):
        waiting = asyncio.create_task(client.request(b"?"))
        await server.send(*await server.recv())

        assert await waiting == (b"?", path)
