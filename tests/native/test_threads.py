"""The compiled batch I/O in several threads: with a GIL, and above all without."""

from __future__ import annotations

import asyncio
import importlib
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Final

import pytest

import aioudp
from aioudp._system import sockets

THREADS: Final = 4
ROUNDS: Final = 60
TOGETHER: Final = 20  # datagrams of one round
SHARED: Final = 300  # rounds on a socket that threads share


@pytest.fixture(scope="module")
def speedups() -> ModuleType:
    """Return the compiled twin."""
    try:
        return importlib.import_module("aioudp._system.speedups")
    except ModuleNotFoundError:
        pytest.skip("cannot: speedups: the accelerator is not built")


def in_threads(work: Callable[[int], object]) -> None:
    """Run *work* in several threads at once; raise what one of them raised."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


async def exchange(number: int, size: int) -> None:
    """Send trains and batches to and fro between many endpoints of this thread."""
    async with (
        aioudp.bind(("127.0.0.1", 0)) as one,
        aioudp.bind(("127.0.0.1", 0), packet_info=number % 2 == 1) as other,
    ):
        data = bytes([number]) * size
        received: dict[aioudp.Endpoint, int] = {one: 0, other: 0}
        for step in range(ROUNDS):
            sender, receiver = (one, other) if step % 2 else (other, one)
            if step % 3:
                await sender.send(
                    data * TOGETHER, receiver.local_addr, segment_size=size
                )
            else:
                # Addresses of their own: the tables are looked up and filled.
                local: Any = receiver.local_addr
                addr = local[0], local[1]
                await sender.send_many([(data, addr)] * TOGETHER)
            expected = received[receiver] + TOGETHER
            while received[receiver] < expected:
                for datagram in await receiver.recv_many():
                    assert datagram == aioudp.Datagram(data, sender.local_addr)
                    assert hash(datagram) == hash(tuple(datagram))
                    received[receiver] += 1
        for endpoint, count in received.items():
            stats = endpoint.stats()
            assert (stats.received, stats.received_bytes) == (count, count * size)
            assert stats.sent == TOGETHER * ROUNDS // 2


@pytest.mark.parametrize("size", [64, 1200])
def test_event_loops_of_several_threads(speedups: ModuleType, size: int) -> None:
    """Each gets its own datagrams, from its own peers, and counts them exactly."""
    in_threads(lambda number: asyncio.run(exchange(number, size)))


def test_a_socket_that_several_threads_send_on(speedups: ModuleType) -> None:
    """As loops allow for ``sendto``: each datagram goes where it should, once."""
    with ExitStack() as stack:

        def open_socket() -> socket.socket:
            sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            sock.bind(("127.0.0.1", 0))
            return sock

        sender = open_socket()
        receivers = [open_socket() for _ in range(THREADS)]
        segments = sockets.probe_offload().gso_segments
        io = speedups.BatchSocket(sender, gso_segments=segments, gro=False)

        def work(number: int) -> None:
            data = bytes([number]) * 10
            for _ in range(SHARED):
                host, port = receivers[number].getsockname()
                io.send(data, (host, port))
                batch: list[Any] = [(data, (host, port))] * 4
                assert io.send_batch(batch) == 4
                assert io.send_segments(memoryview(data * 5), 10, (host, port)) == 50

        in_threads(work)

        assert io.sent == THREADS * SHARED * 10
        assert io.sent_bytes == THREADS * SHARED * 100
        for number, receiver in enumerate(receivers):
            reader = speedups.BatchSocket(receiver, gso_segments=1, gro=False)
            received: list[Any] = []
            while more := reader.receive(1000):
                received += more
            assert {data for data, _ in received} == {bytes([number]) * 10}
            assert len(received) == SHARED * 10


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"),
    reason="cannot: free-threaded: this Python has a GIL",
)
def test_importing_it_leaves_the_gil_off(speedups: ModuleType) -> None:
    """Nothing of ours switches it on for the whole process, or warns of it."""
    script = "import aioudp._system.speedups, sys; sys.exit(sys._is_gil_enabled())"
    command = [sys.executable, "-W", "error", "-c", script]

    assert subprocess.run(command).returncode == 0
