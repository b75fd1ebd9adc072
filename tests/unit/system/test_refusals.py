"""Which destinations refuse trains, and for how long that is believed."""

from __future__ import annotations

import logging

import pytest

from aioudp._system.refusals import MAX_DESTINATIONS, SINGLES, Refusals
from aioudp._system.send_options import SendOptions, steer

HERE = ("192.0.2.1", 1)


def test_nothing_is_refused_at_first() -> None:
    """No destination goes without trains."""
    refusals = Refusals()

    assert not refusals
    assert not refusals.covers(HERE)
    assert refusals.destinations() == []


@pytest.mark.parametrize("datagrams", [1, 7, SINGLES])
def test_a_refusal_holds_for_so_many_datagrams(datagrams: int) -> None:
    """Then a train is tried again, and the destination is forgotten."""
    refusals = Refusals()
    refusals.add(HERE, 3, "why")

    calls = 0
    while refusals.covers(HERE, datagrams):
        calls += 1

    assert calls == -(-SINGLES // datagrams)
    assert not refusals


def test_a_refusal_is_the_destinations_and_not_that_of_its_options() -> None:
    """With or without options, it is the same route to the same peer."""
    refusals = Refusals()
    steered = steer(HERE, SendOptions(tos=1), ipv6=False)
    refusals.add(steered, 3, "why")

    assert refusals.covers(HERE)
    assert refusals.covers(steered)
    assert refusals.destinations() == [HERE]


def test_a_bounded_number_of_destinations_is_remembered() -> None:
    """The one remembered longest makes way."""
    refusals = Refusals()
    for port in range(MAX_DESTINATIONS + 1):
        refusals.add(("192.0.2.1", port), 3, "why")

    remembered = refusals.destinations()
    assert len(remembered) == MAX_DESTINATIONS
    assert ("192.0.2.1", 0) not in remembered
    refusals.add(("192.0.2.1", 1), 3, "again")
    assert refusals.destinations() == remembered


def test_the_connected_peer_has_no_address_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is called the peer in the log, and ``None`` in the list."""
    caplog.set_level(logging.INFO, "aioudp")
    refusals = Refusals()
    refusals.add(None, 3, "why")

    assert refusals.destinations() == [None]
    assert "from fd 3 to the peer: why" in caplog.text
