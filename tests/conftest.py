"""What every test can count on: the matrix, the fixtures and the guards.

The matrix
    An async test runs on the event loops ``asyncio``, ``uvloop`` and ``eager`` (asyncio
    with eager tasks, Python 3.12 on). No marker is needed. Take ``transport`` and
    ``family`` (or ``host``) for two more axes; the ids then read
    ``test_echo[asyncio-selector-ipv4]``. A module that overrides ``endpoint_options``
    with a parametrized fixture adds a fourth. A test that drives its own loop is a
    plain function and takes ``loop_factory``.

    A run takes some cells of the matrix, other ones for each commit; each value of each
    axis is among them for every test. ``--matrix=full`` takes all. ``matrix.py`` says
    how they are chosen and how a run is repeated. Give ``no_matrix`` to a test of
    arguments that are refused before they reach a socket. Don't skip a cell where a
    test can't work; leave it out: ``@pytest.mark.parametrize("transport",
    ["selector"], indirect=True)``.

The fixtures
    ``loop_name``      ``"asyncio"``, ``"uvloop"`` or ``"eager"``: where this test runs
    ``loop_factory``   makes such a loop; for tests that are not coroutines
    ``transport``      ``"selector"`` or ``"loop"``, for the option of that name
    ``family``         ``socket.AF_INET`` or ``socket.AF_INET6``
    ``host``           the loopback host of that family
    ``endpoint_options``  of every endpoint that these open; a module may override it
    ``endpoints``      opens endpoints with these, and closes them at the end
    ``until_blocked``  turns the loop, never the clock, until the given tasks wait

The guards, on for every test
    A test fails if it leaves a socket open or unclosed to the garbage collector, if
    anything warns, or if asyncio logs an error, as it does when the event loop's
    exception handler is called. A test that provokes such a call on purpose sets an
    exception handler of its own.

The order of datagrams
    The kernel keeps it for a sender that stays on one processor, and promises nothing
    else. So each test does, unless it runs other programs.

Skipping
    A reason begins with ``cannot: `` and the word for what the machine lacks, as in
    ``cannot: ipv6: ::1 cannot be bound``. Where ``AIOUDP_REQUIRE`` is set, as in
    continuous integration, every other skip is a failure, and so is one for a word
    that it lists (``AIOUDP_REQUIRE=uvloop,network``).

Tests never sleep to wait for something: they await the event itself, and a test that
hangs is ended by the timeout of the suite.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import gc
import inspect
import itertools
import logging
import os
import socket
import sys
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

import aioudp

from .matrix import (
    HAS_IPV6,
    HAS_UVLOOP,
    LOOPS,
    LoopFactory,
    Matrix,
    add_option,
    new_uvloop,
)

UntilBlocked: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


# -- the matrix


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    """Return the loops on which pytest-asyncio runs each test.

    One that isn't installed is left out, unless it must be here. Its tests can't be
    skipped: after a loop that skips, pytest-asyncio fails the tests that follow.
    """
    required = os.environ.get("AIOUDP_REQUIRE", "").split(",")
    absent = set() if HAS_UVLOOP or "uvloop" in required else {"uvloop"}
    return {name: loop for name, loop in LOOPS.items() if name not in absent}


@pytest.fixture
async def loop_name() -> str:
    """Return the name of the event loop that the test runs on."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__.partition(".")[0] == "uvloop":
        return "uvloop"
    return "asyncio" if loop.get_task_factory() is None else "eager"


@pytest.fixture(params=LOOPS)
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """Return a function that makes an event loop; the caller closes the loop."""
    if request.param == "uvloop":
        new_uvloop().close()  # skips here, and not in the middle of the test
    return LOOPS[request.param]


@pytest.fixture(params=["selector", "loop"])
def transport(request: pytest.FixtureRequest) -> aioudp.TransportKind:
    """Return a value for the option ``transport``."""
    kind: aioudp.TransportKind = request.param
    return kind


@pytest.fixture(
    params=[
        pytest.param(socket.AF_INET, id="ipv4"),
        pytest.param(socket.AF_INET6, id="ipv6"),
    ]
)
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    """Return an address family that this machine has."""
    if request.param == socket.AF_INET6 and not HAS_IPV6:
        pytest.skip("cannot: ipv6: ::1 cannot be bound")
    return socket.AddressFamily(request.param)


@pytest.fixture
def host(family: socket.AddressFamily) -> str:
    """Return the loopback host of the address family."""
    return "127.0.0.1" if family == socket.AF_INET else "::1"


# -- endpoints


class Endpoints:
    """Opens endpoints on one transport and one host, and closes them all."""

    def __init__(
        self, transport: aioudp.TransportKind, host: str, options: Mapping[str, Any]
    ) -> None:
        self._defaults: dict[str, Any] = {"transport": transport, **options}
        self._host = host
        self._stack = AsyncExitStack()
        self._opened: list[aioudp.Endpoint] = []

    async def bind(self, *, port: int = 0, **options: Any) -> aioudp.Endpoint:
        """Bind an endpoint to the loopback host."""
        return await self._enter(
            aioudp.bind((self._host, port), **self._defaults | options)
        )

    async def connect(self, remote_addr: Any, **options: Any) -> aioudp.Endpoint:
        """Connect an endpoint to the address."""
        return await self._enter(
            aioudp.connect(remote_addr, **self._defaults | options)
        )

    async def pair(self, **options: Any) -> tuple[aioudp.Endpoint, aioudp.Endpoint]:
        """Return a bound endpoint, opened with the options, and one connected to it."""
        server = await self.bind(**options)
        return server, await self.connect(server.local_addr)

    async def _enter(self, opening: aioudp.Opening[aioudp.Endpoint]) -> aioudp.Endpoint:
        endpoint = await self._stack.enter_async_context(opening)
        self._opened.append(endpoint)
        return endpoint

    async def aclose(self) -> None:
        """Close them; abort those that cannot be, or the loop could not be either."""
        try:
            async with asyncio.timeout(5):
                await self._stack.aclose()
        except TimeoutError:
            for endpoint in self._opened:
                endpoint.transport.abort()
            raise


@pytest.fixture
def endpoint_options() -> Mapping[str, Any]:
    """Return the options of every endpoint: none but the transport."""
    return {}


@pytest.fixture
async def endpoints(
    transport: aioudp.TransportKind, host: str, endpoint_options: Mapping[str, Any]
) -> AsyncIterator[Endpoints]:
    """Open endpoints with ``bind``, ``connect`` and ``pair``; the end closes them."""
    endpoints = Endpoints(transport, host, endpoint_options)
    yield endpoints
    await endpoints.aclose()


# -- waiting without the clock

_MAX_TURNS: Final = 10_000
_SETTLED: Final = 3  # turns; a task in asyncio.wait_for starts another one in the first


@pytest.fixture
def until_blocked() -> UntilBlocked:
    """Return a coroutine function that lets the loop turn until the tasks wait.

    A task waits when it is suspended on a future that nothing has resolved. One that
    is done instead is returned from at once, so that the test sees its result.
    """
    return _until_blocked


async def _until_blocked(*tasks: asyncio.Task[Any]) -> None:
    settled = 0
    for _ in range(_MAX_TURNS):
        await asyncio.sleep(0)
        settled = settled + 1 if all(map(_is_blocked, tasks)) else 0
        if settled == _SETTLED:
            return
    pytest.fail(f"not blocked after {_MAX_TURNS} turns of the event loop: {tasks}")


def _is_blocked(task: asyncio.Task[Any]) -> bool:
    if task.done():
        return True
    # Private, but the same in every version and in the C task, which uvloop uses too;
    # asyncio offers no public way to see what a task waits for.
    waits_for: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    return waits_for is not None and not waits_for.done()


# -- the guards


class _Errors(logging.Handler):
    """Keeps what asyncio logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


_SHARE: Final = 2 / 3  # of the suite's timeout: the rest is for the report of a failure

# Their tests run programs, which may use every processor.
_WITH_PROGRAMS: Final = {"benchmarks", "cli", "docs", "examples", "interop", "site"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Cancel a coroutine that hangs, and stay on one processor.

    The suite's own timeout does not reach uvloop: it raises in a signal handler, which
    uvloop puts off while nothing else happens.
    """
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0] if marker else item.config.getini("timeout"))
        item.obj = _bounded(item.obj, _SHARE * limit)
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder not in _WITH_PROGRAMS:
        with _on_one_processor():
            return (yield)
    return (yield)


@contextmanager
def _on_one_processor() -> Iterator[None]:
    """Stay on the processor where this thread runs, and threads that it starts.

    Loopback and veth devices queue what they carry on the processor that sends
    (netif_rx() in net/core/dev.c). Where the scheduler moves a sender to another one,
    its next datagram may overtake the last: the kernel promises no order then.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    stat = Path("/proc/thread-self/stat").read_text()
    current = int(stat.rpartition(")")[2].split()[36])  # "processor": proc_pid_stat(5)
    os.sched_setaffinity(0, {current})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _bounded(
    test: Callable[..., Coroutine[Any, Any, None]], seconds: float
) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def bounded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return bounded


_NOW_AND_THEN: Final = 100  # tests
_LONGEST: Final = 900  # seconds for so many; only a hang takes so long
_STDERR: Final = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Matrix(config))
    # For the last words of a run that hangs.
    config.stash[_STDERR] = os.dup(2)


def pytest_unconfigure() -> None:
    faulthandler.cancel_dump_traceback_later()


_TESTS: Final = itertools.count(1)
CPYTHON: Final = sys.implementation.name == "cpython"  # others collect as they like


@pytest.fixture(autouse=True)
def guards(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail the test if it leaves a mess behind. See the top of this file."""
    if next(_TESTS) % _NOW_AND_THEN == 1:
        # Closing an event loop may hang; nothing else can end that, and show where.
        stderr = pytestconfig.stash[_STDERR]
        faulthandler.dump_traceback_later(_LONGEST, exit=True, file=stderr)
        # Event loops are among what is frozen below, 100 KB each.
        if CPYTHON:
            gc.unfreeze()
        gc.collect()
    # Keep what was there before out of the collection at the end: 20 times faster.
    if CPYTHON:
        gc.freeze()
    before = _open_sockets()
    errors = _Errors()
    # The default exception handler, of uvloop too, logs here and nowhere else.
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    try:
        yield
        gc.collect()  # what is unclosed warns now, and so fails this test, not another
    finally:
        logger.removeHandler(errors)
    if errors.seen:
        pytest.fail("asyncio reported an error:\n" + "\n".join(errors.seen))
    if leaked := _open_sockets() - before:
        pytest.fail(f"sockets left open: {', '.join(sorted(leaked))}")


def _open_sockets() -> set[str]:
    """Return the sockets of this process, where the system lists them (Linux)."""
    found: set[str] = set()
    try:
        descriptors = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for descriptor in descriptors:
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:"):
            found.add(f"{target} (descriptor {descriptor})")
    return found


# -- skipping is for what the machine cannot do


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """Turn a skip that must not be into a failure."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    """Do the same for a module that skips itself."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    required = os.environ.get("AIOUDP_REQUIRE")
    if required is None or not report.skipped or hasattr(report, "wasxfail"):
        return
    assert isinstance(report.longrepr, tuple)
    path, line, reason = report.longrepr
    reason = reason.removeprefix("Skipped: ")
    allowed, _, lacking = reason.partition("cannot: ")
    word = lacking.partition(":")[0].strip()
    if allowed == "" and word and word not in required.split(","):
        return
    report.outcome = "failed"
    where = f"{Path(path).name}:{line}"
    report.longrepr = f"{where}: skipped, but AIOUDP_REQUIRE={required!r}: {reason}"
