"""A kernel without room: wait for the socket, or for a timer if it only claims."""

from __future__ import annotations

import pytest

from aioudp._transports.loop import LoopTransport

from .fakes import PEER, MakeRig, Rig


def test_the_first_refusal_waits_for_the_socket(full: Rig) -> None:
    """The event loop says when it is writable; there is no timer."""
    assert (list(full.loop.writers), full.loop.timers) == ([full.sock.fileno()], [])


def test_a_writable_socket_gets_what_is_buffered(full: Rig) -> None:
    """In order; then nothing is watched any more."""
    full.transport.sendto(b"second", PEER)
    full.io.room = 2

    full.loop.claim_writable()

    assert full.io.out == [(b"first", PEER), (b"second", PEER)]
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


def test_a_socket_that_only_claims_to_be_writable_is_not_asked_again(
    full: Rig,
) -> None:
    """It would claim so again at once, for ever: a timer takes over, ever slower."""
    full.loop.claim_writable()
    delays = []

    for _ in range(10):
        timer = full.loop.pending_timer()
        assert timer is not None
        assert not full.loop.writers
        delays.append(timer.delay)
        full.loop.fire_timer()

    assert 0 < delays[0] <= 0.01
    assert delays[1:4] == [2 * delay for delay in delays[:3]]
    assert delays == sorted(delays)
    assert delays[-3:] == [0.05] * 3


def test_the_timer_sends_when_there_is_room(full: Rig) -> None:
    """Nobody has to say that the socket became writable."""
    full.loop.claim_writable()
    full.io.room = 1

    full.loop.fire_timer()

    assert full.io.out == [(b"first", PEER)]
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


@pytest.mark.parametrize("refusals", [1, 2, 5])
def test_after_a_success_the_socket_is_believed_again(full: Rig, refusals: int) -> None:
    """The next full buffer may be an ordinary one."""
    full.loop.claim_writable()
    for _ in range(refusals - 1):
        full.loop.fire_timer()
    full.io.room = 1
    full.loop.fire_timer()

    full.transport.sendto(b"second", PEER)
    full.loop.turn()

    assert full.loop.pending_timer() is None
    assert list(full.loop.writers) == [full.sock.fileno()]


def test_a_transport_that_cannot_watch_waits_for_the_timer(make_rig: MakeRig) -> None:
    """On the loop transport the descriptor is watched by the loop's own."""
    rig = make_rig(LoopTransport)
    rig.io.room = 0
    rig.transport.sendto(b"first", PEER)
    rig.loop.turn()
    delays = []
    for _ in range(8):
        timer = rig.loop.pending_timer()
        assert timer is not None
        delays.append(timer.delay)
        rig.loop.fire_timer()

    assert rig.loop.writers == {}
    assert delays[0] == 0.001
    assert delays[-1] == 0.05


def test_waiting_twice_watches_once(full: Rig) -> None:
    """Another buffered datagram adds neither a writer nor a timer."""
    full.loop.claim_writable()

    full.transport.sendto(b"second", PEER)
    full.loop.turn()

    assert full.loop.writers == {}
    assert full.loop.pending_timer() is not None


def test_closing_ends_the_wait_for_the_socket(full: Rig) -> None:
    """Nothing is left with the event loop."""
    before = len(full.loop.writers)

    full.transport.abort()

    assert before == 1
    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)


def test_closing_ends_the_wait_for_the_timer(full: Rig) -> None:
    """Nothing is left with the event loop."""
    full.loop.claim_writable()

    full.transport.abort()

    assert (full.loop.writers, full.loop.pending_timer()) == ({}, None)
