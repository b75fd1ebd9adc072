"""Delivery: one datagram or a batch, pauses in its middle, and the backlog."""

from __future__ import annotations

from typing import Any

import pytest

from aioudp._transports.delivery import MAX_BATCH

from .fakes import (
    BatchRecorder,
    BoundedBatchRecorder,
    BoundedRecorder,
    MakeRig,
    Recorder,
    Rig,
    close_at,
    datagrams,
    pause_at,
)


def test_a_plain_protocol_gets_one_datagram_at_a_time(rig: Rig) -> None:
    """In the order in which they were read."""
    rig.start()

    rig.receive([b"1", b"2"])

    assert rig.events == ["made", b"1", b"2"]


def test_a_batch_protocol_gets_the_batch(make_rig: MakeRig) -> None:
    """Whole, as one list."""
    rig = make_rig(protocol=BatchRecorder())
    rig.start()

    rig.receive([b"1", b"2"])

    assert rig.events == ["made", [b"1", b"2"]]


class Willing(Recorder):
    """A protocol that seems to have any method, as one that forwards calls does."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self._note((name, *args))


def test_methods_of_ours_are_looked_up_on_the_type(make_rig: MakeRig) -> None:
    """A protocol with ``__getattr__`` gets what any protocol gets."""
    rig = make_rig(protocol=Willing())
    rig.start()

    rig.receive([b"1", b"2"])

    assert rig.events == ["made", b"1", b"2"]
    assert rig.io.wanted == [MAX_BATCH]


@pytest.mark.parametrize("kind", [BoundedRecorder, BoundedBatchRecorder])
def test_a_protocol_may_say_how_many_it_wants(
    kind: type[BoundedRecorder], make_rig: MakeRig
) -> None:
    """It is asked before each batch."""
    protocol = kind()
    rig = make_rig(protocol=protocol)
    rig.start()

    rig.receive([b"1"])
    protocol.room = 2
    rig.receive([b"2"])

    assert rig.io.wanted == [5, 2]


@pytest.mark.parametrize("kind", [Recorder, BatchRecorder])
def test_a_protocol_that_does_not_say_gets_batches_of_a_fixed_size(
    kind: type[Recorder], make_rig: MakeRig
) -> None:
    """It cannot be asked."""
    rig = make_rig(protocol=kind())
    rig.start()

    rig.receive([b"1"])

    assert rig.io.wanted == [MAX_BATCH]


@pytest.mark.parametrize("kind", [BoundedRecorder, BoundedBatchRecorder])
def test_a_protocol_that_wants_nothing_pauses(
    kind: type[BoundedRecorder], make_rig: MakeRig
) -> None:
    """Nothing is read: it stays in the kernel, and the socket is not watched."""
    protocol = kind()
    protocol.room = 0
    rig = make_rig(protocol=protocol)
    rig.start()

    rig.receive([b"1"])

    assert (rig.events, rig.io.wanted) == (["made"], [])
    assert (rig.transport.is_reading(), rig.loop.readers) == (False, {})


def test_a_protocol_that_wants_something_again_resumes(make_rig: MakeRig) -> None:
    """What had been left in the kernel is read then."""
    protocol = BoundedBatchRecorder()
    protocol.room = 0
    rig = make_rig(protocol=protocol)
    rig.start()
    rig.receive([b"1"])
    protocol.room = 3

    rig.transport.resume_reading()
    rig.loop.claim_readable()

    assert (rig.events, rig.io.wanted) == (["made", [b"1"]], [3])


@pytest.mark.parametrize("way", ["pause_reading", "close", "abort"])
def test_a_protocol_may_stop_the_reading_when_it_is_asked(
    make_rig: MakeRig, way: str
) -> None:
    """Whatever it answers, nothing is read: the descriptor may be gone."""
    protocol = BoundedBatchRecorder()
    rig = make_rig(protocol=protocol)
    rig.start()
    protocol.on_asked = lambda: getattr(rig.transport, way)()

    rig.receive([b"1"])

    assert (rig.events, rig.io.wanted) == (["made"], [])


def test_an_announced_datagram_may_not_be_there(rig: Rig) -> None:
    """The kernel may have found its checksum wrong; the protocol is not troubled."""
    rig.start()

    rig.receive([])

    assert rig.events == ["made"]


def test_another_protocol_can_take_over(make_rig: MakeRig) -> None:
    """As with asyncio's own transports; batches, if it takes them."""
    rig = make_rig()
    rig.start()
    successor = BoundedBatchRecorder()

    rig.transport.set_protocol(successor)
    rig.receive([b"1", b"2"])

    assert rig.transport.get_protocol() is successor
    assert (rig.events, successor.events) == (["made"], [[b"1", b"2"]])
    assert rig.io.wanted == [successor.room]


def test_a_protocol_that_takes_over_may_take_less(make_rig: MakeRig) -> None:
    """It is not asked, and gets no batches, because the one before it could."""
    rig = make_rig(protocol=BoundedBatchRecorder())
    rig.start()
    successor = Recorder()

    rig.transport.set_protocol(successor)
    rig.receive([b"1", b"2"])

    assert (rig.events, successor.events) == (["made"], [b"1", b"2"])
    assert rig.io.wanted == [MAX_BATCH]


def test_a_protocol_that_pauses_gets_nothing_more(rig: Rig) -> None:
    """Even if more of the batch was read already."""
    rig.start()
    pause_at(rig, b"2")

    rig.receive([b"1", b"2", b"3", b"4"])
    rig.loop.turn()

    assert rig.events == ["made", b"1", b"2"]
    assert rig.loop.readers == {}


def test_what_was_held_back_comes_after_the_pause(rig: Rig) -> None:
    """Before anything that is read later, and not inside the call that resumes."""
    rig.start()
    pause_at(rig, b"2")
    rig.receive([b"1", b"2", b"3", b"4"])

    rig.transport.resume_reading()
    inside = [*rig.events]
    rig.loop.claim_readable()  # nothing is read before what was held back is out
    rig.loop.turn()
    rig.receive([b"5"])

    assert inside == ["made", b"1", b"2"]
    assert rig.events == ["made", b"1", b"2", b"3", b"4", b"5"]


def test_a_protocol_may_pause_again_and_again(rig: Rig) -> None:
    """What is held back shrinks by what was taken."""
    rig.start()
    pause_at(rig, b"1", b"2", b"3")
    rig.receive([b"1", b"2", b"3", b"4"])

    for _ in range(2):
        rig.transport.resume_reading()
        rig.loop.turn()
    before = [*rig.events]
    rig.transport.resume_reading()
    rig.loop.turn()

    assert before == ["made", b"1", b"2", b"3"]
    assert rig.events == ["made", b"1", b"2", b"3", b"4"]
    assert list(rig.loop.readers) == [rig.sock.fileno()]


def test_a_pause_at_the_end_of_a_batch_holds_nothing_back(rig: Rig) -> None:
    """Reading goes on at once when it is resumed."""
    rig.start()
    pause_at(rig, b"2")
    rig.receive([b"1", b"2"])

    rig.transport.resume_reading()

    assert list(rig.loop.readers) == [rig.sock.fileno()]
    assert rig.loop.soon == []


def test_a_resume_that_is_taken_back_delivers_nothing(rig: Rig) -> None:
    """The pause is in force by the time it would have been delivered."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])

    rig.transport.resume_reading()
    rig.transport.pause_reading()
    rig.loop.turn()

    assert rig.events == ["made", b"1"]


def test_closing_in_the_middle_of_a_batch_ends_it(rig: Rig) -> None:
    """No datagram reaches a protocol that has closed its transport."""
    rig.start()
    close_at(rig, b"1")

    rig.receive([b"1", b"2"])
    rig.loop.turn()

    assert rig.events == ["made", b"1", "lost"]


def test_what_a_protocol_that_raises_holds_back_comes_first(rig: Rig) -> None:
    """The rest of its batch is delivered before anything else is read."""

    def fail(event: Any) -> None:
        if event == b"one":
            raise LookupError(event)

    rig.start()
    rig.protocol.on_event = fail
    rig.receive([b"one", b"two"])
    assert [str(failure) for failure in rig.loop.failures] == ["b'one'"]
    rig.receive([b"three"])  # nobody reads
    assert rig.events == ["made", b"one"]

    rig.loop.turn()
    rig.loop.claim_readable()

    assert rig.events == ["made", b"one", b"two", b"three"]


def test_closing_forgets_what_was_held_back(rig: Rig) -> None:
    """Also if it was about to be delivered."""
    rig.start()
    pause_at(rig, b"1")
    rig.receive([b"1", b"2"])
    rig.transport.resume_reading()

    rig.transport.close()
    rig.loop.turn()

    assert rig.events == ["made", b"1", "lost"]


def test_the_backlog_comes_first(make_rig: MakeRig) -> None:
    """What the peer had sent before the socket was connected, counted as received."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"), foreign=3)
    rig.start()
    rig.receive([b"late"])

    stats = rig.transport.stats()
    assert rig.events == ["made", b"early", b"bird", b"late"]
    assert (stats.received, stats.received_bytes) == (2, 9)  # the fake counts nothing
    assert stats.dropped_kernel == 3


def test_a_batch_protocol_gets_the_backlog_as_a_batch(make_rig: MakeRig) -> None:
    """As anything else that it receives."""
    rig = make_rig(protocol=BatchRecorder(), backlog=datagrams(b"early", b"bird"))

    rig.start()

    assert rig.events == ["made", [b"early", b"bird"]]


def test_the_backlog_waits_for_a_protocol_that_paused(make_rig: MakeRig) -> None:
    """It comes when reading is resumed, before anything else."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"))
    pause_at(rig, "made")
    rig.start()
    before = [*rig.events]

    rig.transport.resume_reading()
    rig.loop.turn()
    rig.receive([b"late"])

    assert before == ["made"]
    assert rig.events == ["made", b"early", b"bird", b"late"]


def test_a_pause_in_the_middle_of_the_backlog_keeps_the_rest(make_rig: MakeRig) -> None:
    """It was read before, but it is handed over no faster."""
    rig = make_rig(backlog=datagrams(b"early", b"bird"))
    pause_at(rig, b"early")
    rig.start()
    before = [*rig.events]

    rig.transport.resume_reading()
    rig.loop.turn()

    assert before == ["made", b"early"]
    assert rig.events == ["made", b"early", b"bird"]


def test_a_protocol_that_closes_gets_no_backlog(make_rig: MakeRig) -> None:
    """Nothing arrives after close."""
    rig = make_rig(backlog=datagrams(b"early"))
    close_at(rig, "made")

    rig.start()
    rig.loop.turn()

    assert rig.events == ["made", "lost"]
