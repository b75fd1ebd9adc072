"""Choose the cells of the matrix that a run takes: a few that rotate, or all of them.

The matrix is loop x transport x family x options, and most test functions have
parameters of their own besides. The product is more than 13,000 cases, and a change
rarely breaks a single cell. So a run takes, of each function,

* one cell for each set of its own parameters, and
* as many more as it needs to meet every value of every axis at least once: each loop,
  both transports, both families, endpoints with and without message information.

Pairs of values that a function hasn't met yet come first. A function with several sets
of parameters therefore meets all pairs: uvloop with the loop's transport, IPv6 with
message information, and so on. ``--matrix=full`` takes the whole product.

An axis that can't make a difference isn't met on purpose, in a full run neither. Unit
tests run on one loop each, except those of the transports. Arguments that are refused
before they reach a socket need one cell: mark their test with ``no_matrix``.

A cell where a test can't work doesn't count: a set of parameters runs in another one.
The marker ``pauses`` says that a test has reading paused, which uvloop's own transport
can't do.

The choice depends on a word and on the name of the function, and on nothing else. The
word is the commit's hash, so each commit meets other cells. The header of the run shows
it, and ``--matrix=WORD``, or AIOUDP_MATRIX in the environment, repeats that run. The
choice is among what ``-k``, ``--last-failed`` and the command line have left: a case
that is named there runs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pytest

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

# -- the axes


def new_uvloop() -> asyncio.AbstractEventLoop:
    """Make a loop of uvloop's, or skip the test."""
    uvloop = pytest.importorskip(
        "uvloop", reason="cannot: uvloop: it is not installed", exc_type=ImportError
    )
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: Final[dict[str, LoopFactory]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": new_uvloop,
}

if sys.version_info >= (3, 12):

    def _new_eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS["eager"] = _new_eager_loop


def _ipv6_works() -> bool:
    """Say whether ::1 can be bound; ``socket.has_ipv6`` is about the build only."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None
HAS_IPV6: Final = _ipv6_works()

LOOP_AXES: Final = {"_asyncio_loop_factory", "loop_factory"}  # pytest-asyncio's, ours
AXES: Final = {*LOOP_AXES, "transport", "family", "endpoint_options"}

# -- the choice

Value: TypeAlias = tuple[str, int]
"""A parameter: its name and the identity of its value, which may not be hashable."""


class Case(NamedTuple):
    """One case of a test function."""

    parameters: frozenset[Value]
    """The function's own."""
    cell: frozenset[Value]
    """A value for each axis that matters to the function."""
    skips: bool = False
    """Whether this machine lacks one of its values, or the test can't work there."""


def choose(cases: Sequence[Case], seed: str) -> set[int]:
    """Return the positions of the cases of one function that a run takes.

    Each set of parameters is among them once, and so is every value of every axis. One
    that this machine lacks comes in addition, so that its skip is reported.
    """
    order = list(range(len(cases)))
    random.Random(seed).shuffle(order)  # the same in each process and version of Python
    unmet = {value for case in cases for value in _combinations(case.cell)}
    taken: set[int] = set()

    def news(position: int) -> tuple[int, int]:
        new = [x for x in _combinations(cases[position].cell) if x in unmet]
        values = sum(len(combination) == 1 for combination in new)
        return values, len(new) - values

    def take(positions: list[int]) -> None:
        best = max(positions, key=news)
        taken.add(best)
        unmet.difference_update(_combinations(cases[best].cell))

    def running(positions: list[int]) -> list[int]:
        return [position for position in positions if not cases[position].skips]

    sets: dict[frozenset[Value], list[int]] = {}
    for position in order:
        sets.setdefault(cases[position].parameters, []).append(position)
    for positions in sets.values():
        take(running(positions) or positions)
    for positions in (running(order), order):
        while any(news(position)[0] for position in positions):
            take(positions)
    return taken


def _combinations(cell: frozenset[Value]) -> list[tuple[Value, ...]]:
    """Return the values of a cell, and its pairs of values."""
    values = sorted(cell, key=lambda value: value[0])
    return [*((value,) for value in values), *itertools.combinations(values, 2)]


# -- in pytest

_TESTS: Final = Path(__file__).parent
_FULL: Final = "full"


def add_option(parser: pytest.Parser) -> None:
    parser.addoption(
        "--matrix",
        metavar="WORD",
        default=os.environ.get("AIOUDP_MATRIX") or _commit(),
        help=(
            "run the cells of the matrix that this word selects, or all with 'full' "
            "(default: AIOUDP_MATRIX, or the hash of the commit, here %(default)s)"
        ),
    )


def _commit() -> str:
    command = ("git", "-C", str(_TESTS), "rev-parse", "--short=10", "HEAD")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "0"
    return done.stdout.strip() or "0"


class Matrix:
    """A plugin that deselects the cells that a run doesn't take.

    Registered in ``pytest_configure``, after pytest's own: it sees what they left.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.word: str = config.getoption("--matrix")

    def pytest_report_header(self) -> str:
        return f"matrix: {self.word}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        yield
        functions: dict[str, list[pytest.Item]] = {}
        for item in items:
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
        taken: set[pytest.Item] = set()
        for name, of_function in functions.items():
            cases = [_case(item, full=self.word == _FULL) for item in of_function]
            positions = choose(cases, f"{self.word} {name}")
            taken.update(of_function[position] for position in positions)
        self.config.hook.pytest_deselected(
            items=[item for item in items if item not in taken]
        )
        items[:] = [item for item in items if item in taken]


def _case(item: pytest.Item, *, full: bool) -> Case:
    callspec = getattr(item, "callspec", None)
    values: Mapping[str, Any] = callspec.params if callspec else {}
    axes = _axes_that_matter(item)
    parameters = {(name, id(x)) for name, x in values.items() if name not in AXES}
    cell = {(name, id(x)) for name, x in values.items() if name in axes}
    if full:  # as if the function had them as parameters of its own
        parameters, cell = parameters | cell, set()
    loop = values.get("loop_factory") or values.get("_asyncio_loop_factory")
    uvloop = loop in ("uvloop", new_uvloop)
    skips = (
        (uvloop and not HAS_UVLOOP)
        or (values.get("family") == socket.AF_INET6 and not HAS_IPV6)
        or (
            uvloop
            and values.get("transport") == "loop"
            and item.get_closest_marker("pauses") is not None
        )
    )
    return Case(frozenset(parameters), frozenset(cell), skips)


def _axes_that_matter(item: pytest.Item) -> set[str]:
    if item.get_closest_marker("no_matrix"):
        return set()
    match item.path.relative_to(_TESTS).parts:
        case ("unit", folder, *_) if folder != "transports":
            return AXES - LOOP_AXES
        case _:
            return AXES
