"""Discovery on one machine: who is found, when it asks, how it ends."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import sleep
from typing import Any, Final

import pytest

import aioudp
from aioudp import discovery
from aioudp._system import interfaces

from ..conftest import UntilBlocked
from .devices import _GROUP, _LONG, _LOOPBACK, _QUESTION, Devices
from .support import Gate, descriptors, linux_only, outcome

_SHORT: Final = 0.1  # seconds; one that is meant to end

pytestmark = linux_only  # whose loopback interface has broadcast


@pytest.fixture(params=["broadcast", "multicast"])
async def devices(request: pytest.FixtureRequest) -> AsyncIterator[Devices]:
    """Start devices on the loopback interface."""
    async with AsyncExitStack() as stack:
        yield Devices(stack, request.param)


# -- who is found


async def test_every_reply_is_found_once(devices: Devices) -> None:
    """Though it is asked for three times. The port of the question is its own."""
    first = await devices.add()
    answers = [datagram async for datagram in devices.search(timeout=_SHORT, repeat=3)]

    assert [answer.data for answer in answers] == [b"I"]
    assert answers[0].addr[1] == first.port
    assert {asked.data for asked in first.asked} == {_QUESTION}
    (addr,) = {asked.addr for asked in first.asked}
    assert addr[1] != first.port


async def test_every_device_is_found(devices: Devices) -> None:
    """Each has its own answer; what makes one distinct is up to the caller."""
    for name in (b"one", b"two", b"three"):
        await devices.add(lambda _, name=name: [name])  # type: ignore[misc]

    found = set()
    async with devices.search(key=lambda answer: answer.data) as search:
        async for data, _ in search:
            found.add(data)
            if len(found) == 3:
                break

    assert found == {b"one", b"two", b"three"}


async def test_a_lost_question_is_repeated(devices: Devices) -> None:
    """Until the last."""
    device = await devices.add(lambda number: [b"I"] if number == 3 else [])

    answers = [answer.data async for answer in devices.search(timeout=0.3, repeat=3)]

    assert answers == [b"I"]
    assert len(device.asked) == 3


@pytest.mark.parametrize("repeat", [1, 5])
async def test_questions_are_spread(devices: Devices, repeat: int) -> None:
    """The first at once, the last with time left for its answer."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def note(number: int) -> list[bytes]:
        times.append(loop.time())
        return []

    device = await devices.add(note)

    begin = loop.time()
    assert [_ async for _ in devices.search(timeout=0.5, repeat=repeat)] == []
    end = loop.time()

    assert len(device.asked) == repeat
    assert 0.49 < end - begin < 2
    for number, time in enumerate(times):
        assert time - begin > number * 0.5 / repeat - 0.01


async def test_questions_that_were_missed_are_one(devices: Devices) -> None:
    """A caller who was busy does not ask in a burst."""
    device = await devices.add(lambda _: [b"I"])
    search = devices.search(timeout=1, repeat=10)
    await anext(search)
    await asyncio.sleep(0.55)  # busy; nothing is waited for

    assert [_ async for _ in search] == []

    assert 1 < len(device.asked) <= 7


async def test_outcomes(devices: Devices) -> None:
    """They contain the request's destination."""
    await devices.add()
    search = devices.search()
    assert search.outcomes == []
    assert repr(search) == "<Discovery not started>"

    async with search:
        await anext(search)
        (report,) = search.outcomes
        assert (report.interface, report.sent, report.addr[1]) == (
            "lo",
            True,
            devices.port,
        )
        assert repr(search) == "<Discovery running>"

    assert repr(search) == "<Discovery ended>"


async def test_a_key_is_remembered_with_a_limit(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten first, so that nobody can fill the memory."""
    monkeypatch.setattr(discovery, "_MAX_KNOWN", 2)
    await devices.add(lambda _: [b"a", b"b", b"a", b"c", b"b", b"a", b"end"])

    seen = []
    async with devices.search(key=lambda answer: answer.data) as search:
        async for data, _ in search:
            seen.append(data)
            if data == b"end":
                break

    assert seen == [b"a", b"b", b"c", b"a", b"end"]


async def test_what_came_before_the_deadline_is_handed_over(
    devices: Devices,
) -> None:
    """Though the caller was busy; the questions of the meantime are not made up."""
    device = await devices.add(lambda number: [b"one", b"two"] if number == 1 else [])
    search = devices.search(timeout=_SHORT, repeat=3, key=lambda answer: answer.data)

    found = [(await anext(search)).data]
    await asyncio.sleep(2 * _SHORT)  # busy; nothing is waited for
    found += [answer.data async for answer in search]

    assert found == [b"one", b"two"]
    assert len(device.asked) == 1


async def test_several_searches_at_once(devices: Devices) -> None:
    """Each has a port of its own, and the answers to its own question."""
    device = await devices.add()

    async def search(question: bytes) -> list[bytes]:
        search = aioudp.discover(
            question,
            device.port,
            timeout=_SHORT,
            interfaces=_LOOPBACK,
            group=devices.group,
        )
        return [answer.data async for answer in search]

    questions = [b"one", b"two", b"three"]
    device.answers = lambda number: [device.asked[number - 1].data]

    found = await asyncio.gather(*map(search, questions))

    assert found == [[question] for question in questions]
    assert len({asked.addr for asked in device.asked}) == 3


# -- how it ends


async def test_leaving_the_loop_closes_the_socket(devices: Devices) -> None:
    """At once."""
    await devices.add()
    before = descriptors()

    async for _ in devices.search():
        assert descriptors() != before
        break

    assert descriptors() == before


async def test_an_exception_in_the_loop_closes_the_socket(devices: Devices) -> None:
    """With ``async with``, whatever keeps the exception."""
    await devices.add()
    before = descriptors()

    async def collect() -> None:
        async with devices.search() as search:
            async for _ in search:
                raise LookupError

    with pytest.raises(LookupError):
        await collect()

    assert descriptors() == before


async def test_cancelling_closes_the_socket(
    devices: Devices, until_blocked: UntilBlocked
) -> None:
    """And ends the search."""
    await devices.add(lambda _: [])
    before = descriptors()
    search = devices.search()
    waiting = asyncio.ensure_future(anext(search))
    await until_blocked(waiting)
    assert descriptors() != before
    waiting.cancel()

    assert isinstance(await outcome(waiting), asyncio.CancelledError)
    assert descriptors() == before
    with pytest.raises(StopAsyncIteration):
        await anext(search)


async def test_closing_ends_the_wait(
    devices: Devices, until_blocked: UntilBlocked
) -> None:
    """Of another task. Closing twice is no error."""
    await devices.add(lambda _: [])
    search = devices.search()

    async def collect() -> list[aioudp.Datagram]:
        return [answer async for answer in search]

    waiting = asyncio.create_task(collect())
    await until_blocked(waiting)
    await search.aclose()
    await search.aclose()

    assert await waiting == []


async def test_closed_before_it_began(devices: Devices) -> None:
    """Then it asks nobody."""
    device = await devices.add()
    search = devices.search()
    await search.aclose()

    assert [_ async for _ in search] == []
    assert device.asked == []


async def test_an_error_of_the_key_ends_the_search(devices: Devices) -> None:
    """It is the caller's."""
    await devices.add()
    before = descriptors()
    search = devices.search(key=lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        await anext(search)

    assert descriptors() == before


async def test_an_error_of_the_network_does_not(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as what ICMP says of one of those who were asked."""
    await devices.add()
    errors = [ConnectionResetError(errno.ECONNRESET, "reset")]
    recv = aioudp.Endpoint.recv

    async def failing_recv(endpoint: aioudp.Endpoint) -> aioudp.Datagram:
        if errors:
            raise errors.pop()
        return await recv(endpoint)

    search = devices.search()
    monkeypatch.setattr(aioudp.Endpoint, "recv", failing_recv)
    async with search:
        assert (await anext(search)).data == b"I"
    assert errors == []


# -- errors


@pytest.mark.parametrize("group", [None, _GROUP])
async def test_nobody_could_be_asked(
    group: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is raised at the deadline, because an interface may yet come up."""
    gone = aioudp.Interface("gone0", 9999, ("192.0.2.1",), (), frozenset())
    monkeypatch.setattr(interfaces, "kernel_interfaces", lambda: [gone])
    before = descriptors()
    search = aioudp.discover(
        _QUESTION, 9, timeout=_SHORT, interfaces=["gone0"], group=group
    )

    with pytest.raises(OSError, match=r"sending to .* on interface gone0"):
        await anext(search)

    assert descriptors() == before
    with pytest.raises(StopAsyncIteration):
        await anext(search)


async def test_no_room_until_the_deadline(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody was asked, either."""
    await devices.add()
    Gate(monkeypatch)
    before = descriptors()

    with pytest.raises(OSError, match="no interface sent the request") as caught:
        await anext(devices.search(timeout=_SHORT))

    assert caught.value.errno == errno.ENETUNREACH
    assert descriptors() == before


async def test_room_for_one_interface_alone(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question that left counts, and so does its answer."""
    await devices.add()
    gate = Gate(monkeypatch)
    gate.grants = [1]
    loopback, *_ = interfaces.choose(_LOOPBACK)
    links = [("lo", loopback), ("full", loopback)]
    monkeypatch.setattr(interfaces, "look", lambda *_: links)

    search = devices.search(timeout=_SHORT, repeat=1)

    assert [answer.data async for answer in search] == [b"I"]


async def test_an_error_at_the_deadline(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was received besides is handed over."""
    await devices.add(lambda number: [b"one", b"two"] if number == 1 else [])
    errors = [ConnectionResetError(errno.ECONNRESET, "reset")]
    recv_nowait = aioudp.Endpoint.recv_nowait

    def failing_recv_nowait(endpoint: aioudp.Endpoint) -> aioudp.Datagram:
        if errors:
            raise errors.pop()
        return recv_nowait(endpoint)

    search = devices.search(timeout=_SHORT, key=lambda answer: answer.data)
    assert (await anext(search)).data == b"one"
    monkeypatch.setattr(aioudp.Endpoint, "recv_nowait", failing_recv_nowait)
    await asyncio.sleep(2 * _SHORT)  # busy; nothing is waited for

    assert [answer.data async for answer in search] == [b"two"]
    assert errors == []


async def test_a_slow_start_is_not_part_of_the_search(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time begins with the first question, however busy the program is before."""
    bind: Any = vars(discovery)["bind"]

    def bind_slowly(*args: Any, **options: Any) -> Any:
        sleep(2 * _SHORT)
        return bind(*args, **options)

    monkeypatch.setattr(discovery, "bind", bind_slowly)
    await devices.add()

    found = [datagram.data async for datagram in devices.search(timeout=_SHORT)]

    assert found == [b"I"]


@pytest.mark.parametrize("group", [None, _GROUP])
async def test_a_failed_start_leaves_no_socket(
    group: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails after the socket was opened."""
    for name in ("BroadcastEndpoint", "_GroupSender"):
        monkeypatch.setattr(discovery, name, lambda *_: 1 / 0)
    before = descriptors()

    with pytest.raises(ZeroDivisionError):
        await anext(aioudp.discover(_QUESTION, 9, timeout=_LONG, group=group))

    assert descriptors() == before


def test_one_that_was_never_made_closes_nothing() -> None:
    """As when its __init__ is interrupted."""
    search = aioudp.Discovery.__new__(aioudp.Discovery)

    search.__del__()


@pytest.mark.parametrize("group", [None, _GROUP])
async def test_an_interface_that_is_not_there(group: str | None) -> None:
    """ENODEV at the first step, and its name."""
    search = aioudp.discover(
        _QUESTION, 9, timeout=_LONG, interfaces=["no-such-one"], group=group
    )

    with pytest.raises(OSError, match="no-such-one") as caught:
        await anext(search)

    assert caught.value.errno == errno.ENODEV


def test_what_is_no_argument() -> None:
    """TypeError and ValueError at the call."""
    call: Any = aioudp.discover
    value: Any
    good: dict[str, Any] = {"data": b"", "port": 9, "timeout": 1}
    for name, value in (
        ("data", "text"),
        ("port", "9"),
        ("timeout", "1"),
        ("timeout", None),
        ("timeout", True),
        ("repeat", 1.5),
        ("interfaces", "lo"),
        ("key", 1),
        ("group", 1),
    ):
        with pytest.raises(TypeError, match="bytes-like" if name == "data" else name):
            call(**good | {name: value})

    for name, value in (
        ("port", 0),
        ("port", 65536),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", math.inf),
        ("timeout", math.nan),
        ("repeat", 0),
        ("interfaces", []),
    ):
        with pytest.raises(ValueError, match=name):
            call(**good | {name: value})
    with pytest.raises(ValueError, match="multicast"):
        call(**good, group="192.0.2.1")


async def test_nothing_is_shared(devices: Devices) -> None:
    """Of two who share a port only one would get the answer. B198."""
    await devices.add(lambda number: [b"I"] if number == 1 else [])
    async with devices.search() as search:
        await anext(search)
        assert search._endpoint is not None
        sock = search._endpoint.get_extra_info("socket")
        for name in ("SO_REUSEADDR", "SO_REUSEPORT"):
            assert sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)) == 0
