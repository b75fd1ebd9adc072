"""The Python blocks of the README and the documentation pass type checkers.

So what a page shows needs no cast, no assert and no ignore in a checked program either.
Pages may leave out the annotations of functions, for brevity; the bodies are checked
as strictly as the library itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from .blocks import PAGES, ROOT, Block, blocks

PATIENCE: Final = 120  # seconds; the first run of mypy has no cache

FRAME: Final = """\
import asyncio

import aioudp


async def fragment(endpoint: aioudp.Endpoint) -> None:
{}"""

MYPY: Final = (
    "--strict",
    "--allow-untyped-defs",
    "--allow-incomplete-defs",
    "--allow-untyped-calls",
    "--no-error-summary",
    f"--config-file={ROOT / 'pyproject.toml'}",
)


def ours() -> list[Block]:
    """Return the Python blocks that use this library."""
    return [
        block
        for page in PAGES
        for block in blocks(page)
        if block.language == "python" and not block.mark.startswith("theirs")
    ]


@pytest.fixture
def programs(tmp_path: Path) -> dict[Path, Block]:
    """Write each block to a file of its own."""
    folder = tmp_path / "programs"
    folder.mkdir()
    written = {}
    for number, block in enumerate(ours()):
        text = block.text
        if block.mark == "fragment":
            text = FRAME.format(textwrap.indent(text, "    "))
        path = folder / f"block_{number}.py"
        path.write_text(text, encoding="utf-8")
        written[path] = block
    return written


def check(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.timeout(PATIENCE)
def test_mypy(programs: dict[Path, Block]) -> None:
    """mypy --strict finds nothing in them."""
    pytest.importorskip("mypy", reason="cannot: mypy: it is not installed")

    done = check(
        *(sys.executable, "-m", "mypy", *MYPY),
        *(f"--cache-dir={ROOT / '.mypy_cache'}", next(iter(programs)).parent),
    )

    assert done.returncode == 0, with_pages(done.stdout, programs)


@pytest.mark.timeout(PATIENCE)
def test_pyright(programs: dict[Path, Block], tmp_path: Path) -> None:
    """Nor does pyright in its standard mode, as editors run it."""
    pytest.importorskip(
        "basedpyright", reason="cannot: basedpyright: it is not installed"
    )
    settings = tmp_path / "pyrightconfig.json"
    options = {
        "include": ["programs"],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "reportPossiblyUnboundVariable": False,  # a loop that runs at least once binds
    }
    settings.write_text(json.dumps(options))

    done = check(
        *(sys.executable, "-m", "basedpyright", "--project", settings),
        *("--pythonpath", sys.executable),
    )

    assert done.returncode == 0, with_pages(done.stdout, programs)


def with_pages(output: str, programs: dict[Path, Block]) -> str:
    """Name the page and the line of each block, instead of its file."""
    for path, block in programs.items():
        output = output.replace(str(path), str(block))
        output = output.replace(str(path.relative_to(path.parents[1])), str(block))
    return output
