"""A full send buffer: what waits, in which order it goes, and what never goes.

Loopback hides it, because there the receiver pays for a datagram from the start. Here
the datagrams wait for a neighbour that does not answer, and so keep their place.
"""

from __future__ import annotations

import asyncio
import time
from socket import AF_INET, AddressFamily
from typing import Any, Final

import pytest

import aioudp

from ..conftest import Endpoints, UntilBlocked
from .jam import Jam, fill
from .links import FAR, SILENT, Link, SilentHost
from .traffic import END, Sink, number_of, numbered

_SEND_BUFFER: Final = 4096  # bytes, which the kernel takes for four or five datagrams


@pytest.fixture
async def jam(
    endpoints: Endpoints, silent: SilentHost, sink: Sink, until_blocked: UntilBlocked
) -> Jam:
    """Open an endpoint and fill its send buffer."""
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER)
    addr = silent.host, sink.port
    taken = fill(endpoint, addr)
    assert taken > 1
    return Jam(endpoint, addr, taken, silent, sink, until_blocked)


# -- suspending and resuming


async def test_send_waits_for_room(jam: Jam) -> None:
    """It returns when the kernel has the datagram, which then arrives."""
    before = jam.endpoint.stats()
    (sending,) = await jam.start_numbered(jam.taken)

    jam.silent.answer()
    await sending

    after = jam.endpoint.stats()
    assert after.sent - before.sent == 1
    assert after.sent_bytes - before.sent_bytes == len(numbered(jam.taken))
    assert after.send_errors == 0
    assert await jam.arrived() == list(range(jam.taken + 1))


async def test_a_connected_send_waits_for_room(
    endpoints: Endpoints, silent: SilentHost, sink: Sink, until_blocked: UntilBlocked
) -> None:
    """So it is without an address."""
    endpoint = await endpoints.connect(
        (silent.host, sink.port), send_buffer=_SEND_BUFFER
    )
    taken = fill(endpoint, (silent.host, sink.port))
    jam = Jam(endpoint, None, taken, silent, sink, until_blocked)
    (sending,) = await jam.start_numbered(jam.taken)

    silent.answer()
    await sending

    assert await jam.arrived() == list(range(jam.taken + 1))


async def test_send_resumes_when_the_neighbour_is_given_up(
    endpoints: Endpoints, link: Link, family: AddressFamily
) -> None:
    """The kernel throws away what waits for a neighbour that never answers."""
    link.set_patience(family, 20)
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER)

    async with asyncio.timeout(10):
        for number in range(20):
            await endpoint.send(numbered(number), (SILENT[family], 9))

    assert endpoint.stats().sent == 20


async def test_waiting_costs_no_work(jam: Jam) -> None:
    """The loop is not kept busy by a socket that is not writable."""
    (sending,) = await jam.start_numbered(jam.taken)

    before = time.thread_time()
    await asyncio.sleep(0.3)
    spent = time.thread_time() - before

    assert not sending.done()
    assert spent < 0.1
    sending.cancel()


async def test_receiving_goes_on(jam: Jam) -> None:
    """An endpoint that waits to send still receives; and sends in the end."""
    (sending,) = await jam.start_numbered(jam.taken)
    for number in range(3):
        jam.sink.send(numbered(number), jam.endpoint.local_addr)
        async with asyncio.timeout(5):
            data, _ = await jam.endpoint.recv()
        assert number_of(data) == number
    assert not sending.done()

    jam.silent.answer()
    await sending

    assert await jam.arrived() == list(range(jam.taken + 1))


async def test_another_endpoint_is_not_held_up(
    jam: Jam, endpoints: Endpoints, family: AddressFamily
) -> None:
    """A buffer is one endpoint's own."""
    (sending,) = await jam.start_numbered(jam.taken)
    other = await endpoints.bind()

    async with asyncio.timeout(5):
        await other.send(END, (FAR[family], jam.sink.port))

    assert await jam.sink.recv() == END
    assert not sending.done()
    sending.cancel()


async def test_what_waits_is_a_copy(jam: Jam) -> None:
    """The caller may use its buffers again while a send waits."""
    one = bytearray(numbered(jam.taken))
    many = [bytearray(numbered(jam.taken + 1)), bytearray(numbered(jam.taken + 2))]
    tasks = [
        await jam.start(jam.endpoint.send(one, jam.addr)),
        await jam.start(jam.endpoint.send_many([(data, jam.addr) for data in many])),
    ]
    for data in one, *many:
        data[:8] = b"99999999"

    jam.silent.answer()
    await asyncio.gather(*tasks)

    assert await jam.arrived() == list(range(jam.taken + 3))


# -- the order among senders


async def test_senders_are_served_in_order(jam: Jam) -> None:
    """First come, first served, whatever they send and however short it is."""
    first = jam.taken
    send, send_many = jam.endpoint.send, jam.endpoint.send_many
    train = b"".join(numbered(first + 3 + index, 100) for index in range(5))
    group = [(numbered(first + 8 + index, 500), jam.addr) for index in range(5)]
    tasks = [
        await jam.start(sending)
        for sending in (
            send(numbered(first), jam.addr),
            send(numbered(first + 1, 8), jam.addr),
            send(numbered(first + 2, 1400), jam.addr),
            send(train, jam.addr, segment_size=100),
            send_many(group),
            send(numbered(first + 13), jam.addr),
        )
    ]

    jam.silent.answer()
    await asyncio.gather(*tasks)

    assert await jam.arrived() == list(range(first + 14))


async def test_a_newcomer_does_not_overtake(jam: Jam) -> None:
    """Who calls when there is room again, but others still wait, goes last."""
    first = jam.taken
    waiting = await jam.start_numbered(first, first + 1)

    jam.silent.answer()  # and without a turn of the loop:
    await jam.endpoint.send(numbered(first + 2, 8), jam.addr)
    await asyncio.gather(*waiting)

    assert await jam.arrived() == list(range(first + 3))


async def test_an_error_after_waiting_is_the_senders_own(
    jam: Jam, link: Link, family: AddressFamily
) -> None:
    """A datagram that waited and was then refused raises; those behind it go out."""
    refused, sent = await jam.start_numbered(jam.taken, jam.taken + 1)
    far = FAR[family], jam.sink.port
    after = await jam.start(jam.endpoint.send(END, far))
    bits = 32 if family == AF_INET else 128
    link.near.ip(f"route add prohibit {jam.silent.host}/{bits}")

    jam.silent.answer()
    await after

    for task in refused, sent:
        with pytest.raises(PermissionError, match=f"1000 bytes .*{jam.silent.host}"):
            await task
    assert await jam.sink.numbers_until_end() == list(range(jam.taken))


# -- cancelling


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_cancelled_send_never_goes_out(jam: Jam, cancelled: int) -> None:
    """Whether it is the next in the line or not; the others go out."""
    numbers = [jam.taken + index for index in range(3)]
    tasks = await jam.start_numbered(*numbers)

    tasks.pop(cancelled).cancel()
    numbers.pop(cancelled)
    jam.silent.answer()
    await asyncio.gather(*tasks)

    assert await jam.arrived() == [*range(jam.taken), *numbers]


async def test_all_cancelled(jam: Jam) -> None:
    """With nobody left to wait, the next send is served at once."""
    tasks = await jam.start_numbered(jam.taken, jam.taken + 1, jam.taken + 2)

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    jam.silent.answer()

    assert await jam.arrived() == list(range(jam.taken))


@pytest.mark.parametrize("turns", range(5))
async def test_cancelled_just_as_there_is_room(jam: Jam, turns: int) -> None:
    """Whatever the turn, a send that is cancelled did not go out, and else it did."""
    numbers = [jam.taken, jam.taken + 1, jam.taken + 2]
    tasks = await jam.start_numbered(*numbers)

    jam.silent.answer()
    for _ in range(turns):
        await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks)

    went_out = [
        number
        for number, task in zip(numbers, tasks, strict=True)
        if not task.cancelled()
    ]
    assert went_out[-2:] == numbers[-2:]
    assert await jam.arrived() == [*range(jam.taken), *went_out]


async def test_a_timeout_bounds_the_wait(jam: Jam) -> None:
    """It is a cancellation too: the datagram is not sent."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await jam.endpoint.send(numbered(jam.taken), jam.addr)

    jam.silent.answer()

    assert await jam.arrived() == list(range(jam.taken))


# -- closing


async def test_close_wakes_those_who_wait(jam: Jam, link: Link) -> None:
    """Each of them gets EndpointClosedError, and nothing of theirs goes out."""
    send, send_many = jam.endpoint.send, jam.endpoint.send_many
    data = numbered(jam.taken)
    tasks = [
        await jam.start(send(data, jam.addr)),
        await jam.start(send(data, jam.addr)),
        await jam.start(send(data, jam.addr, segment_size=400)),
        await jam.start(send_many([(data, jam.addr)] * 2)),
    ]

    jam.endpoint.close()

    async with asyncio.timeout(5):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [aioudp.EndpointClosedError] * 4
    jam.silent.answer()
    jam.sink.send(END, jam.sink.socket.getsockname())
    assert await jam.sink.numbers_until_end() in ([], list(range(jam.taken)))


async def test_the_port_is_free_after_aclose(jam: Jam, endpoints: Endpoints) -> None:
    """Whatever the kernel still holds, and whoever still waits."""
    (sending,) = await jam.start_numbered(jam.taken)
    port = jam.endpoint.local_addr[1]

    await jam.endpoint.aclose()
    again = await endpoints.bind(port=int(port))

    assert again.local_addr == jam.endpoint.local_addr
    with pytest.raises(aioudp.EndpointClosedError):
        await sending


# -- several datagrams in one call


async def test_send_many_goes_out_in_order(jam: Jam) -> None:
    """All of it, none twice, with runs of equal sizes and without."""
    first = jam.taken
    datagrams = [
        (numbered(first + index, 8 + index // 7 * 50), jam.addr) for index in range(100)
    ]
    before = jam.endpoint.stats()
    sending = await jam.start(jam.endpoint.send_many(datagrams))

    jam.silent.answer()
    await sending

    after = jam.endpoint.stats()
    assert after.sent - before.sent == 100
    assert await jam.arrived() == list(range(first + 100))


async def test_segments_go_out_in_order(jam: Jam) -> None:
    """All of the buffer, none of it twice."""
    first = jam.taken
    train = b"".join(numbered(first + index, 600) for index in range(150))
    before = jam.endpoint.stats()
    sending = await jam.start(jam.endpoint.send(train, jam.addr, segment_size=600))

    jam.silent.answer()
    await sending

    after = jam.endpoint.stats()
    assert after.sent - before.sent == 150
    assert after.sent_bytes - before.sent_bytes == len(train)
    assert await jam.arrived() == list(range(first + 150))


@pytest.mark.parametrize("offload", [True, False])
async def test_what_a_cancelled_batch_has_sent_is_its_beginning(
    endpoints: Endpoints,
    silent: SilentHost,
    sink: Sink,
    until_blocked: UntilBlocked,
    offload: bool,
) -> None:
    """A batch that fills the buffer itself and is cancelled then stops there."""
    addr = silent.host, sink.port
    endpoint = await endpoints.bind(send_buffer=_SEND_BUFFER, offload=offload)
    sending = asyncio.create_task(
        endpoint.send_many(
            [(numbered(index, 1000 - index), addr) for index in range(100)]
        )
    )
    await until_blocked(sending)
    assert not sending.done()

    sending.cancel()
    await asyncio.wait([sending])
    silent.answer()
    await endpoint.send(END, addr)

    assert sending.cancelled()
    sent = endpoint.stats().sent - 1
    assert 0 < sent < 100
    assert await sink.numbers_until_end() == list(range(sent))


# -- the transport's own sending, which buffers


async def test_sendto_buffers_and_goes_first(jam: Jam) -> None:
    """A transport keeps what the kernel has no room for; sends come behind it."""
    transport: Any = jam.endpoint.transport
    first = jam.taken
    for index in range(5):
        transport.sendto(numbered(first + index), jam.addr)
    assert transport.get_write_buffer_size() >= 5000
    (sending,) = await jam.start_numbered(first + 5)

    jam.silent.answer()
    await sending

    assert transport.get_write_buffer_size() == 0
    assert await jam.arrived() == list(range(first + 6))


async def test_closing_the_transport_sends_what_it_buffered(jam: Jam) -> None:
    """As asyncio's transports do."""
    transport: Any = jam.endpoint.transport
    for index in range(5):
        transport.sendto(numbered(jam.taken + index), jam.addr)

    transport.close()
    jam.silent.answer()

    numbers = [number_of(await jam.sink.recv()) for _ in range(jam.taken + 5)]
    assert numbers == list(range(jam.taken + 5))


async def test_close_wakes_those_who_wait_behind_a_buffer(jam: Jam) -> None:
    """A send that comes behind what the transport buffered ends at close as well."""
    jam.endpoint.transport.sendto(numbered(jam.taken), jam.addr)
    (sending,) = await jam.start_numbered(jam.taken + 1)

    jam.endpoint.close()

    with pytest.raises(aioudp.EndpointClosedError):
        async with asyncio.timeout(5):
            await sending


async def test_the_port_is_free_after_aclose_with_a_buffer(
    jam: Jam, endpoints: Endpoints
) -> None:
    """What the transport buffered does not keep the port beyond it."""
    jam.endpoint.transport.sendto(numbered(jam.taken), jam.addr)
    closing = asyncio.create_task(jam.endpoint.aclose())
    await jam.until_blocked(closing)

    jam.silent.answer()
    async with asyncio.timeout(5):
        await closing
    again = await endpoints.bind(port=int(jam.endpoint.local_addr[1]))

    assert again.local_addr == jam.endpoint.local_addr


async def test_aborting_the_transport_forgets_what_it_buffered(jam: Jam) -> None:
    """Then nothing of it goes out."""
    transport: Any = jam.endpoint.transport
    transport.sendto(numbered(jam.taken), jam.addr)

    transport.abort()

    assert transport.get_write_buffer_size() == 0
    jam.silent.answer()
    jam.sink.send(END, jam.sink.socket.getsockname())
    assert await jam.sink.numbers_until_end() in ([], list(range(jam.taken)))


async def test_the_protocol_is_paused_once_and_resumed_once(jam: Jam) -> None:
    """Above the high-water mark and below the low one."""
    calls: list[str] = []
    resumed = asyncio.Event()

    class Writer(asyncio.DatagramProtocol):
        def pause_writing(self) -> None:
            calls.append("pause")

        def resume_writing(self) -> None:
            calls.append("resume")
            resumed.set()

    transport: Any = jam.endpoint.transport
    transport.set_protocol(Writer())
    transport.set_write_buffer_limits(high=3000, low=1000)
    for index in range(8):
        transport.sendto(numbered(jam.taken + index), jam.addr)
    assert calls == ["pause"]

    jam.silent.answer()
    async with asyncio.timeout(5):
        await resumed.wait()

    transport.sendto(END, jam.addr)
    assert await jam.sink.numbers_until_end() == list(range(jam.taken + 8))
    assert calls == ["pause", "resume"]
