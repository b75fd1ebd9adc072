"""Run the checks of the project, each in a leg, and sum them up.

    scripts/test                   everything
    scripts/test --fast            linters, types, and the library's tests, here
    scripts/test --full            everything, on the whole matrix: for the night
    scripts/test -- -k recv -x     only pytest, with these arguments

A leg is a function that runs commands; ``legs`` lists them. A leg that fails doesn't
stop the others, and any failure makes the exit status 1. The last line is pytest's
summary of the tests on this Python.

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
from typing import Any, ClassVar, Final, NoReturn

import distributions
import environments
from environments import HOME, ROOT

PLATFORMS: Final = ("linux", "darwin", "win32")
TYPED: Final = ("aioudp", "tests", "examples", "benchmarks", "scripts")
GROUPS: Final = (
    *("test", "lint", "docs", "site", "bench", "interop", "deployment", "release"),
)
INTEROP: Final = (
    *("aiocoap", "aioice", "aioquic", "aiortc", "dnspython", "kademlia", "pysnmp"),
    *("python-osc", "rpcudp", "zeroconf"),
)
STRICT: Final = ("-X", "dev", "-W", "error")
PYTEST: Final = ("-m", "pytest", "--quiet")
MEASURED: Final = ("-m", "coverage", "run", *PYTEST)
PROGRAMS: Final = tuple(
    f"tests/{name}" for name in ("benchmarks", "docs", "examples", "interop")
)
"""Tests of what uses the library. They take long, and measure nothing new."""
SITE: Final = "tests/site"
"""Tests of the built documentation, in a browser."""
LOADS: Final = ("tests/contract/test_workers.py", "tests/forwarding")
"""Tests that start many processes and load them: on one Python, with one twin."""
THIS_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
CLOSING_LINE: Final = re.compile(r"\d+ (passed|failed|error|skipped).* in [\d.]+s")
COVERAGE: Final = str(HOME / "coverage" / "data")
SCHEMAS: Final = {
    "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
    "vendor.citation-file-format": "CITATION.cff",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-workflows": ".github/workflows/*.yml",
}
"""Of check-jsonschema, and what each is for."""
LIMIT: Final = 1800  # seconds for one command: only a hang takes so long


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

    def details(self) -> str:
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
    if (ROOT / ".github").exists():  # a source distribution doesn't have it
        lint_the_repository(leg, ruff.parent)


def lint_the_repository(leg: Leg, tools: Path) -> None:
    """Check the workflows, and the files that GitHub reads."""
    leg.run(tools / "zizmor", "--offline", "--persona=pedantic", "--quiet", ".")
    if (tools / "actionlint").exists():
        leg.run(tools / "actionlint")
    else:
        leg.output += "SKIPPED cannot: actionlint: there's none for this system\n"
    for schema, pattern in SCHEMAS.items():
        files = sorted(ROOT.glob(pattern))
        leg.run(tools / "check-jsonschema", "--builtin-schema", schema, *files)


def types(leg: Leg) -> None:
    """Check the types on every platform, and what users of the library see."""
    python = main_environment(leg)
    targets = [name for name in TYPED if (ROOT / name).exists()]
    for platform in PLATFORMS:
        cache = HOME / f"mypy-{platform}"
        options = ("--strict", f"--platform={platform}", f"--cache-dir={cache}")
        leg.run(python, "-m", "mypy", *options, *targets)
    leg.run(python.with_name("basedpyright"), "--pythonpath", python)


def without(*folders: str) -> list[str]:
    return [f"--ignore={folder}" for folder in folders]


def required(*installed: str) -> dict[str, Any]:
    """Return what the tests in the main environment may not skip, where that counts."""
    word = os.environ.get("AIOUDP_REQUIRE")
    return {} if word is None else {"AIOUDP_REQUIRE": ",".join((word, *installed))}


def fast_tests(leg: Leg) -> None:
    """Run the tests of the library itself, and measure nothing."""
    python = main_environment(leg)
    ignored = without(*PROGRAMS, SITE, "tests/cli")
    leg.run(python, *STRICT, *PYTEST, *ignored, **required(*INTEROP))


def all_tests(leg: Leg) -> None:
    """Run the tests of the library and of its command, and measure what they cover."""
    python = main_environment(leg)
    ignored = without(*PROGRAMS, SITE)
    leg.run(
        python,
        *STRICT,
        *MEASURED,
        *ignored,
        COVERAGE_FILE=COVERAGE,
        **required(*INTEROP),
    )


def programs(leg: Leg) -> None:
    """Run the tests of examples and benchmarks, and of libraries on the drop-in."""
    python = main_environment(leg)
    leg.run(python, *STRICT, *PYTEST, *PROGRAMS, **required(*INTEROP))


def tests_on(name: str, interpreter: Path, *, full: bool) -> Leg:
    """Run the tests of the library itself on another interpreter.

    The network's tests are about the kernel, which is the same for each. Those that
    start many processes take long, and put load on the machine: only with *full*.
    """
    names = ("benchmarks", "docs", "interop", "network", "site")
    ignored = [f"tests/{name}" for name in names]
    if not full:
        ignored += ["tests/cli", "tests/examples", *LOADS]

    def steps(leg: Leg) -> None:
        groups = ("test",)
        python = environments.environment(name, interpreter, leg.run, groups=groups)
        leg.run(python, *STRICT, *PYTEST, *without(*ignored))

    return Leg(f"tests on {name}", steps)


def readable(leg: Leg) -> None:
    """Run what the compiled batch I/O was tested with on its readable twin too."""
    python = main_environment(leg)
    what = ("tests/contract", "tests/network", "tests/properties")
    leg.run(python, *STRICT, *PYTEST, *what, *without(*LOADS), AIOUDP_SPEEDUPS="0")


def sanitizers(leg: Leg) -> None:
    """Look for reads and writes beyond a buffer, and for undefined behaviour, in C."""
    main = main_environment(leg)
    if not environments.can_compile(main):
        leg.output += "SKIPPED cannot: speedups: there is no compiler\n"
        return
    with tempfile.TemporaryDirectory(prefix="aioudp-sanitizers-") as name:
        away = Path(name)
        checked = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
        built = copy_of_the_package(away / "source")
        install = ("-m", "pip", "install", "--quiet", "--no-deps")
        leg.run(
            *(main, *install, "--target", away / "site", built),
            AIOUDP_BUILD_SPEEDUPS="yes",
            CFLAGS=f"{checked} -O1 -g",
            LDFLAGS=checked,
        )
        copy_of_the_tests(away / "run")
        sanitized = {
            "PYTHONPATH": str(away / "site"),
            "LD_PRELOAD": " ".join(map(runtime_library, ("libasan.so", "libubsan.so"))),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own are many
            "PYTHONMALLOC": "malloc",  # each object by itself, with a fence around it
        }
        names = (
            *("batches", "receiving", "trains", "messages", "receiving_messages"),
            *("sending", "send_many", "segments", "send_options"),
        )
        contract = (f"contract/test_{name}.py" for name in names)
        what = ("native", "unit/system/batchio", *contract)
        tests = [f"tests/{name}" for name in what]
        pytest = (main, "-X", "dev", *PYTEST, *tests)
        leg.run(*pytest, cwd=away / "run", **sanitized)
        fuzz = (main, "-m", "tests.fuzz.fuzz_control_data", "--seconds", "5")
        leg.run(*fuzz, cwd=away / "run", **sanitized)


def soak(leg: Leg) -> None:
    """Run mixed traffic with faults for two minutes, and see that nothing grows."""
    if sys.platform != "linux":
        leg.output += "SKIPPED cannot: linux: what a process has is read from /proc\n"
        return
    python = main_environment(leg)
    leg.run(python, "-m", "benchmarks", "soak", "--seconds", "120", **required())


def other_suites(leg: Leg) -> None:
    """Run the test suites of other projects on our event loop."""
    groups = ("suites",)
    try:
        python = environments.environment(
            "suites", sys.executable, leg.run, groups=groups
        )
    except subprocess.CalledProcessError:
        if environments.index_answers():
            raise
        leg.output += "SKIPPED cannot: index: the package index can't be reached\n"
        return
    leg.run(python, "scripts/suites/run.py")


def runtime_library(name: str) -> str:
    """Return the path of a library of the C compiler."""
    compiler = os.environ.get("CC", "cc")
    asked = [compiler, f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def coverage(leg: Leg) -> None:
    """Hold what all the test legs covered together against the gate."""
    command = (main_environment(leg), "-m", "coverage")
    leg.run(*command, "combine", "--keep", "--quiet", COVERAGE_FILE=COVERAGE)
    leg.run(*command, "report", COVERAGE_FILE=COVERAGE)


def docs(leg: Leg) -> None:
    """Build the documentation, run the examples in it, and look at its pages.

    Each warning is an error. The pictures of the pages stay in .venv-test/docs.
    """
    python, built = main_environment(leg), HOME / "docs"
    sphinx = (python, "-m", "sphinx", "-n", "-W", "--keep-going", "-q")
    for builder in ("html", "doctest"):
        leg.run(*sphinx, "-b", builder, "docs", built / builder)
    demanded = required("furo", "myst_parser", "selenium", "sphinx")
    where = {"AIOUDP_SITE": str(built / "html"), **demanded}
    leg.run(python, *STRICT, *PYTEST, SITE, **where)


def copy_of_the_package(to: Path) -> Path:
    """Copy what a wheel is built from, and nothing that was built before."""
    sources = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
    shutil.copytree(ROOT / "aioudp", to / "aioudp", ignore=sources)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, to)
    return to


def copy_of_the_tests(to: Path) -> None:
    sources = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests", to / "tests", ignore=sources)
    shutil.copy(ROOT / "pyproject.toml", to)


def wheel(leg: Leg) -> None:
    """Build a wheel, and test it where the checkout cannot be seen."""
    main = main_environment(leg)
    with tempfile.TemporaryDirectory(prefix="aioudp-wheel-") as name:
        away = Path(name)
        # Built from a copy: setuptools leaves files behind, and would ship them later.
        source = copy_of_the_package(away / "source")
        leg.run(main, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", away, source)
        (built,) = away.glob("*.whl")

        copy_of_the_tests(away / "run")
        extras = f"{built}[all]"
        environments.install(
            away / "venv", sys.executable, leg.run, extras, groups=("test",)
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
        what = ("opening", "adopting", "receiving", "sending", "messages", "closing")
        tests = [f"tests/contract/test_{name}.py" for name in what]
        tests.append("tests/unit/test_structure.py")
        leg.run(python, *STRICT, *PYTEST, *tests, cwd=away)


def distribution(leg: Leg) -> None:
    """Build the source distribution, install it, and type the README's lines."""
    python = main_environment(leg)
    if not distributions.check(python, leg.run):
        leg.output += "SKIPPED cannot: git: the files of the repository aren't known\n"
        return
    # Without a compiler, which is quick; with one it's what the leg "wheel" does.
    leg.run(sys.executable, "scripts/typed_readme.py", CC="false")


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
    if options.full:
        os.environ["AIOUDP_MATRIX"] = "full"
    matrix = os.environ.setdefault("AIOUDP_MATRIX", environments.revision())
    print(f"matrix: {matrix}", flush=True)  # to repeat this run: AIOUDP_MATRIX=...

    preparing = Leg("environment", prepare)()
    if not preparing.ok:
        print(preparing.details())
        return 1
    if pytest_arguments is not None:
        python = environments.interpreter(HOME / "main")
        command = [str(python), *STRICT, "-m", "pytest", *pytest_arguments]
        return subprocess.run(command, cwd=ROOT).returncode

    shutil.rmtree(Path(COVERAGE).parent, ignore_errors=True)
    Path(COVERAGE).parent.mkdir()
    tests, *others = legs(fast=options.fast, full=options.full)
    finished = [preparing, *run_all([tests, *others], options.jobs)]
    if not options.fast:
        finished.append(report(Leg("coverage", coverage)()))
    return summarise(finished, tests)


def legs(*, fast: bool, full: bool) -> list[Leg]:
    """Return what is to be run: the tests on this Python, then what takes longest."""
    here = f"tests on {THIS_PYTHON}"
    quick = [Leg("types", types), Leg("lint", lint)]
    if fast:
        return [Leg(here, fast_tests), *quick]
    others = environments.other_interpreters()
    return [
        Leg(here, all_tests),
        Leg("programs", programs),
        Leg("sanitizers", sanitizers),
        Leg("soak", soak),
        *(tests_on(name, python, full=full) for name, python in others.items()),
        Leg("readable twin", readable),
        Leg("other suites", other_suites),
        Leg("wheel", wheel),
        Leg("distribution", distribution),
        *quick,
        Leg("docs", docs),
    ]


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
    parser.add_argument(
        "--fast", action="store_true", help="only linters, types and the quick tests"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="every cell of the test matrix, not a few that change with each commit",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=(os.cpu_count() or 1) + 1,  # a leg often waits
        help="legs at a time (default: one more than processors, here %(default)s)",
    )
    return parser.parse_args(arguments), pytest_arguments


def stop(signum: int, frame: FrameType | None) -> NoReturn:
    """Leave nothing running behind when this is interrupted."""
    for process in list(Leg.running):
        process.kill()
    os._exit(128 + signum)


def run_all(legs: list[Leg], jobs: int) -> list[Leg]:
    """Run the legs, *jobs* at a time, and report each when it is done."""
    with ThreadPoolExecutor(jobs) as pool:
        futures: list[Future[Leg]] = [pool.submit(leg) for leg in legs]
        for future in as_completed(futures):
            report(future.result())
    return legs


def report(leg: Leg) -> Leg:
    outcome = "ok" if leg.ok else "FAILED"
    print(f"-- {leg.name}: {outcome}, {leg.seconds:.0f} s", flush=True)
    if details := leg.details():
        print(details, flush=True)
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
