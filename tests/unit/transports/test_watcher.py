"""Watching a socket through an epoll instance, on loops that give up at an error."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aioudp._system import sockets
from aioudp._transports.watcher import EpollWatcher, UvloopWatcher, watcher_for

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="cannot: linux: only Linux has epoll"
)


class FakeTimer:
    """A call that the test makes, or nobody."""

    def __init__(self, delay: float, end: Callable[[], None]) -> None:
        self.delay = delay
        self.end = end
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """An event loop in which nothing is ready until the test says so."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[FakeTimer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(delay, callback))
        return self.timers[-1]

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def turn(self) -> None:
        """Call the readers, as a loop does for what is ready."""
        for callback in [*self.readers.values()]:
            callback()


class Rig:
    """A connected socket, the watcher of it, and what the watcher called."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = FakeLoop()
        loop: Any = self.loop
        self.calls: list[str] = []
        self.watcher = EpollWatcher(loop, lambda: self.calls.append("error"))

    def read(self) -> None:
        self.calls.append("read")

    def write(self) -> None:
        self.calls.append("write")

    def called(self) -> list[str]:
        """Let the loop turn, and return what was called in that turn."""
        self.calls.clear()
        self.loop.turn()
        return [*self.calls]


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Watch a socket that is connected to itself."""
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as sock:
        sock.connect(sock.getsockname())
        rig = Rig(sock)
        yield rig
        rig.watcher.close()


@pytest.fixture
def refused(rig: Rig) -> Rig:
    """The same, with an error pending: the peer it was connected to is gone."""
    with sockets.open_bound(("127.0.0.1", 0), socket.AF_INET) as gone:
        dead = gone.getsockname()
    rig.sock.connect(dead)
    rig.sock.send(b"nobody is there")
    return rig


def test_each_loop_is_watched_in_its_own_way(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """asyncio's own go on after an error; uvloop's end is noticed."""
    loop = loop_factory()
    loop.close()

    watcher = watcher_for(loop, lambda: None)

    if isinstance(loop, asyncio.SelectorEventLoop):
        assert watcher is loop
    else:
        assert isinstance(watcher, UvloopWatcher)


def test_a_loop_that_nobody_knows_is_not_trusted() -> None:
    """It may do anything with an error, so it doesn't get to see one."""
    loop: Any = FakeLoop()

    watcher = watcher_for(loop, lambda: None)

    assert isinstance(watcher, EpollWatcher)
    watcher.close()


def test_an_idle_socket_calls_nobody(rig: Rig) -> None:
    """Nothing has arrived."""
    rig.watcher.add_reader(rig.sock.fileno(), rig.read)

    assert rig.called() == []


def test_a_readable_socket_calls_the_reader(rig: Rig) -> None:
    """Again and again, until somebody reads."""
    rig.watcher.add_reader(rig.sock.fileno(), rig.read)
    rig.sock.send(b"payload")

    assert [rig.called(), rig.called()] == [["read"], ["read"]]
    rig.sock.recv(100)
    assert rig.called() == []


def test_a_writable_socket_calls_the_writer(rig: Rig) -> None:
    """And nobody else."""
    rig.watcher.add_writer(rig.sock.fileno(), rig.write)
    rig.sock.send(b"payload")

    assert rig.called() == ["write"]


def test_both_can_be_watched_at_once(rig: Rig) -> None:
    """Reading comes first."""
    rig.watcher.add_reader(rig.sock.fileno(), rig.read)
    rig.watcher.add_writer(rig.sock.fileno(), rig.write)
    before = rig.called()
    rig.sock.send(b"payload")

    assert (before, rig.called()) == (["write"], ["read", "write"])


@pytest.mark.parametrize(
    ("removed", "left"), [("reader", ["write"]), ("writer", ["read"])]
)
def test_one_can_be_watched_no_more(rig: Rig, removed: str, left: list[str]) -> None:
    """The other goes on."""
    fd = rig.sock.fileno()
    rig.watcher.add_reader(fd, rig.read)
    rig.watcher.add_writer(fd, rig.write)
    rig.sock.send(b"payload")

    getattr(rig.watcher, f"remove_{removed}")(fd)

    assert rig.called() == left


def test_the_loop_watches_only_while_there_is_something_to_watch(rig: Rig) -> None:
    """One descriptor at most, and none in the end."""
    fd = rig.sock.fileno()
    steps: list[Callable[[], None]] = [
        lambda: rig.watcher.add_reader(fd, rig.read),
        lambda: rig.watcher.add_writer(fd, rig.write),
        lambda: rig.watcher.remove_reader(fd),
        lambda: rig.watcher.remove_writer(fd),
    ]
    counts = []
    for step in steps:
        step()
        counts.append(len(rig.loop.readers))

    assert counts == [1, 1, 1, 0]


def test_watching_can_begin_again(rig: Rig) -> None:
    """As after a pause of the reading."""
    fd = rig.sock.fileno()
    rig.watcher.add_reader(fd, rig.read)
    rig.watcher.remove_reader(fd)
    rig.watcher.add_reader(fd, rig.read)
    rig.sock.send(b"payload")

    assert rig.called() == ["read"]


def test_watching_twice_replaces_the_callback(rig: Rig) -> None:
    """As on an event loop."""
    fd = rig.sock.fileno()
    rig.watcher.add_writer(fd, rig.read)
    rig.watcher.add_writer(fd, rig.write)

    assert rig.called() == ["write"]


def test_a_reader_may_end_the_watching_for_the_writer(rig: Rig) -> None:
    """What was removed is not called, even in the same turn."""
    fd = rig.sock.fileno()
    rig.watcher.add_reader(fd, lambda: rig.watcher.remove_writer(fd))
    rig.watcher.add_writer(fd, rig.write)
    rig.sock.send(b"payload")

    assert rig.called() == []


# -- errors apart from the rest


@pytest.fixture
def apart(refused: Rig) -> Rig:
    """The socket with a pending error, watched by all three."""
    fd = refused.sock.fileno()
    refused.watcher.add_reader(fd, refused.read)
    refused.watcher.add_writer(fd, refused.write)
    refused.watcher.watch_errors(fd)
    return refused


def test_an_error_is_distinguished(apart: Rig) -> None:
    """Nobody else is called for it; the writer because there is room."""
    assert apart.called() == ["error", "write"]
    with pytest.raises(ConnectionRefusedError):
        apart.sock.recv(100)
    assert apart.called() == ["write"]


def test_errors_are_watched_for_when_nothing_else_is(apart: Rig) -> None:
    """As while reading is paused."""
    apart.watcher.remove_reader(apart.sock.fileno())
    apart.watcher.remove_writer(apart.sock.fileno())

    assert apart.called() == ["error"]


def test_errors_are_watched_for_with_the_rest(apart: Rig) -> None:
    """Whether that was asked for or not, as epoll does."""
    apart.watcher.ignore_errors(apart.sock.fileno())

    assert apart.called() == ["error", "write"]


def test_who_hears_of_an_error_may_end_the_watching(apart: Rig) -> None:
    """Nobody is called after that, in the same event."""
    fd = apart.sock.fileno()

    def end() -> None:
        apart.watcher.ignore_errors(fd)
        apart.watcher.remove_reader(fd)
        apart.watcher.remove_writer(fd)

    apart.watcher._on_error = end

    assert apart.called() == []
    assert apart.loop.readers == {}


def test_a_rest(apart: Rig) -> None:
    """Nobody is called until it is over."""
    apart.watcher.pause(0.05)
    apart.watcher.pause(0.05)
    resting = apart.called()
    (timer,) = apart.loop.timers
    timer.end()

    assert timer.delay == 0.05
    assert (resting, apart.called()) == ([], ["error", "write"])


def test_watching_can_end_during_a_rest(apart: Rig) -> None:
    """And begin, and end again: nothing is left of it."""
    fd = apart.sock.fileno()
    apart.watcher.pause(0.05)
    apart.watcher.ignore_errors(fd)
    apart.watcher.remove_reader(fd)
    apart.watcher.remove_writer(fd)

    assert apart.loop.readers == {}
    assert apart.loop.timers[0].cancelled
    apart.watcher.add_writer(fd, apart.write)
    assert apart.called() == ["error", "write"]
    apart.watcher.remove_writer(fd)


def test_a_rest_does_not_begin_unwatched(rig: Rig) -> None:
    """There is nothing to rest from."""
    rig.watcher.pause(0.05)

    assert rig.loop.timers == []
