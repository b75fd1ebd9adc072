"""Run other people's test suites on our event loop; only the loop's factory is swapped.

    python scripts/suites/run.py           the quick ones, a leg of scripts/test
    python scripts/suites/run.py --all     all of them, for every night

A suite comes with the source distribution of its project, from the package index, at
the version that the dependency group ``suites`` names. It runs on asyncio and on
uvloop. What fails there must be listed in differences.toml with a reason: a failure
that isn't listed makes the exit status 1, and so does a listed test that passes.

Imports the standard library only, and runs in the environment it tests.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import importlib.util
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
DOWNLOADED: Final = ROOT / ".venv-test" / "suites-downloaded"
LOOPS: Final = ("asyncio", "uvloop")
LIMIT: Final = 100  # seconds for a suite on a loop; it takes 10, and only a hang more
NIGHT: Final = 1200  # the same for those that take long
AT_A_TIME: Final = 2
NOTHING_TESTED: Final = 6  # as in swapped_loop.py


def no_ipv6() -> str:
    """Return what leaves those out that take "localhost" for an IPv6 address, too."""
    try:
        socket.getaddrinfo("localhost", 9, socket.AF_INET6)
    except OSError:
        return " and not ipv6"
    return ""


class Suite(NamedTuple):
    """A project, and which of its tests are about datagrams."""

    project: str
    tests: tuple[str, ...]
    quick: bool = True


ANYIO: Final = ("-p", "no:asyncio", "-o", "anyio_mode=auto", "tests/test_sockets.py")
SUITES: Final = (
    Suite("cpython", (str(HERE / "cpython_datagrams.py"),)),
    Suite("asyncio-dgram", ("test",)),
    Suite("asyncudp", ("tests",)),
    # What its settings say is for a newer pytest, without the fixture event_loop.
    Suite("anyio", (*ANYIO, "-k", f"UDP and not uvloop and not trio{no_ipv6()}")),
    Suite("aioquic", ("tests/test_asyncio.py",)),
    Suite("kademlia", ("kademlia/tests",)),  # on rpcudp
    # At night, in a network namespace: it uses every interface there is.
    Suite("zeroconf", ("tests/test_asyncio.py",), quick=False),
)


class Outcome(NamedTuple):
    """What came of one suite on one loop."""

    suite: str
    loop: str
    passed: set[str]
    failed: dict[str, str]
    trouble: str = ""
    """Why there is nothing to compare, and what was printed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="those that take long too")
    parser.add_argument("--download", action="store_true", help="nothing but that")
    parser.add_argument("--only", metavar="PROJECT", help="this one alone")
    options = parser.parse_args()
    chosen = [
        suite
        for suite in SUITES
        if (suite.quick or options.all or options.download)
        and options.only in (None, suite.project)
    ]
    limit = NIGHT if options.all else LIMIT
    with tempfile.TemporaryDirectory(prefix="aioudp-suites-") as name:
        with ThreadPoolExecutor(len(chosen)) as pool:
            where = dict(zip(chosen, pool.map(download, chosen), strict=True))
        for suite, sources in where.items():
            if isinstance(sources, str):
                print(f"SKIPPED cannot: index: {suite.project}: {sources}")

        if options.download:
            return 0

        def on_both_loops(one: tuple[Suite, Path]) -> list[Outcome]:
            # One after the other: some bind ports by number.
            return [run(*one, loop, Path(name), limit) for loop in LOOPS]

        found = [(s, at) for s, at in where.items() if isinstance(at, Path)]
        ok = True
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for outcomes in pool.map(on_both_loops, found):
                for outcome in outcomes:
                    ok &= report(outcome)
    return 0 if ok else 1


def download(suite: Suite) -> Path | str:
    """Return the unpacked source distribution of a project, or why there is none."""
    if suite.project == "cpython":
        shipped = importlib.util.find_spec("test.test_asyncio")
        return HERE if shipped else "this CPython comes without its tests"
    try:
        version = importlib.metadata.version(suite.project)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    home = DOWNLOADED / f"{suite.project}-{version}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as name:
            get = ("pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
            what = f"{suite.project}=={version}"
            command = (sys.executable, "-m", *get, "--dest", name, what)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            archives = list(Path(name).glob("*.tar.gz"))
            if not archives:
                return (done.stderr.strip().splitlines() or ["no archive"])[-1]
            with tarfile.open(archives[0]) as archive:
                archive.extractall(Path(name, "unpacked"), filter="data")
            (top,) = Path(name, "unpacked").iterdir()
            top.rename(home)
    return home


def run(suite: Suite, sources: Path, loop: str, away: Path, limit: int) -> Outcome:
    """Run a suite on our loop over *loop*."""
    listed = away / f"{suite.project}-{loop}.xml"
    command = (
        *(sys.executable, "-m", "pytest", "--quiet", "-p", "swapped_loop"),
        *("-p", "no:cacheprovider", "-p", "no:randomly", f"--junit-xml={listed}"),
        # Theirs or none: pytest would look for ours in the folders above.
        *(
            "-c",
            "pyproject.toml" if (sources / "pyproject.toml").exists() else os.devnull,
        ),
        *("--rootdir", str(sources), *suite.tests),
    )
    path = os.pathsep.join((str(HERE), str(ROOT)))
    variables = {**os.environ, "PYTHONPATH": path, "SWAPPED_LOOP": loop}
    try:
        done = subprocess.run(
            command,
            cwd=sources,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(suite.project, loop, set(), {}, f"not done in {limit} s")
    trouble = ""
    if done.returncode == NOTHING_TESTED:
        trouble = "no transport of ours was opened"
    elif done.returncode not in (0, 1) or not listed.exists():
        trouble = f"pytest ended with {done.returncode}\n{done.stdout}{done.stderr}"
    passed, failed = read(listed) if listed.exists() else (set(), {})
    return Outcome(suite.project, loop, passed, failed, trouble)


def read(listed: Path) -> tuple[set[str], dict[str, str]]:
    """Return the names of the tests that passed, and of those that failed, and how."""
    passed: set[str] = set()
    failed: dict[str, str] = {}
    for case in ElementTree.parse(listed).iter("testcase"):
        module = case.get("classname", "").rpartition(".")[2]
        name = f"{module}::{case.get('name')}"
        wrong = [kind for kind in case if kind.tag in ("failure", "error")]
        if wrong:
            failed[name] = wrong[0].text or ""
        elif case.find("skipped") is None:
            passed.add(name)
    return passed - failed.keys(), failed


def report(outcome: Outcome) -> bool:
    """Compare with what is listed, print it, and return whether all is well."""
    expected = {
        name
        for pattern in differences(outcome)
        for name in {*outcome.passed, *outcome.failed}
        if fnmatch.fnmatchcase(name, pattern)
    }
    new = outcome.failed.keys() - expected
    gone = expected & outcome.passed
    count = f"{len(outcome.passed)} passed, {len(expected - gone)} differ as listed"
    print(f"{outcome.suite} on {outcome.loop}: {count}", flush=True)
    if outcome.trouble:
        print(f"FAILED {outcome.suite} on {outcome.loop}: {outcome.trouble}")
    for name in sorted(new):
        print(f"FAILED {name}\n{outcome.failed[name]}")
    for name in sorted(gone):
        print(f"FAILED {name}: it passes, so take it out of differences.toml")
    return not (outcome.trouble or new or gone)


def differences(outcome: Outcome) -> Iterator[str]:
    """Return the patterns of the tests that are listed for this run."""
    listed = tomllib.loads((HERE / "differences.toml").read_text())
    for one in listed.get("difference", []):
        loops = one.get("loops", LOOPS)
        pythons = one.get("pythons")
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        if (
            one["suite"] == outcome.suite
            and outcome.loop in loops
            and (pythons is None or here in pythons)
        ):
            yield from one["tests"]


if __name__ == "__main__":
    sys.exit(main())
