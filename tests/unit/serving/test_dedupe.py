"""What is remembered of requests, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aioudp._serving.dedupe import Recent


def test_remembered_for_a_time() -> None:
    """Then it is new again."""
    recent = Recent(seconds=10.0)
    request = recent.begin("key", 100.0)
    recent.finish(request, (b"reply",))

    assert recent.find("key", 109.9) is request
    assert request.replies == (b"reply",)
    assert recent.find("key", 110.0) is None
    assert (len(recent), recent.size) == (0, 0)


def test_forgotten_while_the_handler_is_at_work() -> None:
    """What it replies is kept for nobody, and not for its successor."""
    recent = Recent(seconds=10.0)
    old = recent.begin("key", 0.0)
    recent.find("key", 10.0)
    new = recent.begin("key", 11.0)

    recent.finish(old, (b"old",))
    recent.forget(old)

    assert recent.find("key", 12.0) is new
    assert (new.replies, recent.size) == (None, 0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30), st.integers(0, 5), st.lists(st.binary(max_size=40))
        ),
        max_size=60,
    )
)
def test_limits_hold(steps: list[tuple[int, int, list[bytes]]]) -> None:
    """Whatever comes: the number, the bytes and the time."""
    recent, now = Recent(seconds=20.0, requests=8, size=100), 0.0
    for key, pause, replies in steps:
        now += pause
        if recent.find(key, now) is None:
            recent.finish(recent.begin(key, now), tuple(replies))
        assert len(recent) <= 8
        assert recent.size <= 100
        kept = list(recent._requests.values())
        assert recent.size == sum(len(b"".join(one.replies or ())) for one in kept)
        assert all(now - one.since < 20.0 for one in kept)
