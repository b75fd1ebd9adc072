"""The selector transport: reading, closing, and its public attributes.

The file is long because this is the default transport.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._system.batchio import BatchSocket
from aioudp._transports import selector
from aioudp._transports.delivery import MAX_BATCH
from aioudp._transports.selector import (
    FRUITLESS,
    SelectorTransport,
    watches_descriptors,
)

from .fakes import (
    EVERYTHING,
    HIGH,
    PEER,
    REFUSED,
    BoundedBatchRecorder,
    FakeIO,
    FakeLoop,
    MakeRig,
    Recorder,
    Rig,
    close_at,
    datagrams,
    pause_at,
    with_unix_sockets,
)

# -- reading


def test_starting_notifies_the_protocol_and_watches_the_socket(rig: Rig) -> None:
    """In this order, so that nothing arrives unannounced."""
    before = rig.transport.is_reading()
    rig.start()

    assert rig.events == ["made"]
    assert (before, rig.transport.is_reading()) == (False, True)
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_protocol_may_pause_as_soon_as_it_is_connected(rig: Rig) -> None:
    """It is not overruled by the start of the reading."""
    pause_at(rig, "made")

    rig.start()

    assert not rig.transport.is_reading()
    assert rig.loop.readers == {}


def test_a_protocol_may_close_as_soon_as_it_is_connected(rig: Rig) -> None:
    """Nothing is watched that is closed."""
    close_at(rig, "made")

    rig.start()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]
    assert rig.loop.readers == {}


def test_pausing_stops_watching(rig: Rig) -> None:
    """What arrives stays in the kernel; once is enough."""
    rig.start()

    rig.transport.pause_reading()
    rig.transport.pause_reading()

    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_resuming_watches_again(rig: Rig) -> None:
    """Once is enough here too."""
    rig.start()
    rig.transport.pause_reading()

    rig.transport.resume_reading()
    rig.transport.resume_reading()

    assert rig.transport.is_reading()
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_closed_transport_does_not_resume(rig: Rig) -> None:
    """Its descriptor may belong to somebody else by now."""
    rig.start()
    rig.transport.close()

    rig.transport.resume_reading()

    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_polling_reads_now(make_rig: MakeRig) -> None:
    """The caller gets the datagrams; the protocol isn't involved."""
    rig = make_rig(protocol=BoundedBatchRecorder())
    rig.start()
    rig.io.incoming = [datagrams(b"1", b"2"), datagrams(b"3")]

    polled = [rig.transport.poll() for _ in range(3)]

    assert polled == [datagrams(b"1", b"2"), datagrams(b"3"), []]
    assert (rig.events, rig.io.wanted) == (["made"], [MAX_BATCH] * 3)


def test_polling_looks_thoroughly(rig: Rig) -> None:
    """Who asks wants to know; a readable socket says itself when there is more."""
    rig.start()
    rig.transport.poll()
    rig.loop.claim_readable()

    assert rig.io.thorough == [True, False]


def test_polling_reads_as_many_as_are_wanted(rig: Rig) -> None:
    """What the caller has no use for stays in the kernel."""
    rig.start()

    rig.transport.poll(3)

    assert rig.io.wanted == [3]


@pytest.mark.parametrize("way", ["pause_reading", "close", "abort"])
def test_polling_a_paused_or_closed_transport_reads_nothing(rig: Rig, way: str) -> None:
    """The pause holds; and the descriptor may be somebody else's by now."""
    rig.start()
    getattr(rig.transport, way)()
    rig.io.incoming = [datagrams(b"1")]

    assert rig.transport.poll() == []
    assert (rig.events, rig.io.wanted) == (["made"], [])


def test_polling_before_the_start_reads_nothing(rig: Rig) -> None:
    """Nothing arrives unannounced."""
    assert (rig.transport.poll(), rig.io.wanted) == ([], [])


def test_polling_does_not_overtake_what_was_held_back(rig: Rig) -> None:
    """That comes first, and only on the next turn."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])
    rig.transport.resume_reading()
    rig.io.incoming = [datagrams(b"3")]

    assert rig.transport.poll() == []


def test_an_error_that_polling_meets_is_reported(rig: Rig) -> None:
    """To the protocol, as any other; the caller gets nothing this time."""
    rig.start()
    rig.io.incoming = [REFUSED, datagrams(b"1")]

    polled = [rig.transport.poll() for _ in range(2)]

    assert polled == [[], datagrams(b"1")]
    assert rig.events == ["made", REFUSED]
    assert rig.transport.stats().receive_errors == 1


def test_errors_without_end_do_not_keep_polling(rig: Rig) -> None:
    """The socket is left alone then, by this way too."""
    rig.start()
    rig.io.incoming = [REFUSED] * 100

    for _ in range(100):
        rig.transport.poll()

    assert len(rig.events) < 50


def test_a_read_error_is_reported(rig: Rig) -> None:
    """And counted; reading goes on."""
    rig.start()

    rig.receive(REFUSED, [b"1"])

    assert rig.events == ["made", REFUSED, b"1"]
    assert rig.transport.stats().receive_errors == 1


def test_errors_without_end_do_not_spin(rig: Rig) -> None:
    """After some in a row the socket is left alone for a moment."""
    rig.start()

    rig.receive(*[REFUSED] * 100)

    assert len(rig.events) < 50
    assert rig.loop.readers == {}
    timer = rig.loop.pending_timer()
    assert timer is not None
    assert 0.01 <= timer.delay <= 1


def test_after_a_moment_reading_goes_on(rig: Rig) -> None:
    """One error more is enough for the next rest, a datagram ends the series."""
    rig.start()
    rig.receive(*[REFUSED] * 100)
    rig.io.incoming.clear()
    rests = []

    for incoming in (REFUSED, [b"1"], REFUSED):
        rig.loop.fire_timer()
        rig.receive(incoming)
        rests.append(rig.loop.readers == {})
        if not rests[-1]:
            break

    assert rests == [True, False]
    assert rig.events[-1] == b"1"


def test_a_datagram_ends_a_series_of_errors(rig: Rig) -> None:
    """Errors now and then are no reason to rest."""
    rig.start()

    for _ in range(100):
        rig.receive(REFUSED, [b"1"])

    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_resuming_does_not_cut_the_rest_short(rig: Rig) -> None:
    """A protocol that pauses and resumes at every error would spin otherwise."""
    rig.start()
    rig.receive(*[REFUSED] * 100)

    rig.transport.pause_reading()
    rig.transport.resume_reading()

    assert rig.loop.readers == {}


async def test_reading_goes_on_after_an_icmp_error() -> None:
    """On every loop, some of which stop watching a socket that has an error."""
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as gone:
        peer = gone.getsockname()
    protocol = Recorder()
    notified = asyncio.Event()
    protocol.on_event = lambda _: notified.set()

    async def next_event() -> Any:
        notified.clear()
        async with asyncio.timeout(10):
            await notified.wait()
        return protocol.events[-1]

    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as sock:
        sock.connect(peer)
        io = BatchSocket(sock, gso_segments=1, gro=False)
        loop = asyncio.get_running_loop()
        transport = SelectorTransport(loop, sock, protocol, io)
        await transport.start()
        transport.try_send(b"nobody is there")
        error = await next_event()
        with sockets.open_bound(peer, socket.AF_INET) as back:
            back.sendto(b"payload", sock.getsockname())
            received = await next_event()
        transport.abort()
        lost = await next_event()

    assert isinstance(error, ConnectionRefusedError)
    assert (received, lost) == (b"payload", "lost")


def test_closing_ends_the_rest(rig: Rig) -> None:
    """The timer is not left with the event loop."""
    rig.start()
    rig.receive(*[REFUSED] * 100)

    rig.transport.close()

    assert rig.loop.pending_timer() is None


# -- closing


def test_closing_frees_the_descriptor_at_once(rig: Rig) -> None:
    """The port can be bound on the next line; the protocol hears of it next turn."""
    rig.start()
    addr = rig.sock.getsockname()

    rig.transport.close()

    with sockets.open_bound(addr, socket.AF_INET):
        pass
    assert (rig.events, rig.loop.readers) == (["made"], {})
    rig.loop.turn()
    assert rig.events == ["made", "lost"]


@pytest.mark.parametrize(
    "calls",
    [("close", "close"), ("close", "abort"), ("abort", "close"), ("abort", "abort")],
)
def test_closing_twice_is_closing_once(rig: Rig, calls: tuple[str, str]) -> None:
    """In any way; the protocol is notified once."""
    rig.start()

    for call in calls:
        getattr(rig.transport, call)()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]
    assert rig.transport.is_closing()


def test_closing_sends_what_is_buffered_first(full: Rig) -> None:
    """Then the descriptor goes."""
    full.transport.close()
    before = full.sock.fileno(), full.transport.is_closing()
    full.io.room = 1
    full.loop.claim_writable()
    full.loop.turn()

    assert before[0] >= 0
    assert before[1]
    assert full.io.out == [(b"first", PEER)]
    assert (full.sock.fileno(), full.events) == (-1, ["lost"])


def test_a_closing_transport_resumes_the_protocol(full: Rig) -> None:
    """A protocol that was paused hears that all is out, as with asyncio's."""
    full.transport.sendto(bytes(HIGH), PEER)
    full.transport.close()
    full.io.room = EVERYTHING

    full.loop.claim_writable()
    full.loop.turn()

    assert full.events == ["pause", "resume", "lost"]


def test_aborting_forgets_what_is_buffered(full: Rig) -> None:
    """The descriptor goes now."""
    full.transport.abort()
    full.loop.turn()

    assert (full.io.out, full.sock.fileno(), full.events) == ([], -1, ["lost"])
    assert full.transport.get_write_buffer_size() == 0


def test_aborting_cuts_a_slow_close_short(full: Rig) -> None:
    """What is still buffered is forgotten then."""
    full.transport.close()

    full.transport.abort()
    full.loop.turn()

    assert (full.io.out, full.sock.fileno(), full.events) == ([], -1, ["lost"])


def test_an_error_after_close_is_not_reported(make_rig: MakeRig) -> None:
    """The protocol hears nothing between the close and the lost connection."""
    rig = make_rig(peer=PEER)
    rig.io.errors = [REFUSED]
    rig.transport.try_send(b"payload")

    rig.transport.close()
    rig.loop.turn()

    assert rig.events == ["lost"]
    assert rig.transport.stats().receive_errors == 1


def test_closing_works_after_the_loop_was_closed(rig: Rig) -> None:
    """The descriptor goes; the loop is not touched."""
    rig.start()
    rig.loop.closed = True

    rig.transport.close()

    assert (rig.sock.fileno(), rig.events) == (-1, ["made"])


def test_aborting_works_after_the_loop_was_closed(full: Rig) -> None:
    """Even with a writer left behind in it."""
    full.loop.closed = True

    full.transport.abort()

    assert full.sock.fileno() == -1


@with_unix_sockets
def test_closing_removes_the_path(make_rig: MakeRig, tmp_path: Path) -> None:
    """Of a UNIX socket that was bound here."""
    path = tmp_path / "socket"
    rig = make_rig(addr=str(path), family=sockets.AF_UNIX)
    bound = Rig(
        rig.sock, SelectorTransport, Recorder(), path=sockets.BoundPath(str(path))
    )

    bound.transport.close()

    assert not path.exists()


def test_the_counts_stay_readable(rig: Rig) -> None:
    """After close, when the kernel can be asked no more."""
    rig.transport.try_send(b"payload", PEER)
    rig.transport.close()

    assert rig.transport.stats().sent == 1


# -- looking


def test_the_representation_shows_the_state(rig: Rig) -> None:
    """In a log it shows which socket that is."""
    before = repr(rig.transport)
    fd = rig.sock.fileno()
    rig.transport.close()

    assert f"SelectorTransport fd={fd} batchio=python gro=False" in before
    assert "SelectorTransport closed" in repr(rig.transport)


def test_the_transport_knows_its_addresses(make_rig: MakeRig) -> None:
    """Under asyncio's names."""
    rig = make_rig(peer=PEER)
    info = rig.transport.get_extra_info

    assert info("socket") is rig.sock
    assert info("sockname") == rig.sock.getsockname()
    assert info("peername") == PEER


def test_an_unconnected_transport_has_no_peer(rig: Rig) -> None:
    """The name is known, its value is none."""
    assert rig.transport.get_extra_info("peername", "default") is None


def test_an_unknown_name_gives_the_default(rig: Rig) -> None:
    """As with asyncio's own transports."""
    assert rig.transport.get_extra_info("cipher", "default") == "default"


def test_the_offload_in_force_can_be_seen(rig: Rig) -> None:
    """It changes when the kernel turns out to refuse trains."""
    before = rig.transport.get_extra_info("offload")
    rig.io.gso_segments = 64

    rig.io.refusals.add(PEER, 7, "why")
    after = rig.transport.get_extra_info("offload")

    assert before == {
        "gso_segments": 1,
        "gso_refused_for": [],
        "gro": False,
        "batchio": "python",
    }
    assert after == before | {"gso_segments": 64, "gso_refused_for": [PEER]}
    assert rig.transport.get_extra_info("offload")["gso_segments"] == 64


def test_a_loop_that_watches_descriptors_is_recognised(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """All the loops of the matrix do."""
    loop = loop_factory()
    loop.close()

    assert watches_descriptors(loop)


def test_a_loop_that_does_not_is_recognised() -> None:
    """Windows' Proactor loop inherits the method and does not implement it."""

    blind: Any = type("Blind", (asyncio.AbstractEventLoop,), {})

    assert not watches_descriptors(blind())


# -- an error that a read meets after datagrams


@pytest.mark.parametrize("way", ["event", "poll"])
def test_an_error_after_datagrams_needs_no_other_datagram(rig: Rig, way: str) -> None:
    """The protocol hears of it after them, though nothing more arrives."""
    rig.start()
    rig.events.clear()
    rig.io.pending = REFUSED

    if way == "event":
        rig.receive([b"1", b"2"])
    else:
        rig.io.incoming.append(datagrams(b"1", b"2"))
        assert rig.transport.poll() == datagrams(b"1", b"2")
    rig.loop.turn()

    assert rig.events == ([b"1", b"2"] if way == "event" else []) + [REFUSED]
    assert rig.transport.stats().receive_errors == 1


def test_an_error_after_datagrams_is_reported_once(rig: Rig) -> None:
    """The next receive may be quicker than the turn of the loop that reports it."""
    rig.start()
    rig.events.clear()
    rig.io.pending = REFUSED

    rig.receive([b"1"])
    rig.io.pending = None
    rig.receive(REFUSED)
    rig.loop.turn()
    rig.loop.turn()

    assert rig.events == [b"1", REFUSED]


def test_an_error_after_datagrams_is_counted_when_the_protocol_closes(
    rig: Rig,
) -> None:
    """Nobody is left to hear of it, but it happened."""
    rig.start()
    rig.protocol.on_event = lambda event: rig.transport.abort()
    rig.io.pending = REFUSED

    rig.receive([b"1"])
    rig.loop.turn()

    assert REFUSED not in rig.events
    assert rig.transport.stats().receive_errors == 1


# -- a loop that does not watch, and a socket that has nothing


def refuse_watching(rig: Rig, what: str) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no more watches")

    setattr(rig.loop, what, refuse)


def test_a_loop_that_watches_no_more_at_the_start(rig: Rig) -> None:
    """The protocol hears of nothing."""
    refuse_watching(rig, "add_reader")

    with pytest.raises(OSError, match="no more watches"):
        rig.transport.start().send(None)

    assert rig.events == []


def test_a_loop_that_watches_no_more_when_reading_resumes(rig: Rig) -> None:
    """The protocol is told once; it is tried again until it works."""
    rig.start()
    rig.transport.pause_reading()
    refuse_watching(rig, "add_reader")

    rig.transport.resume_reading()
    rig.loop.fire_timer()
    rig.loop.fire_timer()
    del rig.loop.add_reader
    rig.loop.fire_timer()
    rig.receive([b"payload"])

    made, refusal, data = rig.events
    assert (made, refusal.errno, data) == ("made", errno.ENOSPC, b"payload")


def test_a_loop_that_watches_no_more_when_there_is_no_room(rig: Rig) -> None:
    """A timer does it."""
    refuse_watching(rig, "add_writer")
    rig.io.room = 0
    rig.transport.sendto(b"payload", PEER)
    rig.loop.turn()
    rig.io.room = EVERYTHING

    rig.loop.fire_timer()

    assert rig.io.out == [(b"payload", PEER)]


def test_events_without_a_datagram_do_not_spin(rig: Rig) -> None:
    """After a few in a row reading pauses for a moment, and again after each."""
    rig.start()

    for _ in range(FRUITLESS):
        assert rig.loop.readers
        rig.receive([])
    resting = dict(rig.loop.readers)
    rig.loop.fire_timer()
    rig.receive([])

    assert resting == rig.loop.readers == {}
    rig.loop.fire_timer()
    rig.receive([b"payload"])
    rig.receive([])
    assert rig.events == ["made", b"payload"]
    assert rig.loop.readers


def test_a_lone_event_without_a_datagram_costs_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error queue is asked after the second, and with datagrams between never."""
    asked: list[object] = []

    def discard(sock: object) -> int:
        asked.append(sock)
        return 0

    monkeypatch.setattr(selector, "discard", discard)
    rig.start()

    for _ in range(3):
        rig.receive([], [b"payload"])
    before = len(asked)
    rig.receive([], [])

    assert (before, len(asked)) == (0, 1)


def test_a_queue_that_was_filled_is_looked_at_from_then_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each event, since datagrams hide it; and what is found is counted."""
    found = [2, 0, 1, 0]
    monkeypatch.setattr(selector, "discard", lambda sock: found.pop(0))
    rig.start()
    rig.receive([], [])

    rig.receive([b"1"], [b"2"], [b"3"])

    assert (found, rig.events) == ([], ["made", b"1", b"2", b"3"])
    assert rig.transport.stats().dropped_errors == 3


def test_a_transport_that_was_not_made_owns_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the descriptors are used up: the caller still has the socket."""

    def refuse(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(selector, "watcher_for", refuse)
    sock = sockets.open_bound(("127.0.0.1", 0), socket.AF_INET)

    with sock:
        loop: Any = FakeLoop()
        with pytest.raises(OSError, match="too many"):
            SelectorTransport(loop, sock, Recorder(), FakeIO(sock), drop_in=True)
        gc.collect()  # an error in __del__ fails the test

        assert sock.fileno() != -1
