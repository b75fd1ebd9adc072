"""``sendto``: order, buffer, water marks, and what a turn of the loop gathers."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from .fakes import EVERYTHING, HIGH, OTHER, PEER, MakeRig, Rig, numbers, send_numbers

# -- sendto


def test_sendto_sends_at_once(rig: Rig) -> None:
    """Where there is room nothing is buffered."""
    rig.transport.sendto(b"payload", PEER)

    assert rig.io.out == [(b"payload", PEER)]
    assert rig.transport.get_write_buffer_size() == 0


def test_sendto_needs_no_address_when_connected(make_rig: MakeRig) -> None:
    """There is one peer; a datagram that has to wait goes to it as well."""
    rig = make_rig(peer=PEER)
    rig.transport.sendto(b"first")
    rig.io.room = 0
    rig.transport.sendto(b"second")
    rig.loop.turn()
    rig.io.room = 1
    rig.loop.claim_writable()

    assert rig.io.out == [(b"first", None), (b"second", None)]


def test_sendto_has_a_default_address(make_rig: MakeRig) -> None:
    """Where one peer was named and the socket is not connected to it."""
    rig = make_rig(default_addr=PEER)

    rig.transport.sendto(b"payload")
    with pytest.raises(ValueError, match=OTHER[0]):
        rig.transport.sendto(b"payload", OTHER)
    rig.transport.sendto(b"payload", PEER)
    rig.loop.turn()

    assert rig.io.out == [(b"payload", PEER)] * 2


def test_the_default_address_is_in_the_form_that_the_socket_takes(
    make_rig: MakeRig,
) -> None:
    """A look-up gives the zone by its name; no look-up is needed to send."""
    index, name = socket.if_nameindex()[0]
    try:
        rig = make_rig(
            addr=("::1", 0),
            family=socket.AF_INET6,
            default_addr=(f"fe80::1%{name}", 9, 0, index),
        )
    except OSError:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")

    rig.transport.sendto(b"payload")

    assert rig.io.out == [(b"payload", ("fe80::1", 9, 0, index))]


def test_sendto_keeps_the_order(full: Rig) -> None:
    """A datagram does not overtake those that wait, even if there is room again."""
    full.io.room = 2

    full.transport.sendto(b"second", PEER)
    before = [*full.io.out]
    full.loop.claim_writable()

    assert (before, full.io.out) == ([], [(b"first", PEER), (b"second", PEER)])


def test_sendto_copies_what_it_keeps(full: Rig) -> None:
    """The caller may use its buffer again."""
    data = bytearray(b"second")
    full.transport.sendto(data, PEER)
    data[:] = b"______"
    full.io.room = 2

    full.loop.claim_writable()

    assert full.io.out[1] == (b"second", PEER)


def test_what_is_buffered_has_a_size(full: Rig) -> None:
    """Each datagram counts its bytes and its header."""
    full.transport.sendto(b"", PEER)

    assert full.transport.get_write_buffer_size() == 8 + len(b"first") + 8


def test_the_size_is_zero_when_all_is_out(full: Rig) -> None:
    """The accounting adds up."""
    full.transport.sendto(bytes(1000), PEER)
    full.io.room = 2

    full.loop.claim_writable()

    assert full.transport.get_write_buffer_size() == 0


def test_a_full_buffer_pauses_the_protocol_once(full: Rig) -> None:
    """Above the high mark, and not again for what comes on top."""
    full.transport.sendto(bytes(HIGH - 100), PEER)
    before = [*full.events]
    for _ in range(3):
        full.transport.sendto(bytes(100), PEER)

    assert (before, full.events) == ([], ["pause"])


def test_a_drained_buffer_resumes_the_protocol_once(full: Rig) -> None:
    """Below the low mark, and not before."""
    for _ in range(3):
        full.transport.sendto(bytes(HIGH // 2), PEER)
    full.io.room = 2  # the short one, and one of the three
    full.loop.claim_writable()
    before = [*full.events]
    full.io.room = EVERYTHING
    full.loop.claim_writable()

    assert (before, full.events) == (["pause"], ["pause", "resume"])


def test_the_marks_can_be_set(full: Rig) -> None:
    """With asyncio's methods."""
    full.transport.set_write_buffer_limits(high=10, low=5)

    full.transport.sendto(b"more", PEER)

    assert full.transport.get_write_buffer_limits() == (5, 10)
    assert full.events == ["pause"]


def test_a_mark_below_what_waits_pauses_at_once(full: Rig) -> None:
    """The protocol doesn't need to send again to be resumed."""
    full.transport.set_write_buffer_limits(high=0)

    assert full.events == ["pause"]


@pytest.mark.parametrize("data", ["text", 3, None, [b"list"]])
def test_sendto_takes_bytes_only(rig: Rig, data: Any) -> None:
    """Nothing is sent; the caller gets the error, the protocol doesn't."""
    with pytest.raises(TypeError, match="bytes-like"):
        rig.transport.sendto(data, PEER)
    assert (rig.io.out, rig.events) == ([], [])


@pytest.mark.parametrize(
    ("addr", "error"),
    [
        (("localhost", 9), ValueError),
        (("127.0.0.1", 65536), ValueError),
        (("::1", 9), ValueError),
        ("127.0.0.1", TypeError),
        (["127.0.0.1", 9], TypeError),
        ((["127.0.0.1"], 9), TypeError),
    ],
)
@pytest.mark.parametrize("state", ["open", "gathering", "full", "closed"])
def test_sendto_checks_the_address_at_once(
    rig: Rig, state: str, addr: Any, error: type[Exception]
) -> None:
    """Also where the datagram would have to wait, or would be ignored."""
    if state == "full":
        rig.io.room = 0
    if state in ("full", "gathering"):
        rig.transport.sendto(b"first", PEER)
    elif state == "closed":
        rig.transport.close()
    before = [*rig.io.out]

    with pytest.raises(error):
        rig.transport.sendto(b"payload", addr)
    rig.loop.turn()
    assert rig.io.out == before


def test_sendto_reports_an_error_to_the_protocol(rig: Rig) -> None:
    """It does not raise it; and the transport stays open."""
    rig.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")] * 2

    rig.transport.sendto(b"payload", PEER)

    (error,) = rig.events
    assert error.errno == errno.ENETUNREACH
    assert "sending 7 bytes to ('127.0.0.1', 9)" in str(error)
    assert not rig.transport.is_closing()


def test_an_error_of_a_buffered_datagram_is_reported(full: Rig) -> None:
    """That datagram is gone, and the next goes out."""
    full.transport.sendto(b"second", PEER)
    full.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")] * 2
    full.io.room = EVERYTHING

    full.loop.claim_writable()

    assert [error.errno for error in full.events] == [errno.ENETUNREACH]
    assert full.io.out == [(b"second", PEER)]


def test_the_protocol_may_abort_when_it_hears_of_an_error(full: Rig) -> None:
    """In the middle of a flush."""
    full.transport.sendto(b"second", PEER)
    full.io.errors = [OSError(errno.ENETUNREACH, "Network is unreachable")] * 2
    full.io.room = EVERYTHING
    full.protocol.on_event = lambda _: full.transport.abort()

    full.loop.claim_writable()
    full.protocol.on_event = lambda _: None
    full.loop.turn()

    assert full.io.out == []
    assert full.events[1:] == ["lost"]


def test_sendto_after_close_is_ignored(rig: Rig) -> None:
    """As on asyncio's own transports."""
    rig.transport.close()

    rig.transport.sendto(b"payload", PEER)

    assert rig.io.out == []


# -- sendto, many times in one turn of the loop


def test_the_first_of_a_turn_goes_out_at_once(rig: Rig) -> None:
    """A lone answer is not held up; only what follows it is gathered."""
    send_numbers(rig, 3)
    before = [*rig.io.out]

    rig.loop.turn()

    assert (before, rig.io.out) == (numbers(1), numbers(3))


def test_what_is_gathered_goes_out_in_one_call(rig: Rig) -> None:
    """That is what it was gathered for."""
    send_numbers(rig, 100)
    rig.loop.turn()

    assert (rig.io.out, rig.io.attempts) == (numbers(100), 1)


def test_every_turn_has_a_first(rig: Rig) -> None:
    """What was gathered before is out, and nothing is in its way."""
    for _ in range(2):
        send_numbers(rig, 2)
        before = len(rig.io.out)
        rig.loop.turn()

    assert (before, rig.io.out) == (3, numbers(2) * 2)


def test_a_turn_is_ended_once(rig: Rig) -> None:
    """However much was sent in it; and a loop without work has nothing to do."""
    send_numbers(rig, 50)
    during = len(rig.loop.soon)
    rig.loop.turn()

    assert (during, rig.loop.soon) == (1, [])


@pytest.mark.parametrize(("count", "out"), [(128, 1), (129, 129), (200, 129)])
def test_enough_go_out_before_the_turn_is_over(rig: Rig, count: int, out: int) -> None:
    """A long turn does not gather without end: a train's worth leaves."""
    send_numbers(rig, count)
    before = [*rig.io.out]
    rig.loop.turn()

    assert (before, rig.io.out) == (numbers(count)[:out], numbers(count))


def test_a_kernel_without_room_is_not_asked_again(full: Rig) -> None:
    """Neither for the first of a turn, nor for many: it says when there is room."""
    before = full.io.attempts

    send_numbers(full, 500)
    full.loop.turn()

    assert (full.io.attempts, full.io.out) == (before, [])
    assert list(full.loop.writers) == [full.sock.fileno()]


def test_what_is_gathered_is_copied(rig: Rig) -> None:
    """The caller may use its buffer again in the same turn."""
    data = bytearray(b"payload")
    for _ in range(2):
        rig.transport.sendto(data, PEER)
    data[:] = b"_______"

    rig.loop.turn()

    assert rig.io.out == [(b"payload", PEER)] * 2


def test_what_is_gathered_has_a_size(rig: Rig) -> None:
    """It is in the buffer until the end of the turn."""
    for _ in range(3):
        rig.transport.sendto(bytes(100), PEER)
    before = rig.transport.get_write_buffer_size()
    rig.loop.turn()

    assert (before, rig.transport.get_write_buffer_size()) == (2 * (100 + 8), 0)


def test_gathering_above_the_high_mark_sends_before_it_pauses(rig: Rig) -> None:
    """The kernel may have room, so the protocol isn't paused."""
    for _ in range(4):
        rig.transport.sendto(bytes(HIGH // 2), PEER)

    assert len(rig.io.out) == 3
    rig.loop.turn()
    assert len(rig.io.out) == 4
    assert rig.events == []


def test_gathering_above_the_high_mark_pauses_if_there_is_no_room(rig: Rig) -> None:
    """The marks hold for what is gathered too."""
    rig.io.room = 0
    for _ in range(4):
        rig.transport.sendto(bytes(HIGH // 2), PEER)

    assert rig.events == ["pause"]


def test_the_first_of_a_turn_may_find_no_room(rig: Rig) -> None:
    """It stays the first: the others wait behind it, and for room once."""
    rig.io.room = 0
    send_numbers(rig, 3)
    rig.loop.turn()
    rig.io.room = EVERYTHING

    rig.loop.claim_writable()

    assert rig.io.out == numbers(3)


def test_room_for_some_of_a_turn_takes_those(rig: Rig) -> None:
    """The rest goes out when the socket is writable, and none twice."""
    rig.io.room = 3
    send_numbers(rig, 5)
    rig.loop.turn()
    before = [*rig.io.out]
    rig.io.room = EVERYTHING
    rig.loop.claim_writable()

    assert (before, rig.io.out) == (numbers(3), numbers(5))


def test_errors_at_the_end_of_a_turn_are_reported(rig: Rig) -> None:
    """Each once; the datagrams behind it go out."""
    send_numbers(rig, 4)
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")] * 2

    rig.loop.turn()

    assert [error.errno for error in rig.events] == [errno.EPERM] * 2
    assert "sending 1 bytes to ('127.0.0.1', 9)" in str(rig.events[0])
    assert rig.io.out == [numbers(4)[index] for index in (0, 3)]
    assert rig.transport.stats().send_errors == 2


@pytest.mark.parametrize("way", ["close", "abort"])
def test_the_protocol_may_close_at_the_end_of_a_turn(rig: Rig, way: str) -> None:
    """The protocol gets the error; an abort drops what was gathered behind it."""
    send_numbers(rig, 4)
    rig.io.errors = [PermissionError(errno.EPERM, "Operation not permitted")]
    rig.protocol.on_event = lambda event: getattr(rig.transport, way)()

    rig.loop.turn()

    rest = numbers(4)[2:] if way == "close" else []
    assert rig.io.out == numbers(1) + rest
    assert rig.sock.fileno() == -1


def test_closing_sends_what_was_gathered(rig: Rig) -> None:
    """At once, so that the descriptor can go at once too."""
    send_numbers(rig, 3)

    rig.transport.close()
    out, fd = [*rig.io.out], rig.sock.fileno()
    rig.loop.turn()

    assert (out, fd) == (numbers(3), -1)
    assert (rig.io.out, rig.events) == (numbers(3), ["lost"])


def test_closing_waits_for_room_for_what_was_gathered(rig: Rig) -> None:
    """As for anything else that is buffered."""
    rig.io.room = 1
    send_numbers(rig, 3)
    rig.transport.close()
    rig.loop.turn()
    before = [*rig.io.out], rig.sock.fileno() >= 0
    rig.io.room = EVERYTHING
    rig.loop.claim_writable()
    rig.loop.turn()

    assert before == (numbers(1), True)
    assert (rig.io.out, rig.sock.fileno()) == (numbers(3), -1)
    assert rig.events == ["lost"]


def test_aborting_forgets_what_was_gathered(rig: Rig) -> None:
    """The end of the turn finds nothing to send."""
    send_numbers(rig, 3)

    rig.transport.abort()
    rig.loop.turn()

    assert (rig.io.out, rig.events) == (numbers(1), ["lost"])
