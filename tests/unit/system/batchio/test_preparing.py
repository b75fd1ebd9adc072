"""Preparing: what is checked and copied before a datagram is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aioudp._system.batchio import BatchSocket

from .support import HERE, THERE, Twin


def no_options(addr: object, options: object) -> Any:
    raise AssertionError((addr, options))


def prepare(
    twin: Twin, datagrams: Any, table: dict[object, Any] | None = None
) -> tuple[list[tuple[bytes, Any]], list[object]]:
    """Return what was prepared, and which addresses were looked up for it."""
    looked_up: list[object] = []

    def translate(addr: object) -> Any:
        looked_up.append(addr)
        return addr if table is None else table[addr]

    return twin.prepare(datagrams, translate, no_options), looked_up


def test_addresses_are_translated(twin: Twin) -> None:
    """Each to its own; that there is none is nothing to translate."""
    one, two = ("192.0.2.1", 1), ("192.0.2.2", 2)
    order = [one, one, two, None, two, one, None, None, one]

    prepared, _ = prepare(
        twin, [(b"%d" % at, addr) for at, addr in enumerate(order)], {one: 1, two: None}
    )

    translated = [1, 1, None, None, None, 1, None, None, 1]
    assert prepared == [(b"%d" % at, addr) for at, addr in enumerate(translated)]


def test_every_destination_is_looked_up(twin: Twin) -> None:
    """Equal ones may be known to be so, others not; ``None`` is none."""
    one, two = ("192.0.2.1", 1), ("192.0.2.2", 2)

    _, looked_up = prepare(twin, [(b"", addr) for addr in (one, two, None, one)])

    assert looked_up == [one, two, one]


def test_one_peer_is_looked_up_once(twin: Twin) -> None:
    """By the compiled twin, where a look-up would cost more than all the rest."""
    peer = "192.0.2.1", 1
    equal = tuple(iter(peer))
    order = [peer] * 100 + [equal] * 100

    _, looked_up = prepare(twin, [(b"", addr) for addr in order])

    assert looked_up == (order if twin is BatchSocket else [peer, equal])


@pytest.mark.parametrize(
    "data",
    [
        b"payload",
        bytearray(b"payload"),
        memoryview(b"payload"),
        memoryview(b"p_a_y_l_o_a_d")[::2],
        type("Bytes", (bytes,), {})(b"payload"),
    ],
)
@pytest.mark.parametrize("addr", [HERE, None])
def test_every_payload_becomes_bytes(data: Any, addr: Any, twin: Twin) -> None:
    """Plain ones, whatever it was."""
    ((payload, peer),), _ = prepare(twin, [(data, addr)])

    assert (type(payload), payload, peer) == (bytes, b"payload", addr)


def test_a_payload_that_can_change_is_copied(twin: Twin) -> None:
    """What waits to be sent is what was given; bytes are as they are."""
    data, constant = bytearray(b"payload"), bytes(bytearray(b"constant"))

    prepared, _ = prepare(
        twin, [(data, HERE), (memoryview(data), None), (constant, HERE)]
    )
    data[:] = b"_______"

    assert prepared == [(b"payload", HERE), (b"payload", None), (b"constant", HERE)]
    assert prepared[2][0] is constant


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_datagrams_may_come_as_any_iterable_of_any_pairs(
    kind: Callable[[Any], Any], twin: Twin
) -> None:
    """What comes out is the same, and can be sent."""
    given = kind([(b"1", HERE), [b"2", HERE], iter((b"3", None))])

    prepared, _ = prepare(twin, given)

    assert prepared == [(b"1", HERE), (b"2", HERE), (b"3", None)]
    assert {type(item) for item in prepared} == {tuple}


def test_nothing_is_prepared_from_nothing(twin: Twin) -> None:
    """An empty batch is a batch."""
    assert prepare(twin, []) == ([], [])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("text", HERE, None), "a bytes-like object is required, not 'str'; encode"),
        (("text", HERE), "a bytes-like object is required, not 'str'; encode text"),
        ((None, HERE), "a bytes-like object is required, not 'NoneType'"),
        (([1], None), "a bytes-like object is required, not 'list'"),
        (b"xyz", "a pair of payload and address is required, not b'xyz'"),
        ((b"xy",), "a pair of payload and address is required"),
        ((b"xy", HERE, None, 3), "a pair of payload and address is required"),
        ((), "a pair of payload and address is required"),
        (3, "a pair of payload and address is required, not 3"),
        (None, "a pair of payload and address is required, not None"),
    ],
)
def test_what_is_no_datagram_is_refused(item: Any, message: str, twin: Twin) -> None:
    """With the words for what is wrong."""
    with pytest.raises(TypeError) as caught:
        prepare(twin, [(b"xy", HERE), item])
    assert message in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_an_address_that_is_refused_is_raised_as_it_came(
    error: type[Exception], twin: Twin
) -> None:
    """Also after one that was taken; the payload is no longer in question."""
    refusal = error("not an address")

    def translate(addr: object) -> Any:
        if addr is THERE:
            raise refusal
        return addr

    with pytest.raises(error) as caught:
        twin.prepare([(b"1", HERE), (b"2", THERE)], translate, no_options)
    assert caught.value is refusal
