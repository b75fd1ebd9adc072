"""Drive a fuzz target: by coverage where atheris is installed, else at random.

A target is a module ``fuzz_*.py`` with two functions. ``test_one_input(data)`` raises
for an input that shows a fault; ``mutated(rng)`` returns an input that is right but for
a little. Its command line is :func:`main`::

    python -m tests.fuzz.fuzz_pcap --seconds 60
    python -m tests.fuzz.fuzz_pcap --corpus DIRECTORY    write inputs to begin with
    python -m tests.fuzz.fuzz_pcap --input FILE          try one again

A target that is frozen into a program, as ClusterFuzzLite does, takes the arguments of
libFuzzer instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

_CORPUS = 200  # files


def main(
    test_one_input: Callable[[bytes], object],
    mutated: Callable[[random.Random], bytes],
    *under_test: ModuleType,
) -> None:
    """Run the command line of a target; *under_test* are measured for coverage."""
    if getattr(sys, "frozen", False):
        _by_coverage(sys.argv, test_one_input, under_test)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, metavar="DIRECTORY")
    parser.add_argument("--input", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.input:
        test_one_input(options.input.read_bytes())
    elif options.corpus:
        write_corpus(options.corpus, mutated)
    elif importlib.util.find_spec("atheris"):
        with tempfile.TemporaryDirectory() as corpus:
            write_corpus(Path(corpus), mutated)
            limit = f"-max_total_time={int(options.seconds)}"
            quiet = "-verbosity=0" if options.seconds < 30 else "-verbosity=1"
            argv = [sys.argv[0], limit, quiet, "-print_final_stats=1", corpus]
            _by_coverage(argv, test_one_input, under_test)
    else:
        count = at_random(test_one_input, mutated, options.seconds, options.seed)
        sys.stdout.write(f"{count} inputs, seed {options.seed}: no fault\n")


def at_random(
    test_one_input: Callable[[bytes], object],
    mutated: Callable[[random.Random], bytes],
    seconds: float,
    seed: int,
) -> int:
    """Try inputs for some time, at least one; return how many."""
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    count = 0
    while count == 0 or time.monotonic() < deadline:
        data = mutated(rng)
        try:
            test_one_input(data)
        except BaseException as exc:
            exc.add_note(f"input {count} of seed {seed}: {data!r}")
            raise
        count += 1
    return count


def write_corpus(folder: Path, mutated: Callable[[random.Random], bytes]) -> None:
    """Write inputs that a fuzzer can begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for number in range(_CORPUS):
        (folder / f"{number:03}").write_bytes(mutated(rng))


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes of *data*, or its length; often nothing."""
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 8])):
        if changed:
            at = rng.randrange(len(changed))
            changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    cut = rng.choice([None, None, None, rng.randrange(len(changed) + 1)])
    return bytes(changed[:cut]) + rng.choice([b"", b"", b"", rng.randbytes(3)])


def _by_coverage(
    argv: list[str],
    test_one_input: Callable[[bytes], object],
    under_test: tuple[ModuleType, ...],
) -> None:
    import atheris  # here, where PyInstaller sees it

    for module in under_test:
        for value in vars(module).values():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                atheris.instrument_func(value)
    atheris.Setup(argv, test_one_input)
    atheris.Fuzz()  # it ends the process
