"""Build the source distribution, and install it as people with less than us do.

Without a package index, given what the build requires; without a compiler; and beside
another project with the same import name. Imports the standard library only: it runs
before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

import environments
from environments import ROOT, Run

NOT_SHIPPED: Final = (".ci", ".clusterfuzzlite", ".github")
"""Folders that are for the repository alone, as each file with a dot in front is."""

_MADE: Final = ("PKG-INFO", "setup.cfg", "aioudp_endpoint.egg-info")
"""What setuptools adds to a source distribution."""

_WHICH: Final = (
    "import aioudp, sys\n"
    "from aioudp._system.implementation import _fast\n"
    "assert sys.prefix in aioudp.__file__, aioudp.__file__\n"
    "assert _fast.__name__ == f'aioudp._system.{sys.argv[1]}', _fast\n"
)
"""A program: is it installed, and is its batch I/O what its argument names?"""

_EXPLAINED: Final = (
    "import sys\n"
    "from aioudp import _installation\n"
    "assert sys.argv[1] in _installation.problem()\n"
)
"""A program: does the package say what its argument says?"""


def repository_files() -> list[str] | None:
    """Return the files that git knows or would add, or ``None`` without git."""
    command = ("git", "-C", str(ROOT), "ls-files", "-z")
    options = ("--cached", "--others", "--exclude-standard")
    try:
        listed = subprocess.run(
            [*command, *options], capture_output=True, check=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    names = sorted(name for name in listed.split("\0") if name)
    return [name for name in names if (ROOT / name).is_file()]


def copy_of_the_repository(files: list[str], to: Path) -> Path:
    """Copy the files, as a clone would have them: setuptools leaves some behind."""
    for name in files:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    return to


def build(python: Path, run: Run, files: list[str], away: Path) -> Path:
    """Build the source distribution, and compare it with the repository."""
    source = copy_of_the_repository(files, away / "source")
    away = away / "dist"
    command = (python, "-m", "build", "--sdist", "--no-isolation")
    run(*command, "--outdir", away, source)
    (built,) = away.glob("*.tar.gz")
    run(python, "-m", "twine", "check", "--strict", built)
    if trouble := differences(built, files):
        raise subprocess.SubprocessError("\n".join(trouble))
    return built


def differences(built: Path, files: list[str]) -> list[str]:
    """Return what a source distribution lacks, and what it has too much."""
    with tarfile.open(built) as archive:
        members = [PurePosixPath(x.name) for x in archive.getmembers() if x.isfile()]
    shipped = {str(PurePosixPath(*member.parts[1:])) for member in members}
    shipped = {name for name in shipped if name.partition("/")[0] not in _MADE}
    wanted = {name for name in files if not _for_the_repository(name)}
    return [
        *(f"not in the source distribution: {name}" for name in wanted - shipped),
        *(f"not of the repository: {name}" for name in shipped - wanted),
    ]


def _for_the_repository(name: str) -> bool:
    first = name.partition("/")[0]
    return first in NOT_SHIPPED or (first == name and name.startswith("."))


def install(python: Path, run: Run, sdist: Path, away: Path) -> None:
    """Install it with no index, compiled and not, and see which batch I/O there is."""
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    run(python, "-m", "venv", away)
    own = environments.interpreter(away)
    run(own, "-m", "pip", "install", "--quiet", *requires["requires"])
    pip = (own, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps")
    offline = ("--no-index", "--no-build-isolation", "--no-cache-dir")

    def gives(twin: str, **variables: str) -> None:
        run(*pip, *offline, sdist, **variables)
        run(own, "-c", _WHICH, twin, cwd=away)

    if environments.can_compile(python):
        gives("speedups", AIOUDP_BUILD_SPEEDUPS="auto")
    gives("batchio", AIOUDP_BUILD_SPEEDUPS="auto", CC="false")
    # Nor is there one that another variable or the PATH could lead to.
    gives("batchio", AIOUDP_BUILD_SPEEDUPS="auto", CC="", PATH=str(own.parent))
    mix(own, run, (*pip, *offline), sdist, away)


def mix(python: Path, run: Run, pip: tuple[object, ...], sdist: Path, to: Path) -> None:
    """Install another project with the same import name, after ours and before it."""
    other = namesake(to)
    info = (python, "-c", _EXPLAINED)
    run(*pip, other)
    run(*info, "has overwritten", cwd=to)
    run(*pip, sdist, AIOUDP_BUILD_SPEEDUPS="no")
    run(python, "-c", _WHICH, "batchio", cwd=to)
    run(*info, "owns files of this package too", cwd=to)
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "aioudp")
    run(*info, "overwritten or deleted", cwd=to)


def namesake(to: Path) -> Path:
    """Write a wheel with the modules of PyPI's aioudp 2.0.0, and nothing in them."""
    wheel = to / "aioudp-2.0.0-py3-none-any.whl"
    modules = ("__init__", "client", "connection", "exceptions", "server")
    files = {f"aioudp/{name}.py": "" for name in modules} | {"aioudp/py.typed": ""}
    info = "aioudp-2.0.0.dist-info"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: aioudp\nVersion: 2.0.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: aioudp-endpoint\n"
    files[f"{info}/WHEEL"] += "Root-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(name, text)
    return wheel


def check(python: Path, run: Run) -> bool:
    """Run all of it with an interpreter that has the group ``release``.

    Returns:
        Whether it could: without git, the files of the repository aren't known.
    """
    files = repository_files()
    if files is None:
        return False
    with tempfile.TemporaryDirectory(prefix="aioudp-sdist-") as name:
        away = Path(name)
        sdist = build(python, run, files, away)
        install(Path(sys.executable), run, sdist, away / "venv")
    return True


if __name__ == "__main__":

    def _run(*command: object, cwd: Path = ROOT, **variables: str) -> None:
        arguments = [str(argument) for argument in command]
        environment = {**os.environ, **variables}
        subprocess.run(arguments, cwd=cwd, env=environment, check=True)

    sys.exit(not check(Path(sys.argv[1]), _run))
