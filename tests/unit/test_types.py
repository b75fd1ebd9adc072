"""The vocabulary: datagrams, counts and the words that options take."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import sys
from typing import Any, get_args

import pytest

import aioudp
from aioudp._types import (
    Datagram,
    Message,
    NetworkError,
    Overflow,
    Stats,
    TransportKind,
)


def test_a_datagram_unpacks_as_payload_and_sender() -> None:
    """It has two fields, for ever: code that unpacks it keeps working."""
    data, addr = Datagram(b"payload", ("192.0.2.1", 53))

    assert (data, addr) == (b"payload", ("192.0.2.1", 53))


def test_a_datagram_names_its_fields() -> None:
    """What unpacks can also be read by name."""
    assert Datagram._fields == ("data", "addr")


def test_a_datagram_equals_the_plain_pair() -> None:
    """It is a tuple, so tests of user code can compare with literals."""
    assert Datagram(b"", "") == (b"", "")


@pytest.mark.parametrize("kind", [Datagram, Message])
def test_a_datagram_is_a_plain_tuple_though_generic(kind: Any) -> None:
    """What it's generic in costs nothing: no dictionary, and a pickle of its fields."""
    one = kind(b"payload", ("192.0.2.1", 53))

    again = pickle.loads(pickle.dumps(one))

    assert again == one
    assert type(again) is kind
    assert not hasattr(one, "__dict__")
    assert sys.getsizeof(one) == sys.getsizeof(tuple(one))


@pytest.mark.parametrize(
    "kind",
    [
        aioudp.Client,
        aioudp.Datagram,
        aioudp.DatagramBatch,
        aioudp.Endpoint,
        aioudp.Message,
        aioudp.NetworkError,
        aioudp.Server,
    ],
)
def test_kinds_of_addresses_are_for_type_checkers(kind: Any) -> None:
    """A program may write the type argument, in an annotation and elsewhere."""
    assert kind[aioudp.UnixAddress].__origin__ is kind


@pytest.mark.parametrize(
    ("local_addr", "to_group"),
    [
        (("239.1.2.3", 5000), True),
        (("224.0.0.251", 5353), True),
        (("ff02::fb", 5353, 0, 2), True),
        (("192.0.2.1", 5000), False),
        (("192.0.2.255", 5000), False),
        (("255.255.255.255", 5000), False),
        (("2001:db8::1", 5000, 0, 0), False),
        (("ff::1", 5000, 0, 0), False),
        ("/run/example", None),
        (None, None),
    ],
)
def test_whether_a_message_was_sent_to_a_group(
    local_addr: Any, to_group: bool | None
) -> None:
    """Its destination decides; a broadcast address isn't a group."""
    message = Message(b"", ("192.0.2.2", 1), local_addr)

    assert message.to_group is to_group


def test_stats_counts_exactly_these() -> None:
    """The counters are part of the promise, in this order."""
    assert [field.name for field in dataclasses.fields(Stats)] == [
        "received",
        "received_bytes",
        "sent",
        "sent_bytes",
        "dropped_queue",
        "dropped_kernel",
        "dropped_kernel_max",
        "truncated",
        "send_errors",
        "receive_errors",
        "dropped_errors",
        "dropped_close",
    ]


def test_stats_begin_at_zero() -> None:
    """A counter that nobody mentions is 0."""
    assert set(dataclasses.astuple(Stats())) == {0}


def test_stats_are_a_snapshot() -> None:
    """They cannot be changed after the fact."""
    stats = Stats(received=1)

    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.received = 2  # type: ignore[misc]


def test_stats_are_made_by_name_only() -> None:
    """A new counter may come at any place without changing what code means."""
    with pytest.raises(TypeError):
        Stats(1)  # type: ignore[call-arg]


def test_stats_survive_pickling() -> None:
    """They can be sent to another process, which collects them."""
    stats = Stats(received=3, truncated=1)

    assert pickle.loads(pickle.dumps(stats)) == stats


@pytest.mark.parametrize("cls", [Datagram, NetworkError, Stats])
def test_every_field_is_documented(cls: type) -> None:
    """A field without a word on it would leave its meaning to guessing."""
    documented = re.findall(r'^    (\w+): .*\n    """', inspect.getsource(cls), re.M)

    assert documented == list(cls.__annotations__)


def test_the_overflow_policies_are_these() -> None:
    """The words of the option ``overflow`` are part of the promise."""
    assert get_args(Overflow) == ("pause", "drop-oldest", "drop-newest")


def test_the_transport_kinds_are_these() -> None:
    """The words of the option ``transport`` are part of the promise."""
    assert get_args(TransportKind) == ("auto", "selector", "loop")
