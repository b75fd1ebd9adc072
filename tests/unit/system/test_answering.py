"""Both twins call a handler with each datagram, and gather its replies."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import length_hint
from typing import Any

import pytest

from aioudp import Datagram
from aioudp._system import answering

A, B = ("192.0.2.1", 1), ("192.0.2.2", 2)


@pytest.fixture(params=["answering", "speedups"])
def answer_each(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return the function of one twin."""
    if request.param == "answering":
        return answering.answer_each
    try:
        twin = importlib.import_module("aioudp._system.speedups")
    except ModuleNotFoundError:
        pytest.skip("cannot: speedups: the accelerator is not built")
    function: Callable[..., Any] = twin.answer_each
    return function


def test_replies_are_gathered_in_order(answer_each: Callable[..., Any]) -> None:
    """An echo is the datagram itself, other bytes go to its sender, None is nothing."""
    echoed, shouted, silent = Datagram(b"", A), Datagram(b"b", B), Datagram(b"c", A)
    answers = {b"": echoed.data, b"b": b"B", b"c": None}
    calls: list[Any] = []
    replies: list[Any] = [("before", A)]

    def handler(data: bytes, addr: Any) -> bytes | None:
        calls.append((data, addr))
        return answers[data]

    end = answer_each(handler, iter([echoed, shouted, silent]), replies)

    assert end is None
    assert calls == [echoed, shouted, silent]
    assert replies == [("before", A), echoed, (b"B", B)]
    assert replies[1] is echoed


def test_another_result_stops_it(answer_each: Callable[..., Any]) -> None:
    """The datagram and the result are returned, and the next call goes on behind."""
    batch = [Datagram(b"1", A), Datagram(b"2", B), Datagram(b"3", A)]
    left = iter(batch)
    replies: list[Any] = []

    def handler(data: bytes, addr: Any) -> bytes | bytearray:
        return bytearray(b"two") if data == b"2" else data

    assert answer_each(handler, left, replies) == (batch[1], bytearray(b"two"))
    assert replies == batch[:1]
    assert answer_each(handler, left, replies) is None
    assert replies == [batch[0], batch[2]]


def test_an_exception_shows_where_it_was(answer_each: Callable[..., Any]) -> None:
    """What was answered before is kept; the iterator stands behind the datagram."""
    batch = [Datagram(b"%d" % number, A) for number in range(5)]
    left = iter(batch)
    replies: list[Any] = []

    def handler(data: bytes, addr: Any) -> bytes:
        if data == b"2":
            raise LookupError(data)
        return data

    with pytest.raises(LookupError):
        answer_each(handler, left, replies)

    assert replies == batch[:2]
    assert length_hint(left) == 2


@pytest.mark.parametrize("item", [(b"x",), 3, None])
def test_only_datagrams_are_passed(answer_each: Callable[..., Any], item: Any) -> None:
    """Anything else is an error and no crash."""
    with pytest.raises((TypeError, IndexError)):
        answer_each(lambda data, addr: data, iter([item]), [])
