"""Workers: several processes on one port, which come, go and are replaced."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

import aioudp

from ..output import without_slowness
from .support import linux_only

if sys.platform == "win32":
    pytest.skip("cannot: posix: no fork", allow_module_level=True)

pytestmark = [linux_only, pytest.mark.timeout(60)]

PATIENCE: Final = 30  # seconds

PROGRAM: Final = r"""
import asyncio, os, sys, aioudp

number, options, kind = int(sys.argv[1]), eval(sys.argv[2]), sys.argv[3]

async def echo(endpoint):
    async for data, addr in endpoint:
        await endpoint.send(b"%d " % os.getpid() + data, addr)

async def recv(endpoint):
    while True:
        data, addr = await endpoint.recv()
        await endpoint.send(b"%d " % os.getpid() + data, addr)

async def serve(endpoint):
    async def handler(data, addr):
        await asyncio.sleep(0.02)
        return b"%d " % os.getpid() + data

    async with aioudp.serve(handler, endpoint, concurrency=10_000) as server:
        await server.serve_forever()

async def slow(endpoint):
    async with aioudp.until_signal(call=lambda: os.write(1, b"draining\n")):
        async for data, addr in endpoint:
            await asyncio.sleep(0.05)
            await endpoint.send(b"%d " % os.getpid() + data, addr)

async def mortal(endpoint):
    def handler(data, addr):
        if data == b"die":
            os.kill(os.getpid(), 9)
        return b"%d " % os.getpid() + data

    async with aioudp.serve(handler, endpoint) as server:
        await server.serve_forever()

async def never_ready(endpoint):
    raise RuntimeError("no configuration")

async def stubborn(endpoint):
    async for data, addr in endpoint:
        await endpoint.send(b"%d " % os.getpid() + data, addr)
    await asyncio.sleep(1000)

def look(stats):
    print("stats", stats.total.received, stats.restarts, len(stats.workers), flush=True)

print("parent", os.getpid(), flush=True)
stats = aioudp.run_workers(
    globals()[kind], ("127.0.0.1", number), on_stats=look, **options
)
print("end", stats.total.received, stats.total.sent, flush=True)
"""


class Program:
    """A running ``run_workers``, and a socket that talks to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.addr = ("127.0.0.1", port)
        self.sock = self.peer()

    def peer(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.settimeout(PATIENCE)
        sock.connect(self.addr)
        return sock

    def ask(self, sock: socket.socket | None = None, data: bytes = b"?") -> int:
        """Return the process that answers."""
        sock = sock or self.sock
        sock.send(data)
        pid, _, echoed = sock.recv(1000).partition(b" ")
        assert echoed == data
        return int(pid)

    def wait_until_it_answers(self) -> None:
        self.sock.settimeout(0.1)
        for _ in range(int(PATIENCE / 0.1)):
            try:
                self.ask()
            except OSError:
                time.sleep(0.01)
            else:
                break
        self.sock.settimeout(0.2)
        try:
            while True:
                self.sock.recv(1000)
        except TimeoutError:
            self.sock.settimeout(PATIENCE)

    def pids(self, count: int) -> set[int]:
        """Return the workers, once that many have answered."""
        found: set[int] = set()
        for _ in range(1000):
            with self.peer() as sock:
                found.add(self.ask(sock))
            if len(found) == count:
                break
        return found

    def end(self, signum: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(signum)
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, without_slowness(errors)


@contextmanager
def running(
    kind: str = "echo", *, wait: bool = True, **options: Any
) -> Iterator[Program]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM),
            *(str(port), repr(options), kind),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(aioudp.__file__).parents[1])},
    )
    program = Program(process, port)
    try:
        if wait:
            program.wait_until_it_answers()
        yield program
    finally:
        program.sock.close()
        process.kill()
        process.communicate()


class Load:
    """Sends numbers at a steady pace from many sockets, and hears who answers."""

    def __init__(self, program: Program, peers: int = 16) -> None:
        self._socks = [program.peer() for _ in range(peers)]
        for sock in self._socks:
            sock.settimeout(0.05)
        self._stop = threading.Event()
        self.sent = 0
        self.answers: Counter[bytes] = Counter()
        self.times: list[tuple[float, int]] = []
        self._threads = [threading.Thread(target=self._send)]
        self._threads += [
            threading.Thread(target=self._receive, args=[sock]) for sock in self._socks
        ]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._stop.is_set():
            for sock in self._socks:
                with suppress(ConnectionRefusedError):  # after the end
                    sock.send(b"%d" % self.sent)
                self.sent += 1
            self._stop.wait(0.01)

    def _receive(self, sock: socket.socket) -> None:
        quiet = 0
        while quiet < 20:  # a second
            try:
                pid, _, number = sock.recv(1000).partition(b" ")
            except TimeoutError:
                quiet += self._stop.is_set()
                continue
            except ConnectionRefusedError:
                continue
            self.answers[number] += 1
            self.times.append((time.monotonic(), int(pid)))

    def pause(self) -> None:
        """Send no more."""
        self._stop.set()
        self._threads[0].join()

    def finish(self) -> int:
        """Send no more, wait for the answers, and return how many are missing."""
        self.pause()
        for thread in self._threads[1:]:
            thread.join()
        for sock in self._socks:
            sock.close()
        assert set(self.answers.values()) <= {1}
        return self.sent - len(self.answers)


# -- who serves


def test_all_serve_and_their_counts_add_up() -> None:
    """SIGTERM ends them with status 0 and nothing on standard error."""
    with running(workers=3) as program:
        assert len(program.pids(3)) == 3
        status, output, errors = program.end()

    assert (status, errors) == (0, "")
    received, sent = map(int, re.findall(r"^end (\d+) (\d+)$", output, re.M)[0])
    assert received == sent >= 3
    assert re.search(r"^stats \d+ 0 3$", output, re.M)


@pytest.mark.parametrize(
    ("steering", "reached"), [("kernel", 1), ("peer", 1), ("random", 4)]
)
def test_one_sender(steering: str, reached: int) -> None:
    """With "random" it reaches all workers, else one."""
    with running(workers=4, steering=steering) as program:
        pids = Counter(program.ask() for _ in range(200))

        assert len(pids) == reached
        assert max(pids.values()) < 100 or reached == 1
        assert len(program.pids(4)) == 4


@pytest.mark.parametrize("steering", ["kernel", "peer"])
def test_peers_stay_when_a_worker_is_killed(steering: str) -> None:
    """Its own go to its successor, all the others stay where they are."""
    with running(workers=4, steering=steering) as program:
        socks = [program.peer() for _ in range(100)]
        before = [program.ask(sock) for sock in socks]
        assert len(set(before)) == 4

        os.kill(before[0], signal.SIGKILL)
        after = [program.ask(sock) for sock in socks]

        for sock in socks:
            sock.close()
        moved = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert {old for old, _ in moved} == {before[0]}
        assert len({new for _, new in moved}) == 1
        assert len(moved) <= 100 / 3 + 10


# -- dying


def test_what_is_queued_waits_for_the_successor() -> None:
    """A worker that is stopped reads nothing; killed, it takes nothing along."""
    with running(workers=1) as program:
        pid = program.ask()
        stop(pid)
        for number in range(50):
            program.sock.send(b"%d" % number)
        os.kill(pid, signal.SIGKILL)

        answers = [program.sock.recv(100).split() for _ in range(50)]

    assert [number for _, number in answers] == [b"%d" % one for one in range(50)]
    assert {int(other) for other, _ in answers}.isdisjoint({pid})


def stop(pid: int) -> None:
    """Stop a worker, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    for _ in range(1000):
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "T":
            break
        time.sleep(0.001)


@pytest.mark.parametrize("size", [None, 16])
def test_what_a_server_had_read_is_lost(size: int | None) -> None:
    """At most as many datagrams as ``queue_size``, which is 64 in workers."""
    options: dict[str, Any] = {} if size is None else {"queue_size": size}
    with running("mortal", workers=1, offload=False, **options) as program:
        pid = program.ask()
        stop(pid)
        program.sock.send(b"die")
        for number in range(200):
            program.sock.send(b"%d" % number)
        os.kill(pid, signal.SIGCONT)

        answers = [program.sock.recv(100).split()]
        while answers[-1][1] != b"199":
            answers.append(program.sock.recv(100).split())

    lost = 200 - len(answers)
    assert {int(other) for other, _ in answers}.isdisjoint({pid})
    assert 0 < lost < (size or 64)


def test_killed_again_and_again_under_load() -> None:
    """It is back within a second each time, and the other one goes on."""
    with running(workers=2) as program:
        socks: dict[int, socket.socket] = {}
        while len(socks) < 2:
            sock = program.peer()
            if socks.setdefault(program.ask(sock), sock) is not sock:
                sock.close()
        (victim, its), (other, others) = socks.items()
        load = Load(program)
        longest = 0.0
        for _ in range(20):
            os.kill(victim, signal.SIGKILL)
            started = time.monotonic()
            assert program.ask(others) == other
            victim = program.ask(its)
            longest = max(longest, time.monotonic() - started)
        missing = load.finish()
        assert program.ask(others) == other
        for sock in socks.values():
            sock.close()
        status, output, _ = program.end()

    assert longest < 1.0 * SLOWNESS
    # What a worker had read and not answered yet died with it: a queue, and a batch.
    assert missing <= 20 * 2 * 64
    assert status == 0
    assert re.search(r"^stats \d+ 20 2$", output, re.M)


SLOWNESS: Final = 3.0  # the machine may be busy


def test_a_worker_that_is_never_ready_is_retried_less_and_less_often() -> None:
    """Its error is shown each time; SIGTERM ends it all the same."""
    with running("never_ready", workers=1, wait=False) as program:
        time.sleep(2.0)  # nothing else says that it has not been tried too often
        _, _, errors = program.end()

    tried = errors.count("RuntimeError: no configuration")
    assert 2 <= tried <= 8
    assert errors.count("another one starts in") >= tried - 1


def test_the_parent_dies() -> None:
    """Its workers drain, and end."""
    with running(workers=2) as program:
        pids = program.pids(2)
        program.process.kill()
        deadline = time.monotonic() + PATIENCE
        while any(_runs(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# -- signals


@pytest.mark.parametrize("kind", ["echo", "recv", "serve"])
def test_sigterm_under_load(kind: str) -> None:
    """Everything that was received is answered, and the status is 0."""
    # So few that a busy machine handles what is in the kernel's buffers in less than
    # the 10 seconds for which ``serve_forever`` drains.
    with running(kind, workers=2, drain=25.0) as program:
        load = Load(program, peers=4)
        time.sleep(0.5)
        status, output, errors = program.end()
        load.finish()

    assert (status, errors) == (0, "")
    received, sent = map(int, re.findall(r"^end (\d+) (\d+)$", output, re.M)[0])
    assert received == sent > 50


def test_sigterm_for_every_process() -> None:
    """A service manager may signal them all; a worker that gets two still drains."""
    with running("slow", workers=2) as program:
        pids = program.pids(2)
        peers = [program.peer() for _ in range(20)]
        for peer in peers:
            peer.send(b"?")
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert program.process.stdout is not None
        draining = 0
        while draining < 2:
            draining += program.process.stdout.readline() == "draining\n"
        status, _, errors = program.end()
        answers = []
        for peer in peers:
            peer.settimeout(0)
            with peer, suppress(OSError):
                answers.append(peer.recv(1000))

    assert (status, errors) == (0, "")
    assert len(answers) == 20


@pytest.mark.parametrize("kind", ["echo", "serve"])
def test_sighup_under_load(kind: str) -> None:
    """Each worker is replaced, and no datagram is lost."""
    with running(kind, workers=2) as program:
        old = program.pids(2)
        # So few that the kernel's buffer, which may hold no more than 270 of them, is
        # enough for a second in which this machine gives the workers no time.
        load = Load(program, peers=2)
        for _ in range(2):
            program.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while old & program.pids(2):
                assert time.monotonic() < deadline
            old = program.pids(2)
        missing = load.finish()
        status, output, errors = program.end()

    assert missing == 0
    assert (status, errors) == (0, "")
    assert re.search(r"^stats \d+ 0 2$", output, re.M)


def test_a_worker_that_does_not_end() -> None:
    """It is killed after so many seconds, and the status says so."""
    with running("stubborn", workers=1, drain=0.2) as program:
        status, _, errors = program.end()

    assert status == 1
    assert "did not drain in time" in errors


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(signum: signal.Signals) -> None:
    """Whatever the workers do."""
    with running("stubborn", workers=2, drain=1000.0) as program:
        pids = program.pids(2)
        program.process.send_signal(signum)
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.5)
        status, _, _ = program.end(signum)

    assert status == 1
    assert not any(_runs(pid) for pid in pids)


def test_signals_at_every_moment() -> None:
    """Also while workers are being started: it always ends."""
    for number in range(12):
        with running(workers=2, wait=False) as program:
            assert program.process.stdout is not None
            assert program.process.stdout.readline().startswith("parent")
            time.sleep(0.02 * number)
            status, _, _ = program.end()
            assert status in (0, 1, -signal.SIGTERM)


# -- arguments


def _refused(error: type[Exception], match: str, **arguments: Any) -> None:
    call: Any = aioudp.run_workers
    good: dict[str, Any] = {"main": test_wrong_arguments, "local_addr": ("", 0)}
    with pytest.raises(error, match=match):
        call(**good | arguments)


def test_wrong_arguments(tmp_path: Path) -> None:
    """They are refused at the call, before anything is opened."""
    _refused(TypeError, "main", main=1)
    _refused(TypeError, "on_stats", on_stats=1)
    _refused(TypeError, "workers", workers=1.5)
    _refused(TypeError, "drain", drain="1")
    _refused(TypeError, "nonsense", nonsense=1)
    _refused(ValueError, "path", local_addr=str(tmp_path / "socket"))
    _refused(ValueError, "workers", workers=0)
    _refused(ValueError, "steering", steering="wheel")
    _refused(ValueError, "drain", drain=-1)
    _refused(ValueError, "drain", drain=math.inf)
    _refused(ValueError, "queue_size", queue_size=0)


def test_not_in_another_thread() -> None:
    """Signals reach the main thread only."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            aioudp.run_workers(_unused, ("127.0.0.1", 0))
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


async def _unused(endpoint: aioudp.Endpoint) -> None:
    pass


def test_a_port_that_is_taken() -> None:
    """The system's error, with the address, and nothing is left open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            aioudp.run_workers(_unused, sock.getsockname(), workers=2)
