"""Run the checks of the project, each in a leg, and sum them up.

    scripts/test                   everything
    scripts/test --fast            linters, types, and the tests on this Python
    scripts/test -- -k recv -x     nothing but pytest, with arguments

A leg that fails does not stop the others; any failure makes the exit status 1. What
pytest said last about the tests on this Python is the last line.

Imports the standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType
from typing import ClassVar, Final, NoReturn

import environments
from environments import HOME, ROOT

PLATFORMS: Final = ("linux", "darwin", "win32")
TYPED: Final = ("aioudp", "tests", "examples", "benchmarks", "scripts")
GROUPS: Final = ("test", "lint", "docs", "bench")
STRICT: Final = ("-X", "dev", "-W", "error")
THIS_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
CLOSING_LINE: Final = re.compile(r"\d+ (passed|failed|error|skipped).* in [\d.]+s")
COVERAGE: Final = str(HOME / "coverage" / "data")
LIMIT: Final = 600  # seconds for one command: only a hang takes so long


class Leg:
    """One check: what it runs, what that printed, how long it took."""

    running: ClassVar[set[subprocess.Popen[bytes]]] = set()

    def __init__(self, name: str, steps: Callable[[Leg], None]) -> None:
        self.name = name
        self.ok = False
        self.seconds = 0.0
        self.output = ""
        self._steps = steps

    def __call__(self) -> Leg:
        began = time.monotonic()
        try:
            self._steps(self)
        except (OSError, subprocess.SubprocessError) as exc:
            self.output += f"{exc}\n"
        else:
            self.ok = True
        self.seconds = time.monotonic() - began
        return self

    def run(self, *command: object, cwd: Path = ROOT, **variables: str) -> None:
        """Run a command to its end; raise if it fails."""
        arguments = [str(argument) for argument in command]
        self.output += f"$ {' '.join(arguments)}\n"
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            process = subprocess.Popen(
                arguments,
                cwd=cwd,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            self.running.add(process)
            try:
                process.wait(LIMIT)
            finally:
                process.kill()  # does nothing to one that has ended
                self.running.discard(process)
                printed.seek(0)
                self.output += printed.read()
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, arguments)

    @property
    def closing_line(self) -> str:
        """What pytest said last."""
        lines = self.output.splitlines()
        return next((x for x in reversed(lines) if CLOSING_LINE.search(x)), "")

    def report(self) -> str:
        """Return all the output of a failure, else what was skipped and why."""
        if not self.ok:
            return self.output
        return "\n".join(
            line for line in self.output.splitlines() if line.startswith("SKIPPED")
        )


# -- the legs


def main_environment(leg: Leg) -> Path:
    return environments.environment("main", sys.executable, leg.run, groups=GROUPS)


def prepare(leg: Leg) -> None:
    """Make the environment that most legs share."""
    main_environment(leg)


def lint(leg: Leg) -> None:
    ruff = main_environment(leg).with_name("ruff")
    leg.run(ruff, "check")
    leg.run(ruff, "format", "--check")


def types(leg: Leg) -> None:
    """Check the types on every platform, and what users of the library see."""
    python = main_environment(leg)
    targets = [name for name in TYPED if (ROOT / name).exists()]
    for platform in PLATFORMS:
        cache = HOME / f"mypy-{platform}"
        options = ("--strict", f"--platform={platform}", f"--cache-dir={cache}")
        leg.run(python, "-m", "mypy", *options, *targets)
    leg.run(python.with_name("basedpyright"), "--pythonpath", python)


def tests(name: str, interpreter: Path | str, groups: tuple[str, ...]) -> Leg:
    """Run all the tests on one interpreter, and measure what they cover."""

    def steps(leg: Leg) -> None:
        python = environments.environment(name, interpreter, leg.run, groups=groups)
        measured = ("-m", "coverage", "run", "-m", "pytest", "--quiet")
        leg.run(python, *STRICT, *measured, COVERAGE_FILE=COVERAGE)

    version = THIS_PYTHON if name == "main" else name
    return Leg(f"tests on {version}", steps)


def coverage(leg: Leg) -> None:
    """Hold what all the test legs covered together against the gate."""
    command = (main_environment(leg), "-m", "coverage")
    leg.run(*command, "combine", "--keep", "--quiet", COVERAGE_FILE=COVERAGE)
    leg.run(*command, "report", COVERAGE_FILE=COVERAGE)


def docs(leg: Leg) -> None:
    """Build the documentation, and run the examples in it; each warning is an error."""
    sphinx = (main_environment(leg), "-m", "sphinx", "-n", "-W", "--keep-going", "-q")
    for builder in ("html", "doctest"):
        leg.run(*sphinx, "-b", builder, "docs", HOME / "docs" / builder)


def wheel(leg: Leg) -> None:
    """Build a wheel, and test it where the checkout cannot be seen."""
    main = main_environment(leg)
    with tempfile.TemporaryDirectory(prefix="aioudp-wheel-") as name:
        away = Path(name)
        # Built from a copy: setuptools leaves files behind, and would ship them later.
        source = away / "source"
        ours = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "aioudp", source / "aioudp", ignore=ours)
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, source)
        leg.run(main, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", away, source)
        (built,) = away.glob("*.whl")

        shutil.copytree(ROOT / "tests", away / "run" / "tests", ignore=ours)
        shutil.copy(ROOT / "pyproject.toml", away / "run")
        what = f"{built}[all]"
        environments.install(
            away / "venv", sys.executable, leg.run, what, groups=("test",)
        )
        python = environments.interpreter(away / "venv")
        away = away / "run"
        origin = "import aioudp, sys; sys.exit(sys.prefix not in aioudp.__file__)"
        leg.run(python, "-c", origin, cwd=away)
        checker = main.with_name("basedpyright")
        complete = ("--ignoreexternal", "--verifytypes", "aioudp")
        # It asks the python that it finds first: with --verifytypes, --pythonpath says
        # nothing to some versions of it.
        path = os.pathsep.join((str(python.parent), os.environ["PATH"]))
        leg.run(checker, *complete, cwd=away, PATH=path)
        pytest = ("-m", "pytest", "--quiet", "tests/contract")
        leg.run(python, *STRICT, *pytest, "tests/unit/test_structure.py", cwd=away)


# -- running them


def main() -> int:
    options, pytest_arguments = parse(sys.argv[1:])
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"  # ip, nft, tc
    if os.environ.get("CI") == "true":
        if failure := environments.add_system_tools():
            print(f"not installed: {failure}", flush=True)
        os.environ.setdefault("AIOUDP_REQUIRE", environments.abilities())

    preparing = Leg("environment", prepare)()
    if not preparing.ok:
        print(preparing.report())
        return 1
    if pytest_arguments is not None:
        python = environments.interpreter(HOME / "main")
        command = [str(python), *STRICT, "-m", "pytest", *pytest_arguments]
        return subprocess.run(command, cwd=ROOT).returncode

    shutil.rmtree(Path(COVERAGE).parent, ignore_errors=True)
    Path(COVERAGE).parent.mkdir()
    here = tests("main", sys.executable, GROUPS)
    legs = [here, Leg("lint", lint), Leg("types", types)]
    if not options.fast:
        others = environments.other_interpreters()
        legs += [tests(name, others[name], ("test",)) for name in others]
        legs += [Leg("wheel", wheel), Leg("docs", docs)]
    finished = [preparing, *run_all(legs, options.jobs)]
    if not options.fast:
        finished.append(tell(Leg("coverage", coverage)()))
    return summarise(finished, here)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str] | None]:
    pytest_arguments = None
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, pytest_arguments = arguments[:cut], arguments[cut + 1 :]
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fast", action="store_true", help="only the quick legs")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="legs at a time (default: one for each processor, here %(default)s)",
    )
    return parser.parse_args(arguments), pytest_arguments


def stop(signum: int, frame: FrameType | None) -> NoReturn:
    """Leave nothing running behind when this is interrupted."""
    for process in list(Leg.running):
        process.kill()
    os._exit(128 + signum)


def run_all(legs: list[Leg], jobs: int) -> list[Leg]:
    """Run the legs, *jobs* at a time, and tell of each when it is done."""
    with ThreadPoolExecutor(jobs) as pool:
        futures: list[Future[Leg]] = [pool.submit(leg) for leg in legs]
        for future in as_completed(futures):
            tell(future.result())
    return legs


def tell(leg: Leg) -> Leg:
    outcome = "ok" if leg.ok else "FAILED"
    print(f"-- {leg.name}: {outcome}, {leg.seconds:.0f} s", flush=True)
    if report := leg.report():
        print(report, flush=True)
    return leg


def summarise(legs: list[Leg], main_tests: Leg) -> int:
    print()
    for leg in legs:
        outcome = "ok" if leg.ok else "FAILED"
        line = f"{leg.name:16} {outcome:7} {leg.seconds:6.1f} s  {leg.closing_line}"
        print(line.rstrip())
    failed = [leg.name for leg in legs if not leg.ok]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    print(f"\n{main_tests.closing_line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
