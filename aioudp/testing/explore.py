"""Search: run a program under many seeds, and shrink a failure to its cause.

A run is determined by its seed, so a seed that fails once fails again. To shrink the
failure, the seed is run repeatedly with some of its faults vetoed: the draws stay the
same, but a vetoed fault doesn't take effect. In the end, every remaining fault is
necessary (ddmin; A. Zeller and R. Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", 2002), and the history is short enough to read.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Final, TextIO, TypeAlias

from .clock import run
from .history import History
from .lane import Happening
from .network import SimulatedNetwork

Main: TypeAlias = Callable[[SimulatedNetwork], Coroutine[Any, Any, Any]]
"""A coroutine function that takes a network. It fails by raising."""

TIME_LIMIT: Final = 3600.0
"""In seconds of the virtual clock; a run that takes longer has failed."""

MAX_RUNS: Final = 1000
"""Maximum runs to shrink one failure."""

_WORTH_A_PROCESS: Final = 16
"""With fewer seeds per process, starting it takes longer than the runs. A guess."""


@dataclass(slots=True)
class Failure:
    """A seed that makes a program fail, and the faults that cause the failure."""

    seed: int | str
    """The seed."""

    error: BaseException
    """What was raised."""

    faults: list[Happening]
    """The faults that happened; after shrinking, only the necessary ones."""

    history: History
    """What happened to every datagram."""

    happened: int = 0
    """The number of faults before shrinking."""

    runs: int = 1
    """How many times the program was run with this seed."""

    notes: list[str] = field(default_factory=list)

    def report(self, last: int | None = None) -> str:
        """Return a report with the error, the faults and the datagrams.

        Args:
            last: Show only the newest datagrams: at most this many.
        """
        error = "".join(traceback.format_exception_only(self.error)).strip()
        lines = [f"seed {self.seed!r} fails: {error}"]
        if self.happened or self.faults:
            few = f"{len(self.faults)} of {self.happened or len(self.faults)} faults"
            lines.append(f"{few} are enough ({self.runs} runs):")
            lines += [
                f"  {one.kind} of datagram {one.number} on {one.lane}"
                for one in self.faults
            ]
        else:
            lines.append("without any fault")
        lines += self.notes
        lines.append(self.history.table(last))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report()


def explore(
    main: Main,
    *,
    seeds: int | Iterable[int] = 100,
    processes: int | None = None,
    progress: bool | None = None,
    time_limit: float = TIME_LIMIT,
    **faults: Any,
) -> Failure | None:
    """Run *main* on a simulated network for each seed, and shrink the first failure.

    ::

        failure = testing.explore(transfer, seeds=1000, loss=0.2, duplicate=0.1)
        print(failure or "no failure")

    The result doesn't depend on *processes*: if several seeds fail, the first is
    reported. During a run, Python's ``random`` module is seeded, too.

    Args:
        main: A coroutine function that is called with a new
            :class:`SimulatedNetwork`. Other processes can run it only if it's defined
            at the top level of a module, and a script needs the guard
            ``if __name__ == "__main__":``. Otherwise, it runs in this process.
        seeds: The number of seeds, starting at 0, or the seeds themselves.
        processes: How many processes run seeds at once. 1 is this process alone.
            Default: one per core, if there are enough seeds to be worth it.
        progress: Whether to show a progress bar on standard error. Default: if it's a
            terminal.
        time_limit: In seconds of the virtual clock. A run that takes longer fails with
            :class:`TimeoutError`.
        faults: The settings of every network, as for :class:`SimulatedNetwork`.

    Returns:
        The failure, or ``None`` if no seed fails.

    Raises:
        RuntimeError: If called while an event loop runs in this thread.
        TypeError: If *main* isn't a coroutine function with one argument, or a setting
            is unknown.
        ValueError: If a number is out of range.
    """
    if not callable(main):
        raise TypeError(f"main must be a coroutine function, got {main!r}")
    SimulatedNetwork(**faults)  # or it raises
    if isinstance(seeds, int) and seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    if not time_limit > 0:
        raise ValueError(f"time_limit must be positive, got {time_limit}")
    listed = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    bar = _Bar(len(listed), sys.stderr, progress)
    count = _processes(main, processes, len(listed))
    try:
        if count == 1:
            failing = _first_failing(main, listed, faults, time_limit, bar)
        else:
            failing = _first_in_processes(main, listed, faults, time_limit, bar, count)
    finally:
        bar.done()
    if failing is None:
        return None
    failure = try_seed(main, failing, faults, time_limit=time_limit)
    if failure is None:
        raise RuntimeError(
            f"seed {failing} failed once and not again: something in the program does "
            "not come from the network, its clock, or the module random"
        )
    return shrink(main, failure, faults, time_limit=time_limit)


def try_seed(
    main: Main,
    seed: int | str,
    faults: dict[str, Any],
    only: Collection[Happening] | None = None,
    *,
    time_limit: float = TIME_LIMIT,
) -> Failure | None:
    """Run *main* once. With *only*, no other random faults take effect."""
    network = SimulatedNetwork(seed, **faults)
    happened: list[Happening] = []

    def judge(happening: Happening) -> bool:
        if only is not None and happening not in only:
            return False
        happened.append(happening)
        return True

    async def bounded() -> None:
        async with asyncio.timeout(time_limit):
            await main(network)

    network.judge = judge
    state = random.getstate()
    random.seed(seed)
    try:
        run(bounded())
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if type(error).__name__ == "Skipped":  # pytest.skip()
            raise
        return Failure(seed, error, happened, network.history, len(happened))
    finally:
        random.setstate(state)
    return None


def shrink(
    main: Main,
    failure: Failure,
    faults: dict[str, Any],
    *,
    time_limit: float = TIME_LIMIT,
    max_runs: int = MAX_RUNS,
) -> Failure:
    """Return the failure with few faults that still raises an error of its type.

    Every fault left is necessary, unless *max_runs* ended the search.
    """
    before = failure.happened
    best, runs = failure, failure.runs

    def fails(remaining: Sequence[Happening]) -> bool:
        nonlocal best, runs
        runs += 1
        found = try_seed(
            main, failure.seed, faults, set(remaining), time_limit=time_limit
        )
        if found is None or type(found.error) is not type(failure.error):
            return False
        best = found
        return True

    # Whole kinds first: most faults are jitter, and most failures don't need it.
    for kind in ("jitter", "corrupt", "reorder", "duplicate", "loss"):
        rest = [one for one in best.faults if one.kind != kind]
        if len(rest) < len(best.faults):
            fails(rest)
    parts = 2
    while best.faults and runs < max_runs:
        current = best.faults
        parts = min(parts, len(current))
        size = -(-len(current) // parts)
        for start in range(0, len(current), size):
            if fails(current[:start] + current[start + size :]):
                parts = max(parts - 1, 2)
                break
            if runs >= max_runs:
                break
        else:
            if parts >= len(current):
                break
            parts = min(2 * parts, len(current))
    best.happened, best.runs = before, runs
    return best


def _processes(main: Main, wanted: int | None, seeds: int) -> int:
    if wanted is not None:
        if wanted < 1:
            raise ValueError(f"processes must be at least 1, got {wanted}")
        return min(wanted, seeds)
    try:
        pickle.dumps(main)
    except (pickle.PicklingError, AttributeError, TypeError):
        return 1
    worth = max(1, seeds // _WORTH_A_PROCESS)
    return min(os.cpu_count() or 1, worth)


def _first_failing(
    main: Main,
    seeds: Sequence[int],
    faults: dict[str, Any],
    time_limit: float,
    bar: _Bar | None = None,
) -> int | None:
    for seed in seeds:
        if try_seed(main, seed, faults, time_limit=time_limit) is not None:
            return seed
        if bar is not None:
            bar.advance(1)
    return None


def _first_in_processes(
    main: Main,
    seeds: Sequence[int],
    faults: dict[str, Any],
    time_limit: float,
    bar: _Bar,
    processes: int,
) -> int | None:
    size = max(1, len(seeds) // (8 * processes))
    chunks = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    # Not fork, which would stop the other threads of this process in the child.
    executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        futures = [
            executor.submit(_first_failing, main, chunk, faults, time_limit)
            for chunk in chunks
        ]
        for chunk, future in zip(chunks, futures, strict=True):
            failing = future.result()
            if failing is not None:
                return failing
            bar.advance(len(chunk))
    finally:
        executor.shutdown(cancel_futures=True)
    return None


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, total: int, file: TextIO, shown: bool | None) -> None:
        self._total = total
        self._file = file
        self._shown = file.isatty() if shown is None else shown
        self._count = 0
        self.advance(0)

    def advance(self, count: int) -> None:
        self._count += count
        if self._shown:
            full = 30 * self._count // max(1, self._total)
            bar = "#" * full + "." * (30 - full)
            self._file.write(f"\r[{bar}] {self._count}/{self._total} seeds")
            self._file.flush()

    def done(self) -> None:
        if self._shown:
            self._file.write("\n")
