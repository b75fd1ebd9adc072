"""The event loop whose clock jumps."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest

from aioudp import testing


def test_an_hour_takes_no_time() -> None:
    """Sleeping moves the clock by what was asked, and costs no real time."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    before = time.monotonic()

    assert testing.run(main()) == 3600
    assert time.monotonic() - before < 5


def test_timers_come_in_their_order() -> None:
    """What is due earlier is called earlier, and equals in the order they were made."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        called: list[int] = []
        for index, when in enumerate((0.3, 0.1, 0.2, 0.1)):
            loop.call_at(when, called.append, index)
        await asyncio.sleep(1)
        return called

    assert testing.run(main()) == [1, 3, 2, 0]


def test_a_timeout_ends_at_its_time() -> None:
    """asyncio's own timeouts run on the clock."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400 * 400):  # longer than a real select takes
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert testing.run(main()) == pytest.approx(86_400 * 400, rel=1e-9)


def test_a_deadlock_says_who_waits_where() -> None:
    """With nothing scheduled, the error names each task and the line it waits in."""

    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        task = asyncio.create_task(wait_for_ever(), name="the one that waits")
        await task

    with pytest.raises(testing.DeadlockError) as caught:
        testing.run(main())

    assert len(caught.value.waiting) == 2
    assert "the one that waits" in str(caught.value)
    assert "wait_for_ever" in str(caught.value)
    assert "test_clock.py" in str(caught.value)


def test_a_deadlock_on_a_datagram_is_found() -> None:
    """Waiting for a datagram that nobody sends is a deadlock too."""

    async def main() -> None:
        net = testing.SimulatedNetwork()
        async with net.bind(("10.0.0.1", 9)) as endpoint:
            await endpoint.recv()

    with pytest.raises(testing.DeadlockError, match="recv"):
        testing.run(main())


def test_a_real_socket_is_refused() -> None:
    """Waiting for a real socket is an error that says so, instead of a hang."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            loop.add_reader(sock, print)

    with pytest.raises(RuntimeError, match="real socket"):
        testing.run(main())


def test_threads_and_subprocesses_are_refused() -> None:
    """So is waiting for a thread or a subprocess."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="thread"):
            await asyncio.to_thread(print)
        with pytest.raises(RuntimeError, match="subprocess"):
            await asyncio.create_subprocess_exec(sys.executable)
        with pytest.raises(RuntimeError, match="subprocess"):
            await asyncio.create_subprocess_shell("true")

    testing.run(main())


def test_names_of_simulated_hosts_are_looked_up() -> None:
    """Inside a host, asyncio's look-up knows the names of the network."""

    async def main() -> None:
        net = testing.SimulatedNetwork()
        net.host("10.0.0.1", "2001:db8:7::1", name="server")
        loop = asyncio.get_running_loop()
        with net.host("10.0.0.2"):
            infos = await loop.getaddrinfo("server", 53, type=socket.SOCK_DGRAM)
            assert [info[4][0] for info in infos] == ["10.0.0.1", "2001:db8:7::1"]
            with pytest.raises(socket.gaierror, match="nobody"):
                await loop.getaddrinfo("nobody", 53)
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("server", 53)  # not on any host

    testing.run(main())


def test_a_loop_factory_for_others() -> None:
    """The factory fits asyncio's Runner."""

    async def main() -> float:
        await asyncio.sleep(5)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=testing.new_event_loop) as runner:
        assert runner.run(main()) == 5


def test_run_inside_a_loop_is_refused() -> None:
    """It is for programs and plain tests; a coroutine has a loop already."""

    async def nothing() -> None:
        """Do nothing."""

    async def main() -> None:
        coroutine = nothing()
        with pytest.raises(RuntimeError):
            testing.run(coroutine)
        coroutine.close()

    testing.run(main())


def test_looking_again_at_once_comes_to_an_end() -> None:
    """A timer that is due at once lets a moment pass, or this would go on for ever."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        passed = loop.create_future()
        start, turns = loop.time(), 0

        def look() -> None:
            nonlocal turns
            turns += 1
            if loop.time() > start:
                passed.set_result(None)
            elif turns < 1000:
                loop.call_later(0, look)

        loop.call_later(0, look)
        await passed
        return turns

    assert testing.run(main()) < 10
