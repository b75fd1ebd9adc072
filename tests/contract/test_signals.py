"""Signals: the body is notified once, nothing is cancelled, handlers are restored."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aioudp

from .support import linux_only, plain_socket, turns, turns_until

if TYPE_CHECKING:
    from tests.matrix import LoopFactory

# Signals that nothing else here listens to; the default ones are for child processes.
if sys.platform == "win32":
    pytest.skip("cannot: kill: Windows sends no signals", allow_module_level=True)

ONE, OTHER = signal.SIGUSR1, signal.SIGUSR2


class Previous:
    """The handlers that were there before the test's blocks."""

    def __init__(self) -> None:
        self.called: list[int] = []

    def __call__(self, number: int, frame: object) -> None:
        self.called.append(number)


@pytest.fixture(autouse=True)
def previous() -> Iterator[Previous]:
    """Set handlers that note their calls, and see that they are there at the end."""
    handler = Previous()
    before = {number: signal.signal(number, handler) for number in (ONE, OTHER)}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    yield handler
    assert all(signal.getsignal(number) is handler for number in before)
    assert signal.set_wakeup_fd(wakeup) == wakeup
    for number, original in before.items():
        signal.signal(number, original)


async def test_the_body_is_notified(previous: Previous) -> None:
    """The event is set, the function called first, and the body goes on."""
    order = []
    async with aioudp.until_signal(ONE, call=lambda: order.append("call")) as stop:
        assert not stop.is_set()
        signal.raise_signal(ONE)
        await stop.wait()
        order.append("body")
        await asyncio.sleep(0)

    assert order == ["call", "body"]
    assert previous.called == []


async def test_another_process_sends_it() -> None:
    """A loop that sleeps is woken."""
    async with aioudp.until_signal(ONE) as stop:
        killing = asyncio.create_task(asyncio.to_thread(os.kill, os.getpid(), ONE))
        await stop.wait()
        await killing


@linux_only
async def test_a_signal_that_interrupts_nothing() -> None:
    """A loop that sleeps is woken, though no system call of its thread ends early.

    As with a signal that arrives just before the thread goes to sleep.
    """
    main = threading.get_native_id()

    def kill() -> None:
        waits_in = Path(f"/proc/self/task/{main}/wchan")
        asleep = 0
        while asleep < 100:  # it also looks for events without going to sleep
            asleep = asleep + 1 if "poll" in waits_in.read_text() else 0
            time.sleep(0)
        signal.pthread_kill(threading.get_ident(), ONE)

    async with aioudp.until_signal(ONE) as stop:
        await asyncio.sleep(0)
        killer = threading.Thread(target=kill)
        killer.start()  # before the signal is blocked, which threads inherit
        signal.pthread_sigmask(signal.SIG_BLOCK, {ONE})
        try:
            await stop.wait()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {ONE})
        killer.join()


async def test_the_second_time(previous: Previous) -> None:
    """After the first of its signals, all of them do what they did before."""
    calls = []
    async with aioudp.until_signal(ONE, OTHER, call=lambda: calls.append(1)) as stop:
        signal.raise_signal(ONE)
        await stop.wait()
        signal.raise_signal(ONE)
        signal.raise_signal(OTHER)
        await turns(5)

    assert previous.called == [ONE, OTHER]
    assert calls == [1]


async def test_after_the_block(previous: Previous) -> None:
    """Also if no signal came, or the body raised."""
    with pytest.raises(ZeroDivisionError):
        async with aioudp.until_signal(ONE):
            raise ZeroDivisionError
    signal.raise_signal(ONE)

    assert previous.called == [ONE]


async def test_the_loops_own_handler() -> None:
    """A handler of add_signal_handler is called too, and is there afterwards."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(OTHER)
    calls: list[int] = []
    loop.add_signal_handler(OTHER, calls.append, 1)
    try:
        async with aioudp.until_signal(OTHER) as stop:
            signal.raise_signal(OTHER)
            await stop.wait()
            await turns_until(lambda: bool(calls))
        signal.raise_signal(OTHER)
        await turns_until(lambda: len(calls) == 2)
    finally:
        loop.remove_signal_handler(OTHER)
        signal.signal(OTHER, before)


async def test_nested() -> None:
    """A signal notifies every open block that waits for it."""
    async with (
        aioudp.until_signal(ONE, OTHER) as outer,
        aioudp.until_signal(ONE) as inner,
    ):
        signal.raise_signal(ONE)
        await inner.wait()
        await outer.wait()


async def test_nested_with_another_signal(previous: Previous) -> None:
    """Those that are open for others wait for theirs."""
    async with aioudp.until_signal(ONE) as outer:
        async with aioudp.until_signal(OTHER) as inner:
            signal.raise_signal(OTHER)
            await inner.wait()
            assert not outer.is_set()
        signal.raise_signal(ONE)
        await outer.wait()
    assert previous.called == []


async def test_blocks_that_end_in_another_order() -> None:
    """In two tasks, the block that was opened first may end first."""
    both_open, may_end = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with aioudp.until_signal(ONE):
            await may_end.wait()

    async def second() -> None:
        async with aioudp.until_signal(ONE) as stop:
            both_open.set()
            await stop.wait()

    one = asyncio.create_task(first())
    two = asyncio.create_task(second())
    await both_open.wait()
    may_end.set()
    await one

    signal.raise_signal(ONE)
    await two


async def test_a_call_that_raises() -> None:
    """What it raises goes to the loop's exception handler; the body is notified."""
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    async with aioudp.until_signal(ONE, call=lambda: 1 / 0) as stop:
        signal.raise_signal(ONE)
        await stop.wait()

    assert [type(each["exception"]) for each in contexts] == [ZeroDivisionError]


async def test_a_body_that_is_cancelled(previous: Previous) -> None:
    """It ends as any other, and the handlers come back."""

    async def wait() -> None:
        async with aioudp.until_signal(ONE) as stop:
            await stop.wait()

    task = asyncio.create_task(wait())
    await turns(3)
    task.cancel()
    await asyncio.wait([task])
    signal.raise_signal(ONE)

    assert previous.called == [ONE]


def test_several_loops_one_after_another(loop_factory: LoopFactory) -> None:
    """Each has its turn."""

    async def main() -> None:
        async with aioudp.until_signal(ONE) as stop:
            signal.raise_signal(ONE)
            await stop.wait()

    for _ in range(3):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())


def test_a_block_that_was_abandoned(
    loop_factory: LoopFactory, previous: Previous
) -> None:
    """If its loop was closed before it ended, a signal does what it did before."""
    loop = loop_factory()
    block = aioudp.until_signal(ONE)
    loop.run_until_complete(block.__aenter__())
    loop.close()

    signal.raise_signal(ONE)

    assert previous.called == [ONE]


async def test_another_thread() -> None:
    """Only the main thread receives signals; elsewhere entering raises."""

    async def main() -> None:
        async with aioudp.until_signal(ONE):
            pytest.fail("entered")

    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(asyncio.run, main())


@pytest.mark.parametrize(
    ("signals", "error"),
    [
        (("SIGTERM",), TypeError),
        ((True,), TypeError),
        ((10_000,), ValueError),
        ((0,), ValueError),
        ((signal.SIGKILL,), ValueError),
        ((ONE, signal.SIGSTOP), ValueError),
    ],
)
def test_what_is_no_signal(signals: Any, error: type[Exception]) -> None:
    """It is refused by the call, before anything is entered."""
    with pytest.raises(error, match=r"signal|SIG"):
        aioudp.until_signal(*signals)


def test_what_cannot_be_called() -> None:
    """So is this."""
    call: Any = "drain"
    with pytest.raises(TypeError, match="'drain'"):
        aioudp.until_signal(call=call)


# -- whole programs

PROGRAM = """
import asyncio, sys
import aioudp

async def main():
    async with (
        aioudp.bind(("127.0.0.1", 0)) as endpoint,
        aioudp.until_signal(call=endpoint.drain) as stop,
    ):
        print(endpoint.local_addr[1], flush=True)
        async for data, addr in endpoint:
            if data == b"wait":
                await stop.wait()
            await endpoint.send(data.upper(), addr)
        print("drained", flush=True)
        if "stay" in sys.argv:
            await asyncio.Event().wait()

aioudp.run(main()) if "best" in sys.argv else asyncio.run(main())
"""


def start(*words: str) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


@pytest.mark.parametrize("loop", ["asyncio", "best"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_what_it_has_received(loop: str, number: int) -> None:
    """The signal drains it; every datagram is answered, and it exits with 0."""
    child, port = start(loop)
    with child, plain_socket("127.0.0.1") as peer:
        for data in (b"wait", *(b"x%d" % n for n in range(100))):
            peer.sendto(data, ("127.0.0.1", port))
        child.send_signal(number)
        answers = [peer.recv(100) for _ in range(101)]

        assert answers == [b"WAIT", *(b"X%d" % n for n in range(100))]
        assert child.wait(10) == 0


@pytest.mark.parametrize("loop", ["asyncio", "best"])
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, {-signal.SIGTERM}), (signal.SIGINT, {-signal.SIGINT, 130})],
)
def test_the_second_signal_ends_it(loop: str, number: int, status: set[int]) -> None:
    """At once, as the signal would have done without the block."""
    child, _ = start(loop, "stay")
    with child:
        child.send_signal(number)
        assert child.stdout is not None
        assert child.stdout.readline() == "drained\n"
        child.send_signal(number)

        assert child.wait(10) in status
