"""Run every cell, keep the results, and write the page of the documentation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from .. import machine
from . import features, peers

RESULT_FILE: Final = Path("benchmarks/results/features.json")
PAGE: Final = Path("docs/explanation/_features.md")

PEERS: Final = (
    "aioudp",
    *(peers.Protocol.name, peers.LoopMethods.name, peers.UvloopProtocol.name),
    *(peers.Aiofastnet.name, peers.AsyncioDgram.name, peers.Asyncudp.name),
    *(peers.Anyio.name, peers.Trio.name, peers.Other.name),
)
_SIGNS: Final = {features.YES: "✓", features.NO: "✗", features.BY_HAND: "(✓)"}
_LEGEND: Final = (
    "✓: it works as the next section says; (✓): only on the socket below, by hand; "
    "✗: it isn't there, or does something else."
)
_PATIENCE: Final = 30  # seconds, for a process


def measure(
    done: Callable[[str, str], None], pythons: Sequence[Path] = ()
) -> dict[str, Any]:
    """Run all cells; call *done* with a peer and a title after each.

    Args:
        pythons: Other interpreters, each for one more column of asyncio's protocol.
            They need anyio.

    Returns:
        What goes into the result file.

    Raises:
        RuntimeError: If a process failed or hung, which no peer's fault can cause.
    """
    with TemporaryDirectory(prefix="aioudp-features-") as folder:
        paths: dict[str, Path] = {peers.Other.name: _other_package(Path(folder))}
        columns = _columns(pythons)
        cells = [(name, title) for title in features.CHECKS for name in columns]

        def run(cell: tuple[str, str]) -> list[str]:
            name, python = columns[cell[0]]
            result = _probe(name, cell[1], python, paths.get(name))
            done(*cell)
            return result

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            seen = list(pool.map(run, cells))
    versions = {name: one[2] for (name, _), one in zip(cells, seen, strict=True)}
    rows: dict[str, dict[str, list[str]]] = {title: {} for title in features.CHECKS}
    for (name, title), one in zip(cells, seen, strict=True):
        rows[title][name] = one[:2]
    return {
        "format": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "columns": list(columns),
        "versions": versions,
        "rows": rows,
    }


def _columns(pythons: Sequence[Path]) -> dict[str, tuple[str, Path]]:
    """Return, by its title, what each column runs, and with which interpreter."""
    columns: dict[str, tuple[str, Path]] = {}
    for name in PEERS:
        columns[name] = name, Path(sys.executable)
        if name == peers.Protocol.name:
            for python in pythons:
                asked = "import sys; print('%d.%d' % sys.version_info[:2])"
                command = (python, "-c", asked)
                answer = subprocess.run(command, capture_output=True, check=True)
                columns[f"{name} {answer.stdout.decode().strip()}"] = name, python
    return columns


def _probe(name: str, title: str, python: Path, path: Path | None) -> list[str]:
    found = [str(machine.ROOT)]
    if path is not None:
        found.insert(0, str(path))
    done = subprocess.run(
        [python, "-m", "benchmarks.comparison.probe", name, title],
        cwd=path or machine.ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}, {title}: {done.stderr}")
    result: list[str] = json.loads(done.stdout.splitlines()[-1])
    return result


def _other_package(folder: Path) -> Path:
    """Install PyPI's aioudp where only its own cells see it."""
    install = ("install", "--quiet", "--no-deps", "--target", str(folder), "aioudp")
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    return folder


def missing() -> str | None:
    """Return which library isn't installed, if one isn't."""
    classes = (*peers.Protocol.__subclasses__(), *peers.Peer.__subclasses__())
    for one in classes:
        if one.distribution is None or one is peers.Other:
            continue
        try:
            metadata.version(one.distribution)
        except metadata.PackageNotFoundError:
            return f"{one.distribution} is not installed"
    return None


def render(found: dict[str, Any]) -> str:
    """Return the page: the matrix, and what was seen in each cell."""
    rows, versions, columns = found["rows"], found["versions"], found["columns"]
    where, day = found["machine"], found["date"][:10]
    lines = [
        "<!-- Made by: python -m benchmarks features -->",
        "",
        f"Run on {day}: {where['system']} {where['kernel']}, {where['python']}.",
        "",
        _line(["", *columns]),
        "|---|" + ":-:|" * len(columns),
        _line(["version", *(versions[name] for name in columns)]),
    ]
    for title, cells in rows.items():
        lines.append(_line([title, *(_SIGNS[cells[name][0]] for name in columns)]))
    lines += [
        "",
        _LEGEND,
        "",
        "## What was tried, and what was seen",
    ]
    for title, cells in rows.items():
        sentence = (features.CHECKS[title].__doc__ or "").strip()
        lines += ["", f"**{title[0].upper()}{title[1:]}.** {sentence}", ""]
        groups: dict[str, list[str]] = {}
        for name in columns:
            groups.setdefault(cells[name][1], []).append(name)
        for what, names in groups.items():
            lines.append(f"- {', '.join(names)}: {_escaped(what)}")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return (
        text.replace("<", "&lt;")
        .replace("|", "\\|")
        .replace("_", "\\_")
        .replace("*", "\\*")
    )


def write(found: dict[str, Any]) -> None:
    """Write the result file and the page."""
    RESULT_FILE.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(render(found))
