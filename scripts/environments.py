"""Find interpreters, make virtual environments, and see what the machine can do.

Imports the standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".venv-test"
"""Holds the environments, the caches and the reports; may be deleted at any time."""

_OLDEST: Final = (3, 11)
_PIP: Final = "pip >= 25.1"  # the first that installs dependency groups

_BUILT_FROM: Final = (
    "pyproject.toml",
    "setup.py",
    "aioudp/_system/speedups.pyx",
    "aioudp/_system/compiled/*.pxi",
)
_BUILDING: Final = threading.Lock()  # all environments build in the checkout itself

Run = Callable[..., object]
"""Runs a command, given as strings, and raises if it fails."""


# -- interpreters


def version(python: Path | str) -> tuple[int, int, int, str] | None:
    """Return the version of a CPython that can make environments, else ``None``.

    The last part is ``"t"`` for a free-threaded build, else empty.
    """
    # Pre-releases are left out: what the tests depend on is not built for them.
    # Written so that any Python 3 can read it.
    script = (
        "import ensurepip, sys, sysconfig, venv\n"
        "usual = sys.implementation.name == 'cpython' "
        "and sys.version_info.releaselevel == 'final'\n"
        "free = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''\n"
        "print(*sys.version_info[:3], free, sep=',') if usual else sys.exit(1)\n"
    )
    try:
        answer = subprocess.run(
            [python, "-c", script], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    major, minor, patch, free = answer.stdout.strip().split(",")
    return int(major), int(minor), int(patch), free


def other_interpreters() -> dict[str, Path]:
    """Return the other CPythons of the machine that we support, as ``{"3.12": ...}``.

    The newest patch release of each, free-threaded builds (``"3.13t"``) apart from the
    others; not the version that runs this.
    """
    own = version(sys.executable)
    found: dict[tuple[int, int, str], tuple[int, Path]] = {}
    for python in _candidates():
        known = version(python)
        if known is None or known[:2] < _OLDEST:
            continue
        major, minor, patch, free = known
        kind = major, minor, free
        if own is not None and kind == (*own[:2], own[3]):
            continue
        if kind not in found or found[kind][0] < patch:
            found[kind] = (patch, python)
    return {f"{x}.{y}{free}": found[x, y, free][1] for x, y, free in sorted(found)}


def _candidates() -> Iterator[Path]:
    for minor in range(_OLDEST[1], 30):
        for free in ("", "t"):
            if path := shutil.which(f"python3.{minor}{free}"):
                yield Path(path)
    # What pyenv has but does not put on the PATH.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/*/bin/python3"))


# -- environments


def environment(
    name: str, python: Path | str, run: Run, *, groups: Iterable[str]
) -> Path:
    """Make an environment with the project, editable, and its dependency groups.

    One that was made before is used again while what it was built from and the
    interpreter are the same. Where there is a compiler, the accelerator must build.

    Returns:
        The interpreter of the environment.
    """
    home = HOME / name
    stamp = home / "made-for"
    files = (path for name in _BUILT_FROM for path in sorted(ROOT.glob(name)))
    sources = b"".join(path.read_bytes() for path in files)
    made_for = hashlib.sha256(sources).hexdigest()
    made_for += f" {ROOT} {python} {version(python)} {sorted(groups)}"
    made_for += f" {project_version()}\n"
    if not stamp.exists() or stamp.read_text() != made_for:
        with _BUILDING:
            install(home, python, run, "--editable", f"{ROOT}[all]", groups=groups)
        stamp.write_text(made_for)
    return interpreter(home)


def install(
    home: Path, python: Path | str, run: Run, *what: str, groups: Iterable[str]
) -> None:
    """Make a fresh environment at *home* and install *what* and the groups into it."""
    shutil.rmtree(home, ignore_errors=True)
    run(python, "-m", "venv", home)
    pip = [interpreter(home), "-m", "pip", "install", "--quiet"]
    run(*pip, "--upgrade", _PIP)
    groups = [f"--group={ROOT / 'pyproject.toml'}:{name}" for name in groups]
    speedups = "yes" if can_compile(python) else "auto"
    run(*pip, *what, *groups, AIOUDP_BUILD_SPEEDUPS=speedups)


def project_version() -> str:
    """Return the version of the project, from where it's written."""
    text = (ROOT / "aioudp" / "__init__.py").read_text(encoding="utf-8")
    found = re.search('^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


def index_answers() -> bool:
    """Return whether pip gets anything from the package index."""
    with tempfile.TemporaryDirectory() as name:
        get = ("download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", name)
        command = (sys.executable, "-m", "pip", "--retries=1", *get, "pip")
        return subprocess.run(command, capture_output=True).returncode == 0


def interpreter(home: Path) -> Path:
    """Return the interpreter of the environment at *home*."""
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


# -- what is checked


def revision() -> str:
    """Return a string that differs for each commit.

    The commit's hash; where there is no git, a hash of the package and the tests.
    """
    command = ("git", "-C", ROOT, "rev-parse", "--short=10", "HEAD")
    try:
        return subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        sources = (*ROOT.glob("aioudp/**/*.py"), *ROOT.glob("tests/**/*.py"))
        text = b"".join(path.read_bytes() for path in sorted(sources))
        return hashlib.sha256(text).hexdigest()[:10]


# -- what the machine can do


def add_system_tools() -> str | None:
    """Install the tools that tests run, if that is for us to do; say what failed.

    Only on a Debian-like machine of continuous integration, where we are root.
    """
    packages = {
        "avahi-daemon": "avahi-daemon",
        "chronyd": "chrony",
        "coap-client-notls": "libcoap3-bin",
        "dig": "bind9-dnsutils",
        "ip": "iproute2",
        "iperf3": "iperf3",
        "logger": "bsdutils",
        "nc": "netcat-openbsd",
        "nft": "nftables",
        "snmpd": "snmpd",
        "snmpget": "snmp",
        "socat": "socat",
        "strace": "strace",
        "tc": "iproute2",
        "tshark": "tshark",
    }
    missing = sorted({packages[tool] for tool in packages if not shutil.which(tool)})
    browser = [] if _has_browser() else ["chromium", "chromium-driver"]
    if not _is_root() or not shutil.which("apt-get"):
        return None
    # The browser by itself: it is large, and some systems call it something else.
    failures = [_install(some) for some in (missing, browser) if some]
    return "; ".join(filter(None, failures)) or None


def _install(packages: list[str]) -> str | None:
    """Install packages of Debian; say what failed."""
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("install", "--yes", "--no-install-recommends", *packages)
    for arguments in (("update",), install):
        try:
            subprocess.run(
                ["apt-get", "--quiet", *arguments],
                check=True,
                capture_output=True,
                env=quietly,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=300,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            output = getattr(exc, "stderr", None) or str(exc)
            return f"{' '.join(packages)}: {output.strip().splitlines()[-1]}"
    return None


def _has_browser() -> bool:
    """Return whether there is a browser that tests can drive."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return any(map(shutil.which, names)) and shutil.which("chromedriver") is not None


def can_compile(python: Path | str) -> bool:
    """Return whether the accelerator can be built for *python* here."""
    if sys.platform != "linux" or not shutil.which(os.environ.get("CC", "cc")):
        return False
    script = "import sysconfig; print(sysconfig.get_path('include'))"
    where = subprocess.run([python, "-c", script], capture_output=True, text=True)
    return (Path(where.stdout.strip()) / "Python.h").exists()


_TOOLS: Final = (
    *("chronyd", "coap-client-notls", "dig", "iperf3", "logger", "nc"),
    *("snmpd", "snmpget", "socat"),
)


def abilities() -> str:
    """Return what tests may not skip here, as ``AIOUDP_REQUIRE`` wants it."""
    able = ["uvloop"] if sys.platform != "win32" else []
    if can_compile(sys.executable):
        able.append("speedups")
    able += [tool for tool in _TOOLS if shutil.which(tool)]
    if _is_root() and shutil.which("ip") and _can_unshare():
        able.append("network")
        able += [tool for tool in ("avahi-daemon", "nft", "tc") if shutil.which(tool)]
    if shutil.which("tshark"):
        able.append("tshark")
    if _has_browser():
        able.append("chromium")
    return ",".join(able)


def _is_root() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def _can_unshare() -> bool:
    try:
        attempt = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    except OSError:
        return False
    return attempt.returncode == 0
