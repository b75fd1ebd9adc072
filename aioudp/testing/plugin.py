"""A pytest plugin: ``net``, seeds, and the history of what failed.

Enable it with ``pytest_plugins = ["aioudp.testing.plugin"]`` in a conftest, or with
``-p aioudp.testing.plugin``. It needs only pytest.

A coroutine test with the marker ``network`` runs on a virtual clock, and its argument
``net`` is a :class:`~aioudp.testing.SimulatedNetwork`::

    @pytest.mark.network(seeds=200, loss=0.2)
    async def test_transfer(net):
        ...

The test runs once per seed, and stops at the first that fails. The failure is shrunk to
the faults that cause it. The report contains the seed, these faults and the last
datagrams. ``--network-seed=N`` runs a single seed. Without ``seeds``, there is one
seed, 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, Final

import pytest

from .explore import Failure, shrink, try_seed
from .network import SimulatedNetwork

_LAST: Final = 30
"""Datagrams in the report of a failure."""

_KEY: Final = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--network-seed``."""
    parser.addoption(
        "--network-seed",
        type=int,
        default=None,
        help="the one seed for tests with the marker network",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "network(seeds=1, **faults): run on a simulated network, once for each seed",
    )


@pytest.fixture
def net(request: pytest.FixtureRequest) -> SimulatedNetwork:
    """Return the simulated network of a test with the marker ``network``.

    In other tests, a network without faults; its seed is ``--network-seed``, or 0.
    """
    if request.node.get_closest_marker("network") is not None:
        return SimulatedNetwork()  # each run gets its own instead
    return SimulatedNetwork(request.config.getoption("--network-seed") or 0)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: Any, name: str, obj: object
) -> list[pytest.Item] | None:
    """Collect a coroutine test with the marker as a plain function.

    Otherwise, another plugin would run it on its own event loop.
    """
    if not inspect.iscoroutinefunction(obj) or not name.startswith("test"):
        return None
    marks = getattr(obj, "pytestmark", [])
    if not any(mark.name == "network" for mark in marks):
        return None
    setattr(collector.obj, name, _plain(obj))
    return list(collector._genfunctions(name, getattr(collector.obj, name)))


def _plain(test: Any) -> Any:
    """Return a plain function with the arguments of a coroutine function."""

    def plain(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the plugin runs it")

    plain.__name__, plain.__doc__ = test.__name__, test.__doc__
    plain.__module__, plain.__qualname__ = test.__module__, test.__qualname__
    plain.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    plain.pytestmark = test.pytestmark  # type: ignore[attr-defined]
    plain.__wrapped_coroutine__ = test  # type: ignore[attr-defined]
    return plain


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with the marker on every seed."""
    test = getattr(pyfuncitem.obj, "__wrapped_coroutine__", None)
    if test is None:
        return None
    marker = pyfuncitem.get_closest_marker("network")
    assert marker is not None  # or it would not have been collected so
    faults = dict(marker.kwargs)
    seeds: Any = faults.pop("seeds", 1)
    chosen = pyfuncitem.config.getoption("--network-seed")
    if chosen is not None:
        seeds = [chosen]
    elif isinstance(seeds, int):
        seeds = range(seeds)
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    instance = [pyfuncitem.instance] if pyfuncitem.instance is not None else []

    async def main(net: SimulatedNetwork) -> None:
        mine = {name: net if name == "net" else arguments[name] for name in arguments}
        await test(*instance, **mine)

    for seed in seeds:
        failure = try_seed(main, seed, faults)
        if failure is not None:
            failure = shrink(main, failure, faults)
            pyfuncitem.stash[_KEY] = failure.report(last=_LAST)
            raise failure.error
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the seed and the last datagrams to the report of a failure."""
    report = yield
    if report.when == "call" and report.failed:
        text = item.stash.get(_KEY, None)
        network = getattr(item, "funcargs", {}).get("net")
        if text is None and isinstance(network, SimulatedNetwork):
            text = (
                f"seed {network.seed!r}; run it again with "
                f"--network-seed={network.seed}\n{network.history.table(last=_LAST)}"
            )
        if text is not None:
            report.sections.append(("simulated network", text))
    return report


__all__ = ["Failure", "net"]
