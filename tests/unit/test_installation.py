"""Other projects with the same import name: what is left of this one explains itself.

Each test installs a copy of the package and the files of another project into a folder,
as pip does: file by file, the last one wins. scripts/distributions.py lets pip do it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import aioudp
from aioudp import _installation

PACKAGE: Final = Path(aioudp.__file__).parent

# What they install, and that has a name of ours; and one more each.
OTHERS: Final = {
    "aioudp": ("__init__", "client", "connection", "exceptions", "server"),
    "aio-udp-server": ("__init__", "server"),
}
NAMES: Final = {"aioudp": "serve = connect = None\n", "aio-udp-server": ""}


def install_ours(site: Path) -> None:
    readable = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "compiled")
    shutil.copytree(PACKAGE, site / "aioudp", ignore=readable, dirs_exist_ok=True)
    describe(site, "aioudp-endpoint", ["__init__", "_types"])


def install(site: Path, name: str) -> None:
    for module in OTHERS[name]:
        (site / "aioudp").mkdir(parents=True, exist_ok=True)
        (site / "aioudp" / f"{module}.py").write_text(NAMES[name])
    describe(site, name, OTHERS[name])


def describe(site: Path, name: str, modules: list[str] | tuple[str, ...]) -> None:
    info = site / f"{name.replace('-', '_')}-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
    with (info / "METADATA").open("a") as metadata:
        metadata.write("Version: 2.0.0\n")
    record = "".join(f"aioudp/{module}.py,,\n" for module in modules)
    (info / "RECORD").write_text(record)


def uninstall(site: Path, name: str) -> None:
    for module in OTHERS[name]:
        (site / "aioudp" / f"{module}.py").unlink()
    shutil.rmtree(site / f"{name.replace('-', '_')}-2.0.0.dist-info")


def python(site: Path, *arguments: str) -> tuple[int, str]:
    """Run Python with *site* before everything else; return status and last line."""
    # Coverage would take the copies, and the other project, for the package itself.
    unmeasured = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COVERAGE_PROCESS")
    }
    run = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        cwd=site,
        env=unmeasured | {"PYTHONPATH": str(site)},
        text=True,
    )
    return run.returncode, (run.stdout + run.stderr).strip().split("\n")[-1]


def repair(*names: str) -> str:
    command = " ".join(("pip uninstall --yes", *names, "aioudp-endpoint"))
    return f"run: {command}; then install aioudp-endpoint again"


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "module", ["broadcast", "discovery", "forwarding", "testing", "workers"]
)
def test_what_is_left_names_the_other_project(
    tmp_path: Path, name: str, module: str
) -> None:
    """The other one was installed last; each module of ours says so when imported."""
    install_ours(tmp_path)
    install(tmp_path, name)

    status, said = python(tmp_path, "-c", f"import aioudp.{module}")

    found = f"{name} 2.0.0, another project, has overwritten files of this package"
    assert (status, said) == (1, f"ImportError: {found}; {repair(name)}")


@pytest.mark.parametrize("name", OTHERS)
def test_the_command_names_the_other_project(tmp_path: Path, name: str) -> None:
    """``aioudp info`` says it in one line."""
    install_ours(tmp_path)
    install(tmp_path, name)

    status, said = python(tmp_path, "-m", "aioudp", "info")

    found = f"{name} 2.0.0, another project, has overwritten files of this package"
    assert (status, said) == (1, f"aioudp: {found}; {repair(name)}")


def test_the_other_project_was_uninstalled(tmp_path: Path) -> None:
    """That deleted files of ours, and nothing names the culprit any more."""
    install_ours(tmp_path)
    install(tmp_path, "aioudp")
    uninstall(tmp_path, "aioudp")

    status, said = python(tmp_path, "-m", "aioudp", "info")

    found = "another project has overwritten or deleted files of this package"
    assert (status, said) == (1, f"aioudp: {found}; {repair()}")


def test_ours_was_installed_last(tmp_path: Path) -> None:
    """Everything works, until the other one is uninstalled: only the command warns."""
    install(tmp_path, "aioudp")
    install_ours(tmp_path)

    status, _ = python(tmp_path, "-c", "import aioudp; aioudp.bind")
    script = "from aioudp import _installation; print(_installation.problem())"
    _, said = python(tmp_path, "-c", script)

    assert status == 0
    found = "aioudp 2.0.0, another project, owns files of this package too"
    assert said == f"{found}; {repair('aioudp')}"


def test_nothing_is_wrong() -> None:
    """Here, the package is alone."""
    assert _installation.problem() is None
    assert aioudp.__distribution__ == _installation.DISTRIBUTION
